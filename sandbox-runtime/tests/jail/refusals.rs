//! What cannot be done as asked is not done at all, and the refusal names it.

use std::process::Command;

use contract::run::RefusalReason;
use serde_json::{Value, json};

use crate::harness::{Run, SANDBOX};

/// Most bytes of the binary that goes into every sandbox.
const MOST_BYTES: u64 = 6 * 1024 * 1024;

/// Runs `touch ran` with something changed in its contract; nothing may have run.
fn refused(change: impl FnOnce(&Run, &mut Value)) -> (RefusalReason, String) {
    let mut run = Run::shell(": > ran");
    let mut contract = run.contract.clone();
    change(&run, &mut contract);
    run.contract = contract;
    let done = run.go();
    let refusal = done.refusal();
    assert_eq!(done.output.status.code(), Some(2));
    assert!(!run.directory.join("work/ran").exists(), "it ran");
    assert!(
        done.stderr().contains(&refusal.message),
        "{}",
        done.stderr()
    );
    (refusal.reason, refusal.message.clone())
}

#[test]
fn a_command_that_is_not_there_is_named() {
    for command in [
        "no-such-command",
        "/nowhere/at/all",
        "./relative",
        "/etc/passwd",
        "/tmp",
    ] {
        let (reason, message) = refused(|_, contract| contract["command"] = json!(command));
        assert_eq!(reason, RefusalReason::CommandNotFound, "{message}");
        assert!(
            message.contains(command.trim_start_matches('.')),
            "{message}"
        );
    }
}

#[test]
fn what_the_kernel_cannot_execute_is_named() {
    let (reason, message) = refused(|run, contract| {
        let script = run.path("work/script");
        std::fs::write(&script, "#!/nowhere/interpreter\n").unwrap();
        Command::new("chmod")
            .args(["755", &script])
            .status()
            .unwrap();
        contract["command"] = json!(script);
    });
    assert_eq!(reason, RefusalReason::CommandNotFound);
    assert!(message.contains("failed to execute"), "{message}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let (reason, message) = refused(|_, contract| contract["directory"] = json!("/nowhere"));
    assert_eq!(reason, RefusalReason::DirectoryNotFound);
    assert!(message.contains("/nowhere"), "{message}");
    let (reason, message) = refused(|_, contract| contract["writable"] = json!(["/nowhere"]));
    assert_eq!(reason, RefusalReason::NotEnforceable);
    assert!(message.contains("/nowhere"), "{message}");
}

#[test]
fn what_cannot_be_hidden_is_named() {
    let (reason, message) = refused(|_, contract| contract["hidden"] = json!(["/nowhere"]));
    assert_eq!(reason, RefusalReason::NotEnforceable);
    assert!(message.contains("/nowhere"), "{message}");
    let (reason, message) = refused(|run, contract| {
        std::os::unix::fs::symlink(run.path("work"), run.path("bin/link")).unwrap();
        contract["hidden"] = json!([run.path("bin/link")]);
    });
    assert_eq!(reason, RefusalReason::NotEnforceable);
    assert!(
        message.contains("lies in a writable directory"),
        "{message}"
    );
}

#[test]
fn what_this_kernel_lacks_is_named() {
    let newer = json!({ "Hardened": { "landlockAbi": 200 } });
    let (reason, message) = refused(|_, contract| contract["profile"] = newer);
    assert_eq!(reason, RefusalReason::NotEnforceable);
    assert!(message.contains("Landlock ABI 200"), "{message}");
    let (reason, message) = refused(|_, contract| contract["profile"] = json!("GVisor"));
    assert_eq!(reason, RefusalReason::NotEnforceable);
    assert!(message.contains("gVisor"), "{message}");
    let (reason, message) = refused(|_, contract| contract["limits"]["files"] = json!(1 << 20));
    if reason == RefusalReason::NotEnforceable {
        assert!(message.contains("open files"), "{message}");
    }
}

#[test]
fn a_contract_that_is_none_is_refused() {
    for change in [
        |contract: &mut Value| contract["version"] = json!(2),
        |contract: &mut Value| contract["surprise"] = json!(true),
        |contract: &mut Value| contract["limits"]["surprise"] = json!(true),
        |contract: &mut Value| contract["time"]["limitMs"] = json!(0),
        |contract: &mut Value| contract["writable"] = json!(["/"]),
        |contract: &mut Value| *contract = json!("x"),
    ] {
        let (reason, message) = refused(|_, contract| change(contract));
        assert_eq!(reason, RefusalReason::BadContract, "{message}");
    }
}

#[test]
fn only_process_1_supervises() {
    let run = Run::shell(": > ran");
    let _ = run.jailed();
    let output = Command::new(SANDBOX.as_path())
        .args(["run", "--contract", &run.path("contract.json")])
        .args(["--report", &run.path("out/report.json")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("must be process 1"), "{said}");
    assert!(!run.directory.join("work/ran").exists());
}

#[test]
fn an_input_that_would_replace_a_file_is_refused() {
    let (reason, message) = refused(|run, contract| {
        let file = run.path("work/input");
        std::fs::write(&file, "there").unwrap();
        contract["input"] = json!({ "text": "x", "file": file });
    });
    assert_eq!(reason, RefusalReason::Failed);
    assert!(message.contains("place the input"), "{message}");
}

#[test]
fn the_binary_is_small_and_starts_fast() {
    let bytes = std::fs::metadata(SANDBOX.as_path()).unwrap().len();
    println!("{}: {bytes} bytes", SANDBOX.display());
    assert!(bytes < MOST_BYTES);

    let run = Run::inside(&["now"]);
    let mut times: Vec<i64> = (0..50).map(|_| start_us(&run)).collect();
    times.sort_unstable();
    println!(
        "exec of the supervisor to the command's main, of {}: p50 {} us, p90 {} us, max {} us",
        times.len(),
        times[times.len() / 2],
        times[times.len() * 9 / 10],
        times[times.len() - 1]
    );
}

/// Microseconds from the supervisor's exec to the first look of the command at the clock. The
/// command is a static binary of a megabyte, whose own start is part of it.
fn start_us(run: &Run) -> i64 {
    let jailed = run.jailed();
    let words: Vec<_> = jailed.get_args().collect();
    let sandbox = run.path("bin/cloister-sandbox");
    let at = words
        .iter()
        .position(|word| *word == sandbox.as_str())
        .unwrap();
    let output = Command::new("unshare")
        .args(&words[..at])
        .arg(run.path("bin/probe-inside"))
        .arg("now-and")
        .args(&words[at..])
        .output()
        .unwrap();
    let number = |bytes: &[u8]| -> i64 { String::from_utf8_lossy(bytes).trim().parse().unwrap() };
    number(&output.stdout) - number(&output.stderr)
}
