//! Sandboxes of one Integration that do not come about: how long the next one waits, and why. Pure.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::line::Trouble;
use crate::world::facts::Uid;

/// The pause after the first; after each further one in a row, twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// What is known of it; nothing once a later sandbox has proven itself.
#[derive(Clone, Debug, Default)]
pub struct Setback {
    /// Pauses in a row, and when the last began and ends.
    pauses: u32,
    began: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The way is given to somebody else until then.
    yields: Option<Timestamp>,
    /// Those that have been made since the last that came to nothing, if one did.
    later: Option<BTreeSet<Uid>>,
    trouble: Option<Trouble>,
}

impl Setback {
    /// Whether the next one still waits.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.max(self.yields).is_some_and(|until| now < until)
    }

    /// The same, for one that came to nothing.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Why the last one did not come about.
    pub const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Says why one does not come about, which changes nothing about when the next one may.
    pub fn say(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
    }

    /// One came to nothing: the next one waits, longer each time, `longest` at most. Those that come
    /// to nothing while it waits were under way with the first, and are of the same time.
    pub fn wait(&mut self, trouble: Trouble, longest: Duration, now: Timestamp) {
        self.fail(trouble);
        let began = match self.began {
            Some(began) if self.waits(now) => began,
            Some(_) | None => {
                self.pauses = self.pauses.saturating_add(1);
                now
            }
        };
        let pause = FIRST * 2_u32.pow(self.pauses.saturating_sub(1).min(16));
        self.began = Some(began);
        self.until = self.until.max(Some(began + pause.min(longest)));
    }

    /// One did not come about because somebody else was faster: that says nothing of the next one.
    pub fn give_way(&mut self, trouble: Trouble, pause: Duration, now: Timestamp) {
        self.fail(trouble);
        self.yields = self.yields.max(Some(now + pause));
    }

    fn fail(&mut self, trouble: Trouble) {
        self.say(trouble);
        self.later = Some(BTreeSet::new());
    }

    /// One was made.
    pub fn made(&mut self, sandbox: Uid) {
        if let Some(later) = &mut self.later {
            later.insert(sandbox);
        }
    }

    /// One has proven itself. If it was made after the last that came to nothing, this shows that
    /// nothing is in the way; one that stood there before shows nothing.
    pub fn overcome(&mut self, sandbox: Uid) {
        let shows = |later: &BTreeSet<Uid>| later.contains(&sandbox);
        if self.later.as_ref().is_none_or(shows) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::execution::ExecutionReason;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);
    const LITTLE: Duration = Duration::from_millis(50);

    fn trouble() -> Trouble {
        Trouble {
            reason: ExecutionReason::QuotaExceeded,
            message: "full".to_owned(),
        }
    }

    /// How long it holds, looked at every 10 ms.
    fn held(setback: &Setback, from: Timestamp) -> Duration {
        let steps = (0..).map(|step| Duration::from_millis(10) * step);
        let mut open = steps.filter(|step| !setback.holds(from + *step));
        open.next().unwrap_or_default()
    }

    #[test]
    fn pauses_double_from_one_time_to_the_next() {
        let (mut setback, mut now) = (Setback::default(), Timestamp::UNIX_EPOCH);
        for millis in [500, 1000, 2000, 4000, 5000, 5000] {
            setback.wait(trouble(), LONGEST, now);
            let pause = held(&setback, now);
            assert_eq!(pause, Duration::from_millis(millis));
            now += pause;
        }
    }

    #[test]
    fn many_that_come_to_nothing_at_once_are_one_time() {
        let (mut setback, now) = (Setback::default(), Timestamp::UNIX_EPOCH);
        for millis in 0..8 {
            setback.wait(trouble(), LONGEST, now + Duration::from_millis(millis));
        }
        assert_eq!(held(&setback, now), FIRST);
        setback.wait(trouble(), LONGEST, now + FIRST);
        assert_eq!(held(&setback, now + FIRST), 2 * FIRST);
    }

    #[test]
    fn whoever_may_wait_longer_has_the_pause_as_long_as_it_has_come_to_be() {
        let (mut setback, mut now) = (Setback::default(), Timestamp::UNIX_EPOCH);
        for seconds in [1, 2, 4, 8, 16, 30] {
            setback.wait(trouble(), FIRST, now);
            now += FIRST;
            setback.wait(trouble(), FIRST, now);
            setback.wait(trouble(), Duration::from_secs(30), now);
            let pause = held(&setback, now);
            assert!(pause >= Duration::from_secs(seconds), "{pause:?}");
            now += pause;
        }
    }

    #[test]
    fn to_give_way_neither_shortens_a_pause_nor_lengthens_the_next() {
        let (mut setback, now) = (Setback::default(), Timestamp::UNIX_EPOCH);
        for _ in 0..8 {
            setback.give_way(trouble(), LITTLE, now);
        }
        assert_eq!(held(&setback, now), LITTLE);
        setback.wait(trouble(), LONGEST, now);
        assert_eq!(held(&setback, now), FIRST, "it counts all the same");
        setback.give_way(trouble(), LITTLE, now);
        assert_eq!(held(&setback, now), FIRST);
        assert_eq!(setback.trouble(), Some(&trouble()));
    }

    #[test]
    fn only_a_later_one_shows_that_nothing_is_in_the_way() {
        let (mut setback, now) = (Setback::default(), Timestamp::UNIX_EPOCH);
        let [before, after] = ["before", "after"].map(Uid::parse);
        setback.made(before);
        setback.wait(trouble(), LONGEST, now);
        setback.overcome(before);
        assert!(setback.holds(now) && setback.trouble().is_some());
        setback.made(after);
        setback.overcome(after);
        assert!(!setback.holds(now) && setback.trouble().is_none());
        setback.say(trouble());
        setback.overcome(before);
        assert_eq!(setback.trouble(), None, "it was no more than said");
    }
}
