//! Sandboxes of one Integration that do not come about: how long the next one waits, and why. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::line::Trouble;

/// The pause after the first; after each further one in a row, twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// What is known of it; nothing once a sandbox has proven itself.
#[derive(Clone, Debug, Default)]
pub struct Setback {
    /// Pauses in a row.
    pauses: u32,
    until: Option<Timestamp>,
    trouble: Option<Trouble>,
}

impl Setback {
    /// Whether the next one still waits.
    pub fn holds(&self, now: Timestamp) -> bool {
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
        self.say(trouble);
        if self.holds(now) {
            return;
        }
        let pause = FIRST * 2_u32.pow(self.pauses.min(16));
        self.pauses = self.pauses.saturating_add(1);
        self.until = Some(now + pause.min(longest));
    }

    /// One did not come about because somebody else was faster: that says nothing of the next one.
    pub fn give_way(&mut self, trouble: Trouble, pause: Duration, now: Timestamp) {
        self.say(trouble);
        self.until = self.until.max(Some(now + pause));
    }
}

#[cfg(test)]
mod tests {
    use crds::execution::ExecutionReason;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

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
    fn to_give_way_neither_shortens_a_pause_nor_lengthens_the_next() {
        let (mut setback, now) = (Setback::default(), Timestamp::UNIX_EPOCH);
        let little = Duration::from_millis(50);
        for _ in 0..8 {
            setback.give_way(trouble(), little, now);
        }
        assert_eq!(held(&setback, now), little);
        setback.wait(trouble(), LONGEST, now + little);
        setback.give_way(trouble(), little, now + little);
        assert_eq!(held(&setback, now + little), FIRST);
        assert_eq!(setback.trouble(), Some(&trouble()));
    }
}
