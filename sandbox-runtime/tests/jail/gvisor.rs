//! The same binary under gVisor's kernel: `runsc` on the `PATH`, or where the project's own cluster
//! keeps the one that it built.

use std::os::unix::fs::chown;
use std::process::Command;

use contract::run::{Cause, Exit, RefusalReason, RunResult};
use sandbox_runtime::policy;
use serde_json::json;

use crate::harness::{Done, Run, find};

/// Calls that gVisor answers without the jail just as with it: it has none of them.
const LACKING: [&str; 7] = [
    "clock_settime",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "modify_ldt",
    "socket alg",
    "socket vsock",
];

/// `runsc do`: one command as process 1 of a sandbox on this machine's files, without network
/// and outside cgroups.
fn runsc(run: &Run) -> Command {
    let mut command = Command::new("timeout");
    // See `Bundle::runtime`.
    command
        .env("GODEBUG", "updatemaxprocs=0")
        .env("GOMAXPROCS", "2");
    command
        .args(["--kill-after=1", "60"])
        .arg(find("runsc"))
        .arg("--root")
        .arg(run.directory.join("runsc"))
        .args(["--network=none", "--ignore-cgroups", "--platform=systrap"])
        .args(["do", "--force-overlay=false"]);
    command
}

/// `runsc do` stays root, who inside the jail may no more than any owner.
fn gvisor(mut run: Run) -> Run {
    run.contract["profile"] = json!("GVisor");
    for place in ["work", "tmp"] {
        chown(run.path(place), Some(0), Some(0)).unwrap();
    }
    run
}

/// Runs a contract to its end in gVisor.
fn go(run: &Run) -> Done {
    let mut command = runsc(run);
    command.args(run.jailed().get_args().skip_while(|word| {
        let program = run.path("bin/cloister-sandbox");
        word.to_str() != Some(program.as_str())
    }));
    run.finish(&mut command)
}

#[test]
fn every_denied_call_fails_in_gvisor_too() {
    let run = gvisor(Run::inside(&["calls"]));
    let done = go(&run);
    let inside = done.json();
    let program = run.path("bin/probe-inside");
    let bare = runsc(&run).arg(program).arg("calls").output();
    let outside: serde_json::Value = serde_json::from_slice(&bare.unwrap().stdout).unwrap();
    let rules = policy::policy().unwrap().rules;
    for (name, error) in inside.as_object().unwrap() {
        let call = name.split(' ').next().unwrap();
        let rule = rules
            .iter()
            .find(|rule| rule.calls.iter().any(|c| c == call));
        assert_eq!(*error, json!(rule.unwrap().answer.errno()), "{name}");
        let shown = outside[name] != *error;
        assert!(
            shown || LACKING.contains(&name.as_str()),
            "{name}: no difference"
        );
    }
}

#[test]
fn a_run_in_gvisor_ends_as_anywhere() {
    let mut run = gvisor(Run::shell(
        "cat; kill -TERM 1; printf done > result; exit 7",
    ));
    run.contract["input"] = json!({ "text": "given", "file": run.path("work/input") });
    run.contract["result"] = json!(run.path("work/result"));
    let done = go(&run);
    let ending = done.ending();
    assert_eq!(
        (ending.exit, ending.cause),
        (Exit::Code(7), Cause::Completed)
    );
    assert_eq!(ending.result, RunResult::Text("done".to_owned()));
    assert_eq!(done.stdout(), "given");
    assert_eq!(ending.oom_kills, None, "what is not known is not said");
}

#[test]
fn a_timeout_in_gvisor_ends_daemons() {
    let mut run = gvisor(Run::shell(
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 60 & sleep 60' & sleep 60; sleep 60",
    ));
    run.contract["time"] = json!({ "limitMs": 1000, "graceMs": 200 });
    let done = go(&run);
    let ending = done.ending();
    assert_eq!(
        (ending.exit, ending.cause),
        (Exit::Signal(9), Cause::TimedOut)
    );
    assert!(!ending.left_behind);
}

#[test]
fn the_supervisors_memory_is_out_of_reach_in_gvisor() {
    // Not so its environment and its descriptors: gVisor shows and opens them to the same user
    // whatever PR_SET_DUMPABLE says. Nothing secret may ever be in either.
    let run = gvisor(Run::inside(&[
        "read",
        "/proc/1/mem",
        "/proc/1/cwd/x",
        "/etc/passwd",
    ]));
    let done = go(&run);
    let verdicts = done.json();
    for path in ["/proc/1/mem", "/proc/1/cwd/x"] {
        let verdict = verdicts[path].as_str().unwrap();
        assert!(verdict.contains("os error 13"), "{path}: {verdict}");
    }
    assert_eq!(verdicts["/etc/passwd"], "ok", "control");
}

#[test]
fn what_gvisor_cannot_keep_is_refused() {
    let landlock = json!({ "Hardened": { "landlockAbi": 3 } });
    for (field, value, expected) in [
        ("profile", landlock, "Landlock ABI 3"),
        ("hidden", json!(["/etc"]), "hidden"),
        (
            "limits",
            json!({ "files": 256, "fileBytes": 1, "processes": 9 }),
            "processes",
        ),
    ] {
        let mut run = gvisor(Run::shell("true"));
        run.contract[field] = value;
        let done = go(&run);
        let refusal = done.refusal();
        assert_eq!(refusal.reason, RefusalReason::NotEnforceable);
        assert!(refusal.message.contains(expected), "{}", refusal.message);
    }
}
