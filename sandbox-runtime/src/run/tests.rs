//! The longest report fits, and a long refusal is cut between characters.

use contract::run::{
    Cause, Ending, Exit, MAX_RESULT_BYTES, MAX_RUN_REPORT_BYTES, OutputCount, RunResult, Usage,
};

use super::*;

#[test]
fn no_report_is_longer_than_was_foreseen() {
    let usage = Usage {
        user_ms: u64::MAX,
        system_ms: u64::MAX,
        max_resident_kib: u64::MAX,
    };
    let output = OutputCount {
        stdout_bytes: u64::MAX,
        stderr_bytes: u64::MAX,
        lines: u64::MAX,
        dropped_lines: u64::MAX,
        cut_lines: u64::MAX,
        dropped_bytes: u64::MAX,
        delivered: false,
    };
    let ended = Outcome::Ended(Ending {
        exit: Exit::Signal(u8::MAX),
        cause: Cause::Completed,
        oom_kills: Some(u64::MAX),
        wall_ms: u64::MAX,
        usage,
        output,
        result: RunResult::Text("\u{1}".repeat(MAX_RESULT_BYTES)),
        left_behind: false,
    });
    let refused = Outcome::Refused(Refusal {
        reason: RefusalReason::DirectoryNotFound,
        message: "\u{1}".repeat(MAX_MESSAGE),
    });
    for outcome in [ended, refused] {
        let report = RunReport {
            version: u32::MAX,
            outcome,
        };
        assert!(serde_json::to_vec(&report).unwrap().len() <= MAX_RUN_REPORT_BYTES);
    }
}

#[test]
fn a_long_refusal_is_cut_between_characters() {
    let form = serde_json::from_str::<RunContract>(&format!("{{\"{}\":1}}", "ä".repeat(2000)));
    let refusal = refusal(&NotRun::Form(form.unwrap_err()));
    assert_eq!(refusal.reason, RefusalReason::BadContract);
    assert!((MAX_MESSAGE - 1..=MAX_MESSAGE).contains(&refusal.message.len()));
}
