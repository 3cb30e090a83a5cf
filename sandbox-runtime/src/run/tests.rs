//! What a contract looks like, that the longest report fits, and that a long refusal is cut
//! between characters.

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

/// Everything that a contract can say, as it is written.
const WHOLE: &str = r#"{"version":1,"profile":{"Hardened":{"landlockAbi":6}},"command":"python3","arguments":["-m","job"],"environment":{"LANG":"C.UTF-8"},"directory":"/work","writable":["/work","/tmp"],"hidden":["/run/token"],"input":{"text":"{}","file":"/work/input"},"result":"/work/result","time":{"limitMs":900000,"graceMs":10000},"limits":{"files":1024,"processes":256,"fileBytes":1073741824,"addressSpaceBytes":4294967296},"output":{"lineBytes":16384,"totalBytes":10485760}}"#;
/// The least.
const LEAST: &str = r#"{"version":1,"profile":"GVisor","command":"true","directory":"/","writable":[],"time":{"limitMs":1,"graceMs":0},"limits":{"files":16,"fileBytes":0},"output":{"lineBytes":64,"totalBytes":0}}"#;

#[test]
fn a_contract_is_read_as_it_is_written() {
    let whole: RunContract = serde_json::from_str(WHOLE).unwrap();
    assert_eq!(serde_json::to_string(&whole).unwrap(), WHOLE);
    let least: RunContract = serde_json::from_str(LEAST).unwrap();
    assert_eq!(least.input, None);
    assert_eq!(least.limits.processes, None);
    assert!(least.hidden.is_empty() && least.arguments.is_empty());
}

#[test]
fn a_profile_says_what_it_asks_for_and_nothing_else() {
    for profile in [
        r#"{"Hardened":{}}"#,
        r#""Hardened""#,
        r#"{"GVisor":{"landlockAbi":6}}"#,
    ] {
        let contract = LEAST.replace(r#""GVisor""#, profile);
        assert!(
            serde_json::from_str::<RunContract>(&contract).is_err(),
            "{profile}"
        );
    }
}
