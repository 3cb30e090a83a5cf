//! Who asks for the end from outside gets it; from inside nobody does.

use contract::run::{Cause, Exit};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{Run, Started};

fn send(started: &Started<'_>, signal: Signal) {
    kill_process(Pid::from_raw(started.supervisor()).unwrap(), signal).unwrap();
}

#[test]
fn a_signal_from_outside_is_passed_on_and_cancels() {
    for (signal, name, code) in [(Signal::TERM, "TERM", 4), (Signal::INT, "INT", 4)] {
        let run = Run::shell(&format!(
            "trap 'exit {code}' {name}; : > ready; while :; do sleep 0.02; done"
        ));
        let started = run.start();
        started.wait_for("ready");
        send(&started, signal);
        let done = started.finish();
        assert_eq!(done.ending().cause, Cause::Canceled);
        assert_eq!(done.ending().exit, Exit::Code(code));
    }
}

#[test]
fn who_ignores_a_cancel_is_killed_after_its_grace_whoever_asks_again() {
    let run = Run::shell("trap '' TERM INT; : > ready; while :; do sleep 4714.25; done");
    let started = run.start();
    started.wait_for("ready");
    send(&started, Signal::TERM);
    send(&started, Signal::INT);
    let done = started.finish();
    assert_eq!(done.ending().cause, Cause::Canceled);
    assert_eq!(done.ending().exit, Exit::Signal(9));
    assert!(done.wall_ms < 10_000);
}

#[test]
fn a_command_cannot_have_itself_canceled() {
    let run = Run::shell("kill -TERM 1; kill -INT 1; kill -KILL 1; sleep 0.2; exit 6");
    let done = run.go();
    assert_eq!(done.ending().cause, Cause::Completed);
    assert_eq!(done.ending().exit, Exit::Code(6));
}

#[test]
fn nor_can_its_neighbour_inside_the_container_where_landlock_is_not_in_the_way() {
    // As under gVisor or an old Landlock: a process of the same namespace, outside the jail.
    let mut run = Run::shell(": > ready; sleep 1; exit 6");
    run.contract["time"] = json!({ "limitMs": 8000, "graceMs": 100 });
    let started = run.start();
    started.wait_for("ready");
    let supervisor = started.supervisor().to_string();
    let inside = std::process::Command::new("nsenter")
        .args([
            "--target",
            &supervisor,
            "--pid",
            "--mount",
            "sh",
            "-c",
            "kill -TERM 1",
        ])
        .status()
        .unwrap();
    assert!(inside.success(), "the signal was sent");
    let done = started.finish();
    assert_eq!(done.ending().cause, Cause::Completed);
    assert_eq!(done.ending().exit, Exit::Code(6));
}
