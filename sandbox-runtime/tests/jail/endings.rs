//! How a run ends is told as it was, and when it is over, nobody is left.

use contract::run::{Cause, Exit, RunResult};
use serde_json::json;

use crate::harness::{Run, alive};

#[test]
fn an_exit_code_is_told_as_it_was() {
    for code in [0, 1, 7, 126, 127, 255] {
        let done = Run::shell(&format!("exit {code}")).go();
        let ending = done.ending();
        assert_eq!(
            (ending.exit, ending.cause),
            (Exit::Code(code), Cause::Completed)
        );
        assert!(!ending.left_behind);
        assert_eq!(done.output.status.code(), Some(0), "the report was written");
    }
    let found_by_name = Run::command("true", &[]);
    assert_eq!(found_by_name.go().ending().exit, Exit::Code(0));
}

#[test]
fn a_signal_is_told_as_it_was() {
    for signal in [1, 6, 9, 11, 15] {
        let done = Run::shell(&format!("kill -{signal} $$")).go();
        let ending = done.ending();
        assert_eq!(
            (ending.exit, ending.cause),
            (Exit::Signal(signal), Cause::Completed)
        );
    }
}

#[test]
fn input_comes_on_stdin_and_as_a_file_and_a_result_goes_back() {
    let mut run = Run::shell("cat; cat ../work/input; printf '{\"n\":1}' > result.json");
    let text = "ä".repeat(4096);
    run.contract["input"] = json!({ "text": text, "file": run.path("work/input") });
    run.contract["result"] = json!(run.path("work/result.json"));
    run.contract["output"]["lineBytes"] = json!(65536);
    let done = run.go();
    assert_eq!(done.stdout(), format!("{text}{text}"));
    assert_eq!(
        done.ending().result,
        RunResult::Text("{\"n\":1}".to_owned())
    );
}

#[test]
fn a_result_that_is_no_small_file_of_text_is_named() {
    for (script, expected) in [
        ("true", RunResult::None),
        ("head -c 4097 /dev/zero > result", RunResult::TooLarge),
        ("printf '\\377' > result", RunResult::NotText),
        ("ln -s /etc/passwd result", RunResult::Unreadable),
        ("mkfifo result", RunResult::Unreadable),
        ("mkdir result", RunResult::Unreadable),
        ("printf x > result; chmod 0 result", RunResult::Unreadable),
        (
            "head -c 4096 /dev/zero | tr '\\0' '\\1' > result",
            RunResult::Text("\u{1}".repeat(4096)),
        ),
    ] {
        let mut run = Run::shell(script);
        run.contract["result"] = json!(run.path("work/result"));
        assert_eq!(run.go().ending().result, expected, "{script}");
    }
}

#[test]
fn a_timeout_ends_even_who_ignores_sigterm_and_has_fled() {
    // Daemons: own sessions, closed streams, parents gone; all of them ignore SIGTERM.
    let mut run = Run::shell(
        "trap '' TERM INT HUP
         for n in 1 2 3; do
           setsid sh -c 'trap \"\" TERM; (sleep 4711.25 & sleep 4711.25) >/dev/null 2>&1 </dev/null' &
         done
         echo ready; while :; do sleep 4711.25; done",
    );
    run.contract["time"] = json!({ "limitMs": 400, "graceMs": 300 });
    let done = run.go();
    let ending = done.ending();
    assert_eq!(ending.cause, Cause::TimedOut);
    assert_eq!(ending.exit, Exit::Signal(9));
    assert!((700..5000).contains(&ending.wall_ms), "{}", ending.wall_ms);
    assert!(!ending.left_behind);
    assert_eq!(alive("4711.25"), 0);
}

#[test]
fn who_goes_at_sigterm_is_not_killed() {
    let mut run = Run::shell("trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done");
    run.contract["time"] = json!({ "limitMs": 300, "graceMs": 10_000 });
    let done = run.go();
    assert_eq!(done.ending().exit, Exit::Code(3));
    assert_eq!(done.ending().cause, Cause::TimedOut);
    assert_eq!(done.stdout(), "bye\n");
    assert!(done.wall_ms < 8_000, "the grace is not waited for");
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let run = Run::shell("setsid sleep 4712.25 & exec setsid sleep 4712.25 & sleep 0.2; exit 5");
    let done = run.go();
    assert_eq!(done.ending().exit, Exit::Code(5));
    assert!(done.wall_ms < 10_000);
    assert_eq!(alive("4712.25"), 0);
}

#[test]
fn orphans_are_reaped_while_it_runs() {
    // A thousand orphans; were they not reaped, they would be zombies below process 1.
    let run = Run::shell(
        "for i in 1 2 3 4 5 6 7 8 9 10; do
           for j in 1 2 3 4 5 6 7 8 9 10; do (true & true & true & true & true &) ; done
         done; sleep 0.5; grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l",
    );
    let done = run.go();
    assert_eq!(done.stdout().trim(), "0");
    assert_eq!(done.ending().exit, Exit::Code(0));
}

#[test]
fn orphans_without_end_do_not_keep_a_timeout_from_coming() {
    let script = "trap '' TERM; for i in 1 2 3; do (while :; do (true &); done) & done; wait";
    let mut run = Run::shell(script);
    run.contract["time"] = json!({ "limitMs": 600, "graceMs": 200 });
    let done = run.go();
    let ending = done.ending();
    assert_eq!(
        (ending.exit, ending.cause),
        (Exit::Signal(9), Cause::TimedOut)
    );
    assert!(ending.wall_ms < 5000, "{}", ending.wall_ms);
    println!("ended after {} ms of 800", ending.wall_ms);
}

#[test]
fn a_fork_bomb_stays_below_the_limit_and_ends_in_time() {
    let mut run = Run::shell("bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 4713.25");
    run.contract["limits"]["processes"] = json!(40);
    run.contract["time"] = json!({ "limitMs": 1000, "graceMs": 100 });
    let done = run.go();
    assert_eq!(done.ending().cause, Cause::TimedOut);
    assert!(!done.ending().left_behind);
    assert_eq!(alive("4713.25"), 0);

    let mut counted = Run::inside(&["processes", "100"]);
    assert_eq!(counted.go().json(), json!(100), "control: without a limit");
    counted.contract["limits"]["processes"] = json!(40);
    let _ = std::fs::remove_file(counted.directory.join("out/report.json"));
    let some = counted.go().json().as_u64().unwrap();
    // Those of the supervisor, and the probe, count too.
    assert!((30..40).contains(&some), "{some}");
}

#[test]
fn limits_of_files_hold() {
    let done = Run::shell("ulimit -c; ulimit -n; dd if=/dev/zero of=big bs=1M count=100 2>&1").go();
    assert!(done.stdout().starts_with("0\n256\n"), "{}", done.stdout());
    // Told by the shell, or by dd itself if the shell became it.
    let by_sigxfsz = [Exit::Code(128 + 25), Exit::Signal(25)];
    assert!(
        by_sigxfsz.contains(&done.ending().exit),
        "{done:?}",
        done = done.ending()
    );
}

#[test]
fn use_of_the_processor_is_counted() {
    let done = Run::shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").go();
    let usage = done.ending().usage;
    assert!(usage.user_ms + usage.system_ms > 10, "{usage:?}");
    assert!(usage.max_resident_kib > 100, "{usage:?}");
}
