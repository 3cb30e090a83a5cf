//! What became of an attempt: a sandbox's report, or what is known without one. Pure.

use contract::run::{
    Cause, Ending, Exit, MAX_RESULT_BYTES, Outcome as Told, RUN_VERSION, RefusalReason, RunReport,
    RunResult,
};
use crds::execution::ExecutionReason;

use super::status::written;

/// Most bytes of a result as the API server writes it: half of what a status may have.
const MAX_RESULT_WRITTEN: usize = 8 * 1024;
// Words below name both.
const _: () = assert!(MAX_RESULT_BYTES == 4096 && MAX_RESULT_WRITTEN == 8192);
/// What a shell ends with if SIGKILL ended what it waited for: 128 and the signal's number.
const KILLED: u8 = 128 + 9;

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended, from the closed list.
    pub reason: ExecutionReason,
    /// For people.
    pub message: String,
    /// Exit code of the command, if it ended by itself.
    pub exit_code: Option<i32>,
    /// Signal that ended it, if one did.
    pub signal: Option<i32>,
    /// What it left.
    pub result: Option<String>,
    /// The command may still be running where nobody sees it.
    pub adrift: bool,
    /// Its pod was taken away, and nothing else is known of its end.
    pub taken: bool,
}

/// Of a run whose pod somebody took away.
const DELETED: &str =
    "the pod was deleted; the command may have run, and nothing is known of its end";
/// Where to look for why a command failed.
const LOOK: &str = "; look at status.output";

impl Outcome {
    /// One without a command that ended.
    pub fn new(reason: ExecutionReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            exit_code: None,
            signal: None,
            result: None,
            adrift: false,
            taken: false,
        }
    }

    /// One of which nobody knows whether its command has ended.
    pub fn adrift(reason: ExecutionReason, message: impl Into<String>) -> Self {
        Self {
            adrift: true,
            ..Self::new(reason, message)
        }
    }

    /// One whose pod was taken away; `adrift` as in [`Outcome::adrift`].
    pub fn taken(adrift: bool) -> Self {
        Self {
            adrift,
            taken: true,
            ..Self::new(ExecutionReason::NodeLost, DELETED)
        }
    }

    /// Says why it came to that, where that is known: it had to make room for another one, or its
    /// Integration is gone, with all its sandboxes.
    pub fn explain(&mut self, replaced: bool, orphaned: bool, integration: &str) {
        let deleted = self.reason == ExecutionReason::Evicted || self.taken;
        if replaced && self.reason == ExecutionReason::Canceled {
            self.message.push_str(
                "; it made room for another one, as spec.concurrency.policy of the Integration is Replace",
            );
        } else if orphaned && deleted {
            self.message = format!(
                "Integration {integration} was deleted, and its sandboxes with it; the command may have run"
            );
        }
    }

    /// What a sandbox's report says, of a command that was `heard` to write something, or was not.
    pub fn of_report(text: &[u8], heard: bool) -> Self {
        match serde_json::from_slice::<RunReport>(text) {
            Ok(report) if report.version == RUN_VERSION => match report.outcome {
                Told::Ended(ending) => of_ending(ending, heard),
                Told::Refused(refusal) => Self::new(of_refusal(refusal.reason), refusal.message),
            },
            Ok(report) => Self::new(
                ExecutionReason::NodeLost,
                format!(
                    "the sandbox speaks version {} of the contract, the operator {RUN_VERSION}",
                    report.version
                ),
            ),
            Err(error) => Self::new(
                ExecutionReason::NodeLost,
                format!("the sandbox's report cannot be read: {error}"),
            ),
        }
    }

    /// Whether another attempt may be made of it, where the Integration asks for that. No two of
    /// them run at once.
    pub const fn may_be_retried(&self) -> bool {
        !self.adrift
            && matches!(
                self.reason,
                ExecutionReason::Failed
                    | ExecutionReason::OOMKilled
                    | ExecutionReason::Evicted
                    | ExecutionReason::NodeLost
            )
    }
}

const fn of_refusal(reason: RefusalReason) -> ExecutionReason {
    match reason {
        RefusalReason::BadContract
        | RefusalReason::CommandNotFound
        | RefusalReason::DirectoryNotFound => ExecutionReason::Rejected,
        RefusalReason::NotEnforceable | RefusalReason::Failed => ExecutionReason::SandboxUnproven,
    }
}

