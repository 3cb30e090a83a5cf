//! Writes that are under way, counted over all tenants. Pure.
//!
//! Each kind has its bound where it is begun; together they are some 140 at once.

/// How many, by what they do.
#[derive(Debug, Default)]
pub struct UnderWay {
    /// Give an Execution its sandbox.
    pub binding: usize,
    /// Say what came of an attempt.
    pub closing: usize,
    /// Say what an Execution waits for.
    pub telling: usize,
    /// Say how an Integration fares.
    pub saying: usize,
    /// Make a sandbox.
    pub posting: usize,
    /// Remove one.
    pub sweeping: usize,
    /// Create an Execution that is due.
    pub creating: usize,
    /// Remove one that has been kept long enough.
    pub forgetting: usize,
}

/// One of these has ended.
pub fn end(count: &mut usize) {
    debug_assert!(*count > 0, "more ended than were begun");
    *count = count.saturating_sub(1);
}
