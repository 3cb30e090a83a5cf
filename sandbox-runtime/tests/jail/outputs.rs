//! Output is passed on as it was said, within bounds; beyond them it holds nobody up.

use std::io::Read as _;
use std::time::Duration;

use contract::run::{Cause, Exit};
use serde_json::json;

use crate::harness::Run;

#[test]
fn both_streams_are_passed_on_and_kept_apart() {
    let done = Run::shell("echo one; echo two >&2; printf three").go();
    assert_eq!(
        (done.stdout(), done.stderr()),
        ("one\nthree".into(), "two\n".into())
    );
    let output = done.ending().output;
    assert_eq!(
        (output.stdout_bytes, output.stderr_bytes, output.lines),
        (9, 4, 3)
    );
    assert_eq!(
        (output.dropped_lines, output.cut_lines, output.dropped_bytes),
        (0, 0, 0)
    );
    assert!(output.delivered);
}

#[test]
fn binary_junk_arrives_byte_by_byte() {
    let run = Run::shell("head -c 100000 /dev/urandom | tee copy");
    let mut run = run;
    run.contract["output"]["lineBytes"] = json!(65536);
    let done = run.go();
    let copy = std::fs::read(run.path("work/copy")).unwrap();
    assert_eq!(done.output.stdout, copy);
}

#[test]
fn a_huge_line_is_cut_and_what_follows_it_is_not() {
    let done = Run::shell("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo after").go();
    let lines: Vec<&[u8]> = done.output.stdout.split(|&byte| byte == b'\n').collect();
    assert_eq!(lines[0].len(), 4096);
    assert_eq!(lines[1], b"after");
    let output = done.ending().output;
    assert_eq!(
        (output.lines, output.cut_lines, output.dropped_lines),
        (2, 1, 0)
    );
    assert_eq!(output.dropped_bytes, 50_000_000 - 4096);
}

#[test]
fn a_flood_is_dropped_and_counted_and_holds_nobody_up() {
    // As fast as the pipe goes; a gigabyte would take minutes if each line were passed on.
    let mut run = Run::shell("yes | head -c 1000000000; echo done >&2");
    run.contract["output"]["totalBytes"] = json!(100_000);
    run.contract["time"]["limitMs"] = json!(60_000);
    let done = run.go();
    let ending = done.ending();
    assert_eq!(
        (ending.exit, ending.cause),
        (Exit::Code(0), Cause::Completed)
    );
    let output = ending.output;
    assert_eq!(output.stdout_bytes, 1_000_000_000);
    assert_eq!(done.output.stdout.len(), 100_000);
    assert_eq!(output.lines, 500_000_001);
    assert_eq!(output.lines - output.dropped_lines, 50_000);
    let said = output.stdout_bytes + output.stderr_bytes;
    assert_eq!(said - output.dropped_bytes, 100_000);
    let rate = 1000 * 1_000_000_000 / ending.wall_ms.max(1) / 1_000_000;
    println!("1 GB in {} ms: {rate} MB/s", ending.wall_ms);
}

#[test]
fn the_supervisor_does_not_grow_with_the_flood() {
    let mut run = Run::shell("yes | head -c 300000000 >&2; : > ready; sleep 2");
    run.contract["output"]["totalBytes"] = json!(4_000_000);
    let mut started = run.start();
    let mut stderr = started.child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
    started.wait_for("ready");
    let status = std::fs::read_to_string(format!("/proc/{}/status", started.supervisor()));
    let peak = status.unwrap().lines().find_map(|line| {
        let value = line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?;
        value.trim().parse::<u64>().ok()
    });
    println!("peak of the supervisor: {} KiB", peak.unwrap());
    assert!(peak.unwrap() < 4096);
    started.finish();
    reader.join().unwrap().unwrap();
}

#[test]
fn who_does_not_read_slows_the_command_down_and_the_limit_ends_it() {
    let mut run = Run::shell("yes; echo never");
    run.contract["time"] = json!({ "limitMs": 500, "graceMs": 100 });
    run.contract["output"]["totalBytes"] = json!(1 << 30);
    // Nobody reads the pod's stdout until all is over.
    let mut command = run.jailed();
    let mut child = command.spawn().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let report = std::fs::read_to_string(run.path("out/report.json")).unwrap();
    assert!(report.contains(r#""cause":"TimedOut""#), "{report}");
    assert!(report.contains(r#""delivered":false"#), "{report}");
    // Two pipes and a chunk at most, of a command that says gigabytes a second.
    let value: serde_json::Value = serde_json::from_str(&report).unwrap();
    let said = value["outcome"]["Ended"]["output"]["stdoutBytes"]
        .as_u64()
        .unwrap();
    assert!(said < 1 << 20, "{said}");
}

#[test]
fn a_closed_stdout_of_the_pod_ends_nothing() {
    let mut run =
        Run::shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 9");
    run.contract["time"]["limitMs"] = json!(10_000);
    let mut started = run.start();
    drop(started.child.stdout.take());
    std::thread::sleep(Duration::from_millis(1));
    let done = started.finish();
    assert_eq!(done.ending().exit, Exit::Code(9));
    assert!(!done.ending().output.delivered);
}