fn of_ending(ending: Ending, heard: bool) -> Outcome {
    let kills = ending.oom_kills.unwrap_or_default();
    let (reason, message) = match (ending.cause, ending.exit) {
        (Cause::TimedOut, _) => (
            ExecutionReason::TimedOut,
            format!("ended by its timeout after {} ms", ending.wall_ms),
        ),
        (Cause::Canceled, _) => (
            ExecutionReason::Canceled,
            format!("ended on request after {} ms", ending.wall_ms),
        ),
        (Cause::Completed, Exit::Code(0)) => (
            ExecutionReason::Completed,
            format!("the command ended with code 0 after {} ms", ending.wall_ms),
        ),
        (Cause::Completed, Exit::Signal(9) | Exit::Code(KILLED)) if kills > 0 => (
            ExecutionReason::OOMKilled,
            "the kernel killed it for want of memory; raise spec.resources.memory of the \
             Integration"
                .to_owned(),
        ),
        (Cause::Completed, exit) => (ExecutionReason::Failed, failure(exit, kills, heard)),
    };
    let (exit_code, signal) = match ending.exit {
        Exit::Code(code) => (Some(code.into()), None),
        Exit::Signal(signal) => (None, Some(signal.into())),
        Exit::Unknown => (None, None),
    };
    let (result, remark) = of_result(ending.result);
    let rest = if ending.left_behind {
        "; some of what it had started did not end when it was killed"
    } else {
        ""
    };
    Outcome {
        reason,
        message: message + remark + rest,
        exit_code,
        signal,
        result,
        adrift: ending.left_behind,
        taken: false,
    }
}

/// How a command failed. That some of its processes were killed for want of memory need not be why.
fn failure(exit: Exit, kills: u64, heard: bool) -> String {
    let look = if heard { LOOK } else { "" };
    let (how, look) = match exit {
        Exit::Code(code) => (format!("the command ended with code {code}"), look),
        Exit::Signal(signal) => (format!("the command was ended by signal {signal}"), look),
        Exit::Unknown => ("it is not known how the command ended".to_owned(), ""),
    };
    if kills == 0 {
        return how + look;
    }
    let processes = if kills == 1 { "process" } else { "processes" };
    format!(
        "{how}, and the kernel killed {kills} {processes} of it for want of memory; raise \
         spec.resources.memory of the Integration{look}"
    )
}

/// What the command left, and what there is to say of it if it cannot be kept.
fn of_result(result: RunResult) -> (Option<String>, &'static str) {
    match result {
        RunResult::None => (None, ""),
        RunResult::Text(text) => match unfit(&text) {
            Some(remark) => (None, remark),
            None => (Some(text), ""),
        },
        RunResult::NotText => (None, "; /work/result is not UTF-8 and was not kept"),
        RunResult::TooLarge => (None, "; /work/result is over 4096 bytes and was not kept"),
        RunResult::Unreadable => (None, "; /work/result is not a file that can be read"),
    }
}

/// Why a text is no result that a status can have: it is read on terminals, which some characters
/// control, and a status has its bounds as it is written.
fn unfit(text: &str) -> Option<&'static str> {
    let controls = |char: char| char.is_control() && !matches!(char, '\n' | '\r' | '\t');
    if text.contains(controls) {
        return Some(
            "; /work/result has control characters other than line ends and tabs and was not kept",
        );
    }
    // The quotes are no part of it.
    (written(text) > MAX_RESULT_WRITTEN + 2)
        .then_some("; /work/result is over 8192 bytes as JSON and was not kept")
}

#[cfg(test)]
mod tests {
    use contract::run::{OutputCount, Refusal, Usage};

    use super::*;

    fn ending(cause: Cause, exit: Exit, oom_kills: Option<u64>) -> Ending {
        Ending {
            exit,
            cause,
            oom_kills,
            wall_ms: 5,
            usage: Usage::default(),
            output: OutputCount::default(),
            result: RunResult::Text("{}".to_owned()),
            left_behind: false,
        }
    }

    fn reason(outcome: Told) -> ExecutionReason {
        let version = RUN_VERSION;
        let report = serde_json::to_vec(&RunReport { version, outcome }).unwrap();
        Outcome::of_report(&report, true).reason
    }

