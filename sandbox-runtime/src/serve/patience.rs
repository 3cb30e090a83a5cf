//! How long to wait before the operator is dialled again. Pure but for its chance.
//!
//! When an operator goes away, every sandbox of the cluster loses its session at the same
//! moment; by chance they come back at different ones.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// The longest pause while another leader may be about to come, which takes a second or two.
const SOON: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(1);
/// Failures in a row after which nobody is about to come, or this machine is too slow.
const MANY: u32 = 8;
/// A packet that opens a connection and is lost is sent again by the kernel after one second: a pod whose
/// network has just come up loses some.
const FIRST_DIAL: Duration = Duration::from_secs(1);
const LONGEST_DIAL: Duration = Duration::from_secs(5);
/// Who dials a leader that has just gone is told nothing, and had better dial the next one soon: a
/// connection inside one cluster is taken within milliseconds.
const ANSWER: Duration = Duration::from_millis(250);

/// Grows with every failure.
#[derive(Debug, Default)]
pub struct Patience {
    failures: u32,
}

impl Patience {
    /// The next pause: from half to the whole of 50 ms, doubled with every one before it, to
    /// 200 ms at most, and after many failures to a second.
    pub fn next(&mut self) -> Duration {
        let whole = FIRST * 2_u32.saturating_pow(self.failures.min(16));
        let longest = if self.failures < MANY { SOON } else { LONGEST };
        self.failures = self.failures.saturating_add(1);
        let half = whole.min(longest) / 2;
        half + half.mul_f64(chance())
    }

    /// How long the next dial may take, names and handshakes included: a second, twice as long
    /// after every failure, five at most.
    pub fn dial(&self) -> Duration {
        let doubled = FIRST_DIAL * 2_u32.saturating_pow(self.failures.min(16));
        doubled.min(LONGEST_DIAL)
    }

    /// How long the next dial may wait for the connection to be taken: a quarter of a second, and
    /// after many failures as long as it likes.
    pub fn answer(&self) -> Duration {
        if self.failures < MANY {
            ANSWER
        } else {
            self.dial()
        }
    }

    /// It went well: the next failure is the first.
    pub fn restore(&mut self) {
        self.failures = 0;
    }
}

/// From 0 to 1. Its seed is the kernel's; no secret depends on it.
fn chance() -> f64 {
    let any = RandomState::new().hash_one(());
    f64::from(u32::try_from(any >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_is_given_longer_after_every_failure() {
        let mut patience = Patience::default();
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(patience.dial(), Duration::from_secs(seconds));
            patience.next();
        }
        (0..100).for_each(|_| {
            patience.next();
        });
        assert_eq!(patience.dial(), LONGEST_DIAL);
        patience.restore();
        assert_eq!(patience.dial(), FIRST_DIAL);
    }

    #[test]
    fn a_dial_that_nobody_takes_is_over_soon_unless_it_is_so_with_all() {
        let mut patience = Patience::default();
        for _ in 0..MANY {
            assert_eq!(patience.answer(), ANSWER);
            patience.next();
        }
        assert_eq!(patience.answer(), LONGEST_DIAL);
        patience.restore();
        assert_eq!(patience.answer(), ANSWER);
    }

    #[test]
    fn pauses_double_up_to_a_second_and_start_again_after_a_success() {
        let mut patience = Patience::default();
        for whole in [50, 100, 200, 200, 200, 200, 200, 200, 1000, 1000] {
            let pause = patience.next();
            let (half, whole) = (
                Duration::from_millis(whole / 2),
                Duration::from_millis(whole),
            );
            assert!((half..=whole).contains(&pause), "{pause:?} of {whole:?}");
        }
        (0..1000).for_each(|_| assert!(patience.next() <= LONGEST));
        patience.restore();
        assert!(patience.next() <= FIRST);
    }

    #[test]
    fn no_two_wait_alike() {
        let pauses: Vec<_> = (0..8).map(|_| Patience::default().next()).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
    }
}
