//! A status has 16 KiB at the most, whatever its texts are made of.

use contract::{
    dispatch::{Output, Stream},
    run::{
        Cause, Ending, Exit, Outcome as Told, OutputCount, RUN_VERSION, RunReport, RunResult, Usage,
    },
};
use crds::{Execution, ExecutionStatus, execution::ExecutionReason};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::dispatch::{
    outcome::Outcome,
    run::{self, Progress, Run},
    sandbox::{Facts, Proof},
    status,
};

const MOST: usize = 16 * 1024;
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A run, and a pod with names as long as they may be.
fn run() -> (Run, Facts) {
    let execution: Execution = serde_json::from_value(json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
        "metadata": {"name": "one", "namespace": "tenant-acme", "generation": i64::MAX},
        "spec": {"integration": "hello"}}))
    .unwrap();
    let Progress::Open(mut run) = run::of(&execution, Timestamp::MAX) else {
        panic!("it has not begun");
    };
    run.started = Some(Timestamp::MAX);
    run.status.attempt = i32::MAX - 1;
    let image = format!("registry@sha256:{}", "0".repeat(505));
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": format!("cloister-run-{}", "n".repeat(50)), "uid": "0",
            "labels": {"cloister.dev/integration": "hello", "cloister.dev/role": "sandbox"}},
        "spec": {"nodeName": "n".repeat(253), "containers": []},
        "status": {"containerStatuses": [{"name": "command", "image": "", "imageID": image,
            "ready": true, "restartCount": 0}]}}))
    .unwrap();
    (*run, Facts::of(&pod).unwrap())
}

/// What a command leaves that says and leaves nothing but this.
fn left(run: &mut Run, text: &str) -> Outcome {
    for stream in [Stream::Stdout, Stream::Stderr] {
        run.output.take(&Output {
            run: None,
            stream: stream.into(),
            place: i64::MAX.unsigned_abs() / 2,
            lines: i64::MAX.unsigned_abs() / 2,
            text: text.repeat(9000 / text.len()).into(),
        });
    }
    let ending = Ending {
        exit: Exit::Signal(64),
        cause: Cause::Completed,
        oom_kills: Some(u64::MAX),
        wall_ms: u64::MAX,
        usage: Usage::default(),
        output: OutputCount::default(),
        result: RunResult::Text(text.repeat(4096 / text.len())),
        left_behind: false,
    };
    let outcome = Told::Ended(ending);
    let version = RUN_VERSION;
    let report = serde_json::to_vec(&RunReport { version, outcome }).unwrap();
    Outcome::of_report(&report, true)
}

/// Bytes of it as the API server has it, which escapes more than it has to.
fn assert_fits(status: &ExecutionStatus, text: &str) {
    let json = json!(status).to_string();
    let json = json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028");
    assert!(json.len() <= MOST, "{text:?}: {} bytes", json.len());
}

#[test]
fn it_is_never_longer_whatever_is_said_and_left() {
    for text in [
        "a",
        "<",
        "\"",
        "\u{1}",
        "\u{7f}",
        "\n",
        "\u{2028}",
        "\u{e9}",
        "\u{1f600}",
    ] {
        let (mut run, pod) = run();
        let long = text.repeat(5000);
        let doubt = Proof::Doubtful {
            fault: long.clone(),
        };
        let zone = "z".repeat(63);
        run.status = status::bound(&run, &pod, &doubt, Some(&zone), Timestamp::MAX);
        assert_fits(&run.status, text);
        let mut outcome = left(&mut run, text);
        for message in [outcome.message.clone(), long.clone()] {
            outcome.message = message;
            assert_fits(
                &status::ended(&run, &outcome, Some(&pod), Timestamp::MAX),
                text,
            );
            assert_fits(&status::retrying(&run, &outcome, Timestamp::MAX), text);
        }
        assert_fits(
            &status::open(&run, ExecutionReason::Queued, &long, Timestamp::MAX),
            text,
        );
    }
}

#[test]
fn what_fits_is_whole_and_of_what_does_not_the_oldest_output_goes_first() {
    let proven = Proof::Proven {
        at: NOW,
        passed: 30,
    };
    for (text, whole) in [("a", true), ("\u{1f600}", true), ("\"", false)] {
        let (mut run, pod) = run();
        run.status = status::bound(&run, &pod, &proven, None, NOW);
        let outcome = left(&mut run, text);
        let ended = status::ended(&run, &outcome, Some(&pod), NOW);
        assert_eq!(ended.result, Some(text.repeat(4096 / text.len())));
        assert_eq!(*ended.conditions[0].message, *outcome.message);
        let output = ended.output.clone().unwrap();
        let both = output.stdout.tail + &output.stderr.tail;
        assert_eq!(both.len() >= 4096 - 4, whole, "{text:?}: {}", both.len());
        // No more goes than has to.
        let json = json!(ended).to_string();
        assert!(whole || json.len() > MOST - 16, "{text:?}: {}", json.len());
        assert!(output.stdout.truncated && output.stderr.truncated);
    }
}
