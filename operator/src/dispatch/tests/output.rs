//! What the command says is in the status that its end is written with, whatever that end is.

use contract::{
    dispatch::{Run as Attempt, Stream},
    run::{Cause, Exit},
};
use serde_json::{Value, json};

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
    warm,
};

/// One Execution whose command runs, and its sandbox.
fn running(extra: &Value) -> (Sim, String) {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", extra);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    (sim, name)
}

fn output(sim: &Sim) -> Value {
    sim.executions["one"]["status"]["output"].clone()
}

fn tail(sim: &Sim, stream: &str) -> String {
    let tail = output(sim)[stream]["tail"].clone();
    tail.as_str().unwrap_or_default().to_owned()
}

#[test]
fn it_comes_with_the_write_that_ends_the_run_and_with_no_other() {
    let (mut sim, name) = running(&json!({}));
    sim.writes.clear();
    for place in 0..100 {
        sim.say(&name, Stream::Stdout, (4 * place, place), "row\n");
        assert!(sim.book.dirty.is_empty(), "it is looked at again");
    }
    sim.say(&name, Stream::Stderr, (0, 0), "why\u{7}");
    assert!(sim.settle());
    assert_eq!(sim.writes, [""; 0]);
    sim.end(&name, Cause::Completed, Exit::Code(3));
    assert!(sim.settle() && sim.pass(1));
    assert_eq!(sim.writes, ["Finish one", "Remove"]);
    let expected = json!({
        "stdout": {"bytes": 400, "lines": 100, "tail": "row\n".repeat(100), "truncated": false},
        "stderr": {"bytes": 4, "lines": 1, "tail": "why\u{fffd}", "truncated": false},
    });
    assert_eq!(output(&sim), expected);
}

#[test]
fn it_is_there_when_the_sandbox_is_lost_or_the_run_canceled() {
    for lose in [true, false] {
        let (mut sim, name) = running(&json!({}));
        sim.say(&name, Stream::Stderr, (0, 0), "about to break\n");
        if lose {
            sim.lose_pod(&name);
        } else {
            sim.cancel("one");
        }
        assert!(sim.settle());
        let expected = if lose { "NodeLost" } else { "Canceled" };
        assert_eq!(sim.reason("one"), expected);
        assert_eq!(tail(&sim, "stderr"), "about to break\n");
    }
}

#[test]
fn a_command_that_says_nothing_has_none_and_neither_has_one_whose_logs_are_off() {
    for (logs, said) in [("Kept", false), ("Off", true)] {
        let (mut sim, name) = running(&json!({"logs": "Kept"}));
        if said {
            sim.say(&name, Stream::Stdout, (0, 0), "secret\n");
        }
        // Also where that is changed while it runs.
        sim.integration(NAMESPACE, "hello", &json!({"logs": logs}));
        sim.end(&name, Cause::Completed, Exit::Code(0));
        assert!(sim.settle());
        assert_eq!(sim.reason("one"), "Completed");
        assert_eq!(output(&sim), Value::Null, "{logs}");
    }
}

#[test]
fn each_attempt_has_its_own() {
    let (mut sim, name) = running(&json!({"retries": 1}));
    sim.say(&name, Stream::Stdout, (0, 0), "first\n");
    let first = sim.boxes[&name].given.clone();
    sim.end(&name, Cause::Completed, Exit::Code(3));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Retrying");
    assert_eq!(tail(&sim, "stdout"), "first\n");
    assert!(sim.pass(3));
    let name = at_work(&sim);
    assert_eq!(output(&sim), Value::Null, "it is the first one's");
    // Of an attempt that is over, of another Execution, of none.
    let other = Attempt {
        execution: "00000000-0000-4000-8000-00000000ffff".to_owned(),
        attempt: 2,
    };
    for run in [first, Some(other), None] {
        sim.say_of(&name, run, (Stream::Stdout, 0, 0), "not this\n");
    }
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    assert_eq!(output(&sim), Value::Null);
}

#[test]
fn who_waits_for_another_attempt_keeps_what_the_last_one_said() {
    let (mut sim, name) = running(&json!({"retries": 1}));
    sim.say(&name, Stream::Stdout, (0, 0), "first\n");
    sim.end(&name, Cause::Completed, Exit::Code(3));
    assert!(sim.settle());
    sim.restart();
    sim.cancel("one");
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Canceled");
    assert_eq!(tail(&sim, "stdout"), "first\n");
}

#[test]
fn a_new_session_is_told_how_much_was_heard_and_a_new_leader_knows_what_it_missed() {
    let (mut sim, name) = running(&json!({}));
    let heard = |sim: &Sim| {
        let heard = sim.boxes[&name].heard.clone();
        heard.map(|heard| (heard.stdout, heard.stderr))
    };
    assert_eq!(heard(&sim), None);
    sim.say(&name, Stream::Stdout, (0, 0), "one\ntwo\n");
    assert_eq!(heard(&sim), Some((8, 0)));
    sim.silence(&name);
    sim.boxes.get_mut(&name).unwrap().heard = None;
    sim.dial(&name);
    assert!(sim.settle());
    assert_eq!(heard(&sim), Some((8, 0)));
    // Said again, by a sandbox that did not heed that.
    sim.say(&name, Stream::Stdout, (4, 1), "two\nthree\n");
    sim.restart();
    assert!(sim.settle());
    assert_eq!(heard(&sim), Some((0, 0)));
    sim.say(&name, Stream::Stdout, (8, 2), "three\n");
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.settle());
    assert_eq!(
        tail(&sim, "stdout"),
        "[2 lines, 8 bytes are missing here]\nthree\n"
    );
    let missed = (
        &output(&sim)["stdout"]["missedLines"],
        &output(&sim)["stdout"]["missedBytes"],
    );
    assert_eq!(missed, (&json!(2), &json!(8)));
}

#[test]
fn the_largest_output_takes_less_than_half_of_a_status() {
    let (mut sim, name) = running(&json!({}));
    for stream in [Stream::Stdout, Stream::Stderr] {
        sim.say(
            &name,
            stream,
            (1 << 60, 1 << 50),
            &"\u{1b}\u{e9}x\"\n".repeat(2000),
        );
    }
    sim.end(&name, Cause::Completed, Exit::Code(3));
    assert!(sim.settle());
    let written = json!(output(&sim)).to_string().len();
    assert!(written < 7 * 1024, "{written} bytes");
    assert_eq!(output(&sim)["stdout"]["truncated"], json!(true));
}
