//! Process 1 while the command runs: reaps every orphan, ends everything when it is time,
//! and says how the command ended.
//!
//! It needs nothing of the command for that: no output, no answer to a signal, no process
//! group, for `kill(-1)` of process 1 reaches whoever is left in the namespace.

use std::io;
use std::time::Duration;

use contract::run::{Cause, Exit, Time};

use crate::sys::{News, Processes, Reaped, Signal};

#[cfg(test)]
mod tests;

/// How long after SIGKILL a process may still be on its way out. Only one that is stuck in
/// the kernel ever needs it.
const UNKILLABLE: Duration = Duration::from_secs(5);
/// How soon it is sent again: where processes start others as fast as they can, one that is just
/// being started has not heard it.
const AGAIN: Duration = Duration::from_millis(20);
/// A hundred years, for what has no limit; no clock of a node gets there.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);
/// Some hundred microseconds' worth.
const REAPED_AT_ONCE: usize = 128;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// The command itself.
    pub exit: Exit,
    /// What made it end.
    pub cause: Cause,
    /// From the beginning of the watch to the end of the last process.
    pub wall: Duration,
    /// Something is still there.
    pub left_behind: bool,
}

/// How far the end has come; each with the moment at which the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody asked it to end.
    Running(Duration),
    /// It was asked to.
    Asked(Duration),
    /// It was made to.
    Killed(Duration),
}

impl Phase {
    const fn until(self) -> Duration {
        match self {
            Self::Running(until) | Self::Asked(until) | Self::Killed(until) => until,
        }
    }

    /// After how long it is looked at again, whatever comes.
    const fn at_most(self) -> Duration {
        match self {
            Self::Running(_) | Self::Asked(_) => FOREVER,
            Self::Killed(_) => AGAIN,
        }
    }
}

/// Watches until nobody is left. When the command has ended by itself, what it left behind
/// is killed at once; when it was asked to end, whoever is left has the whole grace.
///
/// Fails only if the kernel refuses to wait or to signal, which leaves nothing to do but to
/// end: with process 1 end all others.
pub fn supervise(sys: &impl Processes, command: u32, time: Time) -> io::Result<Over> {
    let begin = sys.now();
    let limit = time.limit_ms.map_or(FOREVER, Duration::from_millis);
    let mut phase = Phase::Running(begin + limit);
    let mut exit = None;
    let mut cause = Cause::Completed;
    let mut news = Vec::new();
    let left_behind = loop {
        // First of all: an end that came together with a request was not brought about by it.
        let left = reap(sys, command, &mut exit)?;
        if left == Left::Nobody {
            break false;
        }
        let now = sys.now();
        let asked = news.iter().find_map(|news| match news {
            News::Asked(signal) => Some(*signal),
            News::Child => None,
        });
        phase = match (phase, asked) {
            (Phase::Running(_), _) if exit.is_some() => kill(sys, now)?,
            (Phase::Running(_), Some(signal)) => {
                cause = Cause::Canceled;
                ask(sys, signal, now, time)?
            }
            (Phase::Running(until), None) if now >= until => {
                cause = Cause::TimedOut;
                ask(sys, Signal::Terminate, now, time)?
            }
            (Phase::Asked(until), _) if now >= until => kill(sys, now)?,
            (Phase::Asked(_), Some(signal)) => {
                // Once more, and no sooner the end: the grace is what was promised.
                sys.signal_everyone(signal)?;
                phase
            }
            (Phase::Killed(until), _) if now >= until => break true,
            (Phase::Killed(_), _) => {
                sys.signal_everyone(Signal::Kill)?;
                phase
            }
            (Phase::Running(_) | Phase::Asked(_), _) => phase,
        };
        let most = match left {
            Left::MoreToReap => Duration::ZERO,
            Left::Alive | Left::Nobody => phase.until().saturating_sub(now).min(phase.at_most()),
        };
        news = sys.news(most)?;
    };
    Ok(Over {
        exit: exit.unwrap_or(Exit::Unknown),
        cause,
        wall: sys.now().saturating_sub(begin),
        left_behind,
    })
}

fn kill(sys: &impl Processes, now: Duration) -> io::Result<Phase> {
    sys.signal_everyone(Signal::Kill)?;
    Ok(Phase::Killed(now + UNKILLABLE))
}

fn ask(sys: &impl Processes, signal: Signal, now: Duration, time: Time) -> io::Result<Phase> {
    sys.signal_everyone(signal)?;
    Ok(Phase::Asked(now + Duration::from_millis(time.grace_ms)))
}

/// Who is left after a round of reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// No child at all.
    Nobody,
    /// Children, all of them alive.
    Alive,
    /// Perhaps more that have ended.
    MoreToReap,
}

/// Takes those who have ended, [`REAPED_AT_ONCE`] at most: a command that makes orphans faster
/// than they are reaped must not keep process 1 from looking at the clock.
fn reap(sys: &impl Processes, command: u32, exit: &mut Option<Exit>) -> io::Result<Left> {
    for _ in 0..REAPED_AT_ONCE {
        match sys.reap()? {
            Reaped::Nobody => return Ok(Left::Nobody),
            Reaped::NoneYet => return Ok(Left::Alive),
            Reaped::Process(process, how) if process == command => *exit = Some(how),
            Reaped::Process(..) => {}
        }
    }
    Ok(Left::MoreToReap)
}
