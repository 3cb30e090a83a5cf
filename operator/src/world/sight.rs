//! How much of the cluster can be seen: whether each watch brings what it should.
//!
//! In: how each watch fares. Out: whether this replica knows the cluster, and what it has
//! lost sight of. What cannot be seen cannot be claimed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a watch may fail before it is listed anew, and how long that may fail before
/// the watch counts as lost. A restart of the API server takes less.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// Nothing has come of it yet.
    Awaited,
    /// It brings every change.
    Clear,
    /// It has failed for long.
    Lost,
}

/// Every watch of the process, by name.
#[derive(Debug, Default)]
pub struct Sight(Mutex<BTreeMap<String, View>>);

impl Sight {
    /// There will be a watch of this name.
    pub fn expect(&self, watch: &str) {
        self.set(watch, View::Awaited);
    }

    /// All is listed, and each change will be seen.
    pub fn is_clear(&self) -> bool {
        self.missing().is_empty()
    }

    /// The watches that do not bring what they should, the first listing included.
    pub fn missing(&self) -> Vec<String> {
        self.that(|view| view != View::Clear)
    }

    /// Those that have failed for long.
    pub fn lost(&self) -> Vec<String> {
        self.that(|view| view == View::Lost)
    }

    /// Returns once something has been lost for so `long` without a break.
    pub async fn lost_for(&self, long: Duration) {
        let mut blindness = Blindness::default();
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        while blindness.lasts(!self.lost().is_empty(), Instant::now()) < Some(long) {
            tick.tick().await;
        }
    }

    /// This one brings what it should. Says whether it was lost.
    pub fn clear(&self, watch: &str) -> bool {
        self.set(watch, View::Clear) == Some(View::Lost)
    }

    /// This one has failed for long.
    pub fn lose(&self, watch: &str) {
        self.set(watch, View::Lost);
    }

    fn set(&self, watch: &str, view: View) -> Option<View> {
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.insert(watch.to_owned(), view)
    }

    fn that(&self, of_this_kind: impl Fn(View) -> bool) -> Vec<String> {
        let views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let these = views.iter().filter(|(_, view)| of_this_kind(**view));
        these.map(|(watch, _)| watch.clone()).collect()
    }
}

/// Since when something has been lost.
#[derive(Debug, Default)]
struct Blindness(Option<Instant>);

impl Blindness {
    /// How long it has lasted, if it does.
    fn lasts(&mut self, lost: bool, now: Instant) -> Option<Duration> {
        self.0 = lost.then(|| self.0.unwrap_or(now));
        self.0.map(|since| now.duration_since(since))
    }
}

/// How one watch has fared lately.
#[derive(Debug)]
pub struct Health {
    patience: Duration,
    /// Something has come of it.
    begun: bool,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    /// It began with a listing. Only then its end shows: a watch that is taken up again
    /// where it broke says nothing until something changes.
    listing: bool,
    lost: bool,
}

/// What a failure amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The first in a row.
    Begins,
    /// One more; all is said.
    GoesOn,
    /// It may be over and nothing may have changed since: only a new listing tells.
    Doubtful,
    /// This is no hiccup. Said once.
    Lost,
}

impl Health {
    /// Of a watch that has not begun.
    pub const fn new(patience: Duration) -> Self {
        Self {
            patience,
            begun: false,
            failing: None,
        }
    }

    /// It failed.
    pub fn failed(&mut self, now: Instant) -> Trouble {
        let Some(failing) = &mut self.failing else {
            self.failing = Some(Failing {
                since: now,
                listing: !self.begun,
                lost: false,
            });
            return Trouble::Begins;
        };
        if failing.lost || now.duration_since(failing.since) < self.patience {
            return Trouble::GoesOn;
        }
        if failing.listing {
            failing.lost = true;
            return Trouble::Lost;
        }
        failing.since = now;
        failing.listing = true;
        Trouble::Doubtful
    }

    /// It brought a change or a whole listing. Says whether that is news.
    pub fn well(&mut self) -> bool {
        let begins = !std::mem::replace(&mut self.begun, true);
        self.failing.take().is_some() || begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hiccup_is_said_once_and_costs_nothing() {
        let mut health = Health::new(PATIENCE);
        let now = Instant::now();
        assert!(health.well(), "the first listing is news");
        assert!(!health.well());
        assert_eq!(health.failed(now), Trouble::Begins);
        let soon = now + PATIENCE / 2;
        assert_eq!(health.failed(soon), Trouble::GoesOn);
        assert!(health.well());
        assert!(!health.well());
        let later = now + PATIENCE * 10;
        assert_eq!(health.failed(later), Trouble::Begins);
    }

    #[test]
    fn a_quiet_watch_that_fails_twice_in_a_day_is_listed_anew_and_not_lost() {
        let mut health = Health::new(PATIENCE);
        health.well();
        let now = Instant::now();
        assert_eq!(health.failed(now), Trouble::Begins);
        let hours_later = now + PATIENCE * 1000;
        assert_eq!(health.failed(hours_later), Trouble::Doubtful);
        assert!(health.well());
    }

    #[test]
    fn one_that_cannot_be_listed_for_long_is_lost_and_that_is_said_once() {
        let mut health = Health::new(PATIENCE);
        health.well();
        let now = Instant::now();
        health.failed(now);
        assert_eq!(health.failed(now + PATIENCE), Trouble::Doubtful);
        assert_eq!(health.failed(now + PATIENCE), Trouble::GoesOn);
        assert_eq!(health.failed(now + PATIENCE * 2), Trouble::Lost);
        assert_eq!(health.failed(now + PATIENCE * 9), Trouble::GoesOn);
        assert!(health.well());
    }

    #[test]
    fn blindness_is_counted_from_its_beginning_and_anew_after_its_end() {
        let (mut blindness, now) = (Blindness::default(), Instant::now());
        assert_eq!(blindness.lasts(false, now), None);
        assert_eq!(blindness.lasts(true, now), Some(Duration::ZERO));
        assert_eq!(blindness.lasts(true, now + PATIENCE), Some(PATIENCE));
        assert_eq!(blindness.lasts(false, now + PATIENCE), None);
        let later = now + PATIENCE * 2;
        assert_eq!(blindness.lasts(true, later), Some(Duration::ZERO));
    }

    #[test]
    fn sight_is_clear_when_all_that_is_expected_has_come_and_none_is_lost() {
        let sight = Sight::default();
        sight.expect("Node");
        sight.expect("Pod");
        assert!(!sight.clear("Node"));
        assert!(!sight.is_clear());
        assert_eq!(sight.missing(), ["Pod"]);
        assert!(sight.lost().is_empty());
        sight.clear("Pod");
        assert!(sight.is_clear());
        sight.lose("Node");
        assert_eq!(sight.lost(), ["Node"]);
        assert!(!sight.is_clear());
        assert!(sight.clear("Node"));
        assert!(sight.is_clear());
    }
}
