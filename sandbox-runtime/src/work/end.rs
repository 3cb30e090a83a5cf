//! How a Worker ended → the exit code and the termination message. Pure.

use contract::run::{Cause, Ending, Exit, Outcome, Refusal, RunReport};
use contract::work::{EXIT_BROKEN, EXIT_FAILED, EXIT_REFUSED, EXIT_SIGNAL};

/// What the kubelet is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The exit code of process 1.
    pub code: u8,
    /// The termination message.
    pub message: String,
}

impl End {
    /// The proof is broken by this fault.
    pub const fn broken(fault: String) -> Self {
        Self {
            code: EXIT_BROKEN,
            message: fault,
        }
    }

    /// This process failed.
    pub const fn failed(message: String) -> Self {
        Self {
            code: EXIT_FAILED,
            message,
        }
    }

    /// It was told what it cannot do.
    pub const fn refused(message: String) -> Self {
        Self {
            code: EXIT_REFUSED,
            message,
        }
    }

    /// It was asked to end before anything ran.
    pub fn unstarted() -> Self {
        Self {
            code: 0,
            message: "asked to end before the command was started".to_owned(),
        }
    }

    /// By what the run itself says; a fault that ended it comes before that.
    pub fn of(report: &RunReport, fault: Option<String>) -> Self {
        match (&report.outcome, fault) {
            (Outcome::Refused(Refusal { reason: _, message }), _) => Self::refused(message.clone()),
            (Outcome::Ended(_), Some(fault)) => Self::broken(fault),
            (Outcome::Ended(ending), None) => Self {
                code: code(ending.exit),
                message: sentence(ending),
            },
        }
    }
}

fn code(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => EXIT_SIGNAL.saturating_add(signal),
        Exit::Unknown => EXIT_FAILED,
    }
}

/// No check begins like this: whoever reads it can tell an end from a fault.
fn sentence(ending: &Ending) -> String {
    let how = match ending.exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
        Exit::Unknown => "did not end when it was killed".to_owned(),
    };
    let why = match ending.cause {
        Cause::Completed => "by itself",
        Cause::Canceled => "asked to end from outside",
        Cause::TimedOut => "at its limit of time",
    };
    let memory = match ending.oom_kills {
        Some(kills) if kills > 0 => format!("; killed for want of memory: {kills}"),
        Some(_) | None => String::new(),
    };
    format!("the command {how}, {why}{memory}")
}

#[cfg(test)]
mod tests {
    use contract::run::{OutputCount, RUN_VERSION, RefusalReason, RunResult, Usage};

    use super::*;

    fn ended(exit: Exit, cause: Cause, oom_kills: Option<u64>) -> RunReport {
        RunReport {
            version: RUN_VERSION,
            outcome: Outcome::Ended(Ending {
                exit,
                cause,
                oom_kills,
                wall_ms: 0,
                usage: Usage::default(),
                output: OutputCount::default(),
                result: RunResult::None,
                left_behind: false,
            }),
        }
    }

    #[test]
    fn the_commands_own_end_is_the_pods() {
        for (exit, cause, kills, code, message) in [
            (
                Exit::Code(0),
                Cause::Completed,
                Some(0),
                0,
                "the command exited with code 0, by itself",
            ),
            (
                Exit::Code(7),
                Cause::Canceled,
                None,
                7,
                "the command exited with code 7, asked to end from outside",
            ),
            (
                Exit::Signal(9),
                Cause::Completed,
                Some(1),
                137,
                "the command was ended by signal 9, by itself; killed for want of memory: 1",
            ),
            (
                Exit::Unknown,
                Cause::Canceled,
                None,
                1,
                "the command did not end when it was killed, asked to end from outside",
            ),
        ] {
            let end = End::of(&ended(exit, cause, kills), None);
            assert_eq!((end.code, &*end.message), (code, message));
        }
    }

    #[test]
    fn a_fault_comes_before_how_the_command_took_it() {
        let fault = "Kubelet x: expected Blocked, saw Connected";
        let report = ended(Exit::Code(0), Cause::Canceled, None);
        let end = End::of(&report, Some(fault.to_owned()));
        assert_eq!((end.code, &*end.message), (EXIT_BROKEN, fault));
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let report = RunReport {
            version: RUN_VERSION,
            outcome: Outcome::Refused(Refusal {
                reason: RefusalReason::CommandNotFound,
                message: "found no executable file".to_owned(),
            }),
        };
        let end = End::of(&report, None);
        assert_eq!(
            (end.code, &*end.message),
            (EXIT_REFUSED, "found no executable file")
        );
    }
}
