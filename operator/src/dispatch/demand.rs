//! How many sandboxes are worth keeping ready: as many as came at once within the last hour. Pure.
//!
//! In: when each Execution of an Integration was created, whether it is over by now or not. Out: a
//! number between the Integration's bounds.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

/// How long an arrival counts.
const MEMORY: Duration = Duration::from_hours(1);
/// Seconds of a span. What comes within two of them comes at once: no sandbox that was used first is
/// made and proven again by then.
const SPAN: i64 = 5;

/// When Executions came, and how many: bounded by the spans of [`MEMORY`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    by_span: BTreeMap<i64, usize>,
}

fn span(at: Timestamp) -> i64 {
    at.as_second().div_euclid(SPAN)
}

impl Arrivals {
    /// One came.
    pub fn note(&mut self, at: Timestamp, now: Timestamp) {
        self.by_span = self.by_span.split_off(&span(now - MEMORY));
        if span(at) >= span(now - MEMORY) {
            *self.by_span.entry(span(at)).or_default() += 1;
        }
    }

    /// The most that came at once within the last hour.
    pub fn most(&self, now: Timestamp) -> usize {
        let kept = self.by_span.range(span(now - MEMORY)..);
        let with_next = kept.map(|(at, count)| count + self.by_span.get(&(at + 1)).unwrap_or(&0));
        with_next.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn after(seconds: &[i64]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for second in seconds {
            arrivals.note(at(*second), at(*second));
        }
        arrivals
    }

    #[test]
    fn what_comes_at_once_counts_and_what_comes_one_by_one_does_not_add_up() {
        assert_eq!(after(&[]).most(at(0)), 0);
        assert_eq!(after(&[0, 30, 60, 90]).most(at(91)), 1);
        assert_eq!(after(&[0, 1, 2, 60]).most(at(61)), 3);
        // Across the border of two spans, too.
        assert_eq!(after(&[3, 4, 5, 6]).most(at(7)), 4);
    }

    #[test]
    fn an_hour_later_it_is_forgotten_whoever_comes_then() {
        let mut arrivals = after(&[0, 0, 0]);
        assert_eq!(arrivals.most(at(3600)), 3);
        assert_eq!(arrivals.most(at(3606)), 0);
        arrivals.note(at(3700), at(3700));
        assert_eq!(arrivals.most(at(3700)), 1);
        assert_eq!(arrivals.by_span.len(), 1);
    }

    #[test]
    fn one_that_is_listed_late_counts_by_when_it_came() {
        let mut arrivals = Arrivals::default();
        arrivals.note(at(0), at(5000));
        assert!(arrivals.by_span.is_empty());
        arrivals.note(at(2000), at(5000));
        assert_eq!(arrivals.most(at(5000)), 1);
        assert_eq!(arrivals.most(at(5605)), 0);
    }
}
