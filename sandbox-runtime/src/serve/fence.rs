//! When a run that is cut off from the operator has to end, so that another attempt of it may
//! begin elsewhere. Pure but for its clock.
//!
//! The operator gives a silent sandbox up later than this, by as long as either end may take to
//! find a session dead. A process that was frozen has heard nobody either: its own ticks tell, by a clock
//! that goes on while the node sleeps.

use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::fate::Fate;
use crate::clock::since_start;

/// Between two looks at the clock, at most.
const TICK: Duration = Duration::from_secs(1);

/// What there is to lose, and to whom it can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The command may be running.
    pub runs: bool,
    /// The operator is there.
    pub heard: bool,
}

#[derive(Debug)]
struct Fence {
    limit: Duration,
    /// When the operator was last known to be there, or nothing ran; see [`since_start`].
    well: Duration,
}

impl Fence {
    /// Takes a look; gives whether all has to end.
    fn look(&mut self, now: Duration, standing: Standing) -> bool {
        if standing.runs && now.saturating_sub(self.well) >= self.limit {
            return true;
        }
        if standing.heard || !standing.runs {
            self.well = now;
        }
        false
    }
}

/// Comes back when all has to end: never, without a limit.
pub async fn watch(limit: Option<Duration>, standing: Receiver<Standing>, fate: Fate) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let well = since_start();
    let mut fence = Fence { limit, well };
    let mut ticks = interval(TICK.min(limit / 4));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // It may be over, and the session not know yet.
        let runs = standing.borrow().runs && !fate.is_over();
        let heard = standing.borrow().heard;
        if fence.look(since_start(), Standing { runs, heard }) {
            return;
        }
        ticks.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Standing = Standing {
        runs: true,
        heard: false,
    };
    const HEARD: Standing = Standing {
        runs: true,
        heard: true,
    };
    const DONE: Standing = Standing {
        runs: false,
        heard: false,
    };

    /// Looks at these seconds; gives the one at which all ends.
    fn ends(looks: &[(u64, Standing)]) -> Option<u64> {
        let begin = Duration::from_secs(1000);
        let limit = Duration::from_secs(25);
        let mut fence = Fence { limit, well: begin };
        let mut at = looks.iter();
        at.find(|(second, standing)| fence.look(begin + Duration::from_secs(*second), *standing))
            .map(|(second, _)| *second)
    }

    #[test]
    fn ends_what_has_been_alone_for_too_long() {
        assert_eq!(
            ends(&[(1, HEARD), (20, ALONE), (25, ALONE), (26, ALONE)]),
            Some(26)
        );
        assert_eq!(
            ends(&[(1, HEARD), (25, ALONE), (25, HEARD), (49, ALONE)]),
            None
        );
    }

    #[test]
    fn a_frozen_process_was_alone_whatever_it_believes() {
        assert_eq!(ends(&[(1, HEARD), (60, HEARD)]), Some(60));
    }

    #[test]
    fn where_nothing_runs_nothing_has_to_end() {
        assert_eq!(
            ends(&[(1, HEARD), (20, DONE), (90, DONE), (200, DONE)]),
            None
        );
        assert_eq!(
            ends(&[(60, DONE), (70, ALONE), (84, ALONE), (85, ALONE)]),
            Some(85)
        );
    }
}