    #[test]
    fn each_ending_has_its_own_name() {
        use ExecutionReason as R;
        for (cause, exit, kills, expected) in [
            (Cause::Completed, Exit::Code(0), Some(0), R::Completed),
            (Cause::Completed, Exit::Code(3), Some(0), R::Failed),
            (Cause::Completed, Exit::Signal(11), None, R::Failed),
            (Cause::Completed, Exit::Signal(9), Some(1), R::OOMKilled),
            (Cause::Completed, Exit::Signal(9), Some(0), R::Failed),
            // So says a shell of what it waited for.
            (Cause::Completed, Exit::Code(137), Some(1), R::OOMKilled),
            (Cause::Completed, Exit::Code(137), Some(0), R::Failed),
            (Cause::Completed, Exit::Code(137), None, R::Failed),
            (Cause::Completed, Exit::Code(3), Some(2), R::Failed),
            (Cause::Completed, Exit::Signal(11), Some(1), R::Failed),
            // A child was killed, and the command lived with it.
            (Cause::Completed, Exit::Code(0), Some(1), R::Completed),
            (Cause::TimedOut, Exit::Signal(15), Some(0), R::TimedOut),
            (Cause::Canceled, Exit::Code(0), Some(0), R::Canceled),
            (Cause::Completed, Exit::Unknown, None, R::Failed),
        ] {
            let found = reason(Told::Ended(ending(cause, exit, kills)));
            assert_eq!(found, expected, "{cause:?} {exit:?} {kills:?}");
        }
    }

    #[test]
    fn what_outlives_its_command_is_said_and_is_not_joined_by_another_attempt() {
        for left_behind in [false, true] {
            let ending = Ending {
                left_behind,
                ..ending(Cause::Completed, Exit::Code(3), None)
            };
            let outcome = of_ending(ending, true);
            assert_eq!(outcome.may_be_retried(), !left_behind);
            assert_eq!(outcome.message.contains("did not end when"), left_behind);
        }
    }

    #[test]
    fn processes_killed_for_memory_are_named_whatever_the_command_made_of_it() {
        let message =
            |exit, kills| of_ending(ending(Cause::Completed, exit, Some(kills)), true).message;
        for (exit, kills, words) in [
            (
                Exit::Code(3),
                2,
                "code 3, and the kernel killed 2 processes",
            ),
            (
                Exit::Signal(6),
                1,
                "signal 6, and the kernel killed 1 process of",
            ),
            (
                Exit::Unknown,
                1,
                "ended, and the kernel killed 1 process of",
            ),
        ] {
            let said = message(exit, kills);
            assert!(said.contains(words), "{said}");
            assert!(said.contains("spec.resources.memory"), "{said}");
        }
        assert!(!message(Exit::Code(3), 0).contains("memory"));
    }

    #[test]
    fn a_result_is_kept_where_it_controls_no_terminal_and_fits_into_a_status() {
        let left = |text: String| {
            let ending = Ending {
                result: RunResult::Text(text),
                ..ending(Cause::Completed, Exit::Code(0), None)
            };
            let Outcome {
                reason,
                result,
                message,
                ..
            } = of_ending(ending, true);
            assert_eq!(reason, ExecutionReason::Completed);
            (result, message)
        };
        for good in [
            "a\r\n\tb \u{1f600}",
            &"\"\n".repeat(2048),
            &"<".repeat(1365),
        ] {
            assert_eq!(left(good.to_owned()).0.as_deref(), Some(good));
        }
        for (bad, why) in [
            ("\u{1}".repeat(4096), "control characters"),
            ("\u{1b}[2J".to_owned(), "control characters"),
            ("\u{9b}2J".to_owned(), "control characters"),
            ("\u{7f}".to_owned(), "control characters"),
            ("<".repeat(1366), "over 8192 bytes as JSON"),
            ("\u{2028}".repeat(1366), "over 8192 bytes as JSON"),
        ] {
            let (result, message) = left(bad);
            assert_eq!(result, None);
            assert!(
                message.contains("/work/result") && message.contains(why),
                "{message}"
            );
            assert!(message.contains("was not kept"), "{message}");
        }
    }

    #[test]
    fn a_node_that_was_lost_stays_the_reason_though_the_integration_is_gone() {
        let explained = |mut outcome: Outcome| {
            outcome.explain(false, true, "hello");
            outcome.message
        };
        let lost = Outcome::new(ExecutionReason::NodeLost, "its node is gone");
        assert_eq!(explained(lost), "its node is gone");
        for adrift in [false, true] {
            assert!(explained(Outcome::taken(adrift)).starts_with("Integration hello was deleted"));
        }
    }

    #[test]
    fn a_jail_that_cannot_be_had_is_no_failure_of_the_command() {
        let refused = |reason| {
            let message = String::new();
            Told::Refused(Refusal { reason, message })
        };
        assert_eq!(
            reason(refused(RefusalReason::NotEnforceable)),
            ExecutionReason::SandboxUnproven
        );
        assert_eq!(
            reason(refused(RefusalReason::CommandNotFound)),
            ExecutionReason::Rejected
        );
    }

    #[test]
    fn a_report_that_makes_no_sense_leaves_the_outcome_unknown() {
        let outcome = Outcome::of_report(b"{", true);
        assert_eq!(outcome.reason, ExecutionReason::NodeLost);
        assert!(outcome.message.contains("cannot be read"));
    }
}
