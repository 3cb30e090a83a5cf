//! What the main thread and the session's thread know of the run's end from each other, without a word
//! through the queue between them: who dials reads that no sooner than the dial is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The end of the one run.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    over: AtomicBool,
    told: Mutex<Option<Instant>>,
}

impl Fate {
    /// Nothing of the command is left.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Release);
    }

    /// Whether that is so.
    pub fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire)
    }

    /// Whether the end has been said in the session that stands; gives whether it was not known before.
    pub fn tell(&self, is_told: bool) -> bool {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = is_told && told.is_none();
        *told = is_told.then(|| told.unwrap_or_else(Instant::now));
        is_new
    }

    /// Since when it has been.
    pub fn told(&self) -> Option<Instant> {
        *self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_a_session_and_untold_with_it() {
        let fate = Fate::default();
        assert!(!fate.tell(false) && fate.told().is_none());
        assert!(fate.tell(true));
        let first = fate.told().unwrap();
        assert!(!fate.tell(true));
        assert_eq!(fate.told(), Some(first));
        assert!(!fate.tell(false) && fate.told().is_none());
        assert!(fate.tell(true));
    }
}
