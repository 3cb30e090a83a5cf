//! How soon a pass that failed is made again: later each time, and not all at once.
//!
//! In: what failed, and how often in a row. Out: a pause. A change that a watch brings is
//! looked at before its end.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crds::digest;

/// The first pause before what may help by itself, before jitter. Each one after it is
/// twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// What a failure means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Only a change of the object or of what it refers to can help; that change wakes us.
    /// The pause is the longest from the first on.
    OnChange,
    /// The world may be better soon.
    Soon,
    /// Somebody else was faster; what they wrote is here by now, or will be in a moment.
    AtOnce,
}

impl Retry {
    /// The longest pause. `OnChange` has one too, because a watch can miss what it was not
    /// told.
    const fn most(self) -> Duration {
        match self {
            Self::OnChange => Duration::from_mins(5),
            Self::Soon | Self::AtOnce => Duration::from_mins(1),
        }
    }

    /// The pause after so many failures in a row, the first being 1. `seed` tells objects
    /// apart: what fails for many at once comes back spread over half of the pause.
    fn pause(self, failures: u32, seed: &str) -> Duration {
        if self == Self::AtOnce && failures <= 1 {
            return Duration::ZERO;
        }
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let whole = match self {
            Self::OnChange => self.most(),
            Self::Soon | Self::AtOnce => FIRST.saturating_mul(doubled).min(self.most()),
        };
        let spread = u32::try_from(digest::number(&(seed, failures)) % 1000).unwrap_or_default();
        whole / 2 + whole / 2 * spread / 1000
    }
}

/// How often each object has failed in a row: only those that did last time.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Counts one more for the object of this name; says when to try again.
    pub fn one_more(&self, name: &str, retry: Retry) -> Duration {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
        retry.pause(*count, name)
    }

    /// It went well, or the object is gone.
    pub fn forget(&self, name: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// Pauses after the first so many failures in a row.
    fn pauses(retry: Retry, count: u32) -> Vec<Duration> {
        (1..=count).map(|n| retry.pause(n, "acme")).collect()
    }

    #[test]
    fn the_first_is_short_each_is_twice_as_long_and_there_is_a_longest() {
        let mut whole = FIRST;
        for pause in pauses(Retry::Soon, 40) {
            assert!(
                whole / 2 <= pause && pause <= whole,
                "{pause:?} of {whole:?}"
            );
            whole = (whole * 2).min(Retry::Soon.most());
        }
        assert!(Retry::Soon.pause(u32::MAX, "acme") >= Duration::from_secs(30));
    }

    #[test]
    fn what_only_a_change_can_help_is_left_alone_from_the_first() {
        let most = Retry::OnChange.most();
        for pause in pauses(Retry::OnChange, 40) {
            assert!(most / 2 <= pause && pause <= most, "{pause:?}");
        }
    }

    #[test]
    fn a_conflict_is_tried_at_once_but_not_again_and_again() {
        let pauses = pauses(Retry::AtOnce, 3);
        assert_eq!(pauses[0], Duration::ZERO);
        assert!(pauses[1] >= FIRST && pauses[2] >= FIRST * 2, "{pauses:?}");
    }

    #[test]
    fn objects_that_fail_together_do_not_come_back_together() {
        let pauses = (0..100).map(|n| Retry::Soon.pause(8, &format!("tenant-{n}")));
        let mut millis: Vec<_> = pauses.map(|pause| pause.as_millis() / 1000).collect();
        millis.sort_unstable();
        millis.dedup();
        assert!(millis.len() > 20, "{millis:?}");
    }

    #[test]
    fn a_success_begins_anew_and_nothing_is_kept_of_what_is_well_or_gone() {
        let failures = Failures::default();
        for _ in 0..8 {
            failures.one_more("acme", Retry::Soon);
        }
        assert!(failures.one_more("acme", Retry::Soon) > Duration::from_secs(20));
        assert!(failures.one_more("other", Retry::Soon) <= FIRST);
        failures.forget("acme");
        assert!(failures.one_more("acme", Retry::Soon) <= FIRST);
        failures.forget("acme");
        failures.forget("other");
        assert!(failures.0.lock().unwrap().is_empty());
    }

    #[test]
    fn the_servers_answer_says_who_can_help() {
        let answered = |code: u16, reason: &str| {
            let status = serde_json::json!({"code": code, "reason": reason, "message": "no"});
            Error::Write {
                verb: "apply",
                kind: "Namespace",
                name: "tenant-acme".to_owned(),
                source: Box::new(kube::Error::Api(serde_json::from_value(status).unwrap())),
            }
        };
        assert_eq!(answered(409, "Conflict").retry(), Retry::AtOnce);
        assert_eq!(answered(403, "Forbidden").retry(), Retry::Soon);
        assert_eq!(answered(500, "InternalError").retry(), Retry::Soon);
        let namespace = "tenant-acme".to_owned();
        assert_eq!(Error::NamespaceTaken { namespace }.retry(), Retry::OnChange);
    }
}
