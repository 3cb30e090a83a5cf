//! What the command can't do, what it still can, and that without the jail it could.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use contract::run::Exit;
use sandbox_runtime::policy;
use serde_json::{Value, json};

use crate::harness::Run;

/// Calls that this machine's kernel answers, to root and without any filter, just as the
/// jail does: it lacks them. Nothing is proven of them here but by the program's own tests.
const MAY_BE_LACKING: [&str; 8] = [
    "init_module",
    "finit_module",
    "delete_module",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "socket vsock",
    "socket alg",
];

fn json_of(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// `probe-inside` as root, in a PID namespace of its own and no jail.
fn unjailed_as_root(run: &Run, arguments: &[&str]) -> Value {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]);
    json_of(command.arg(run.path("bin/probe-inside")).args(arguments))
}

/// `probe-inside` as the run's own user in its own container, and no jail.
fn unjailed(run: &Run, arguments: &[&str]) -> Value {
    let mut command = run.contained();
    json_of(command.arg(run.path("bin/probe-inside")).args(arguments))
}

#[test]
fn every_denied_call_fails_inside_and_gets_through_outside() {
    let run = Run::inside(&["calls"]);
    let inside = run.go().json();
    let outside = unjailed_as_root(&run, &["calls"]);
    let policy = policy::policy().unwrap();
    let mut proven = 0;
    for (name, error) in inside.as_object().unwrap() {
        let call = name.split(' ').next().unwrap();
        let rule = policy
            .rules
            .iter()
            .find(|r| r.calls.iter().any(|c| c == call));
        let expected = json!(rule.unwrap().answer.errno());
        assert_eq!(*error, expected, "{name} inside");
        if outside[name] == expected {
            let may = MAY_BE_LACKING.contains(&name.as_str());
            assert!(may, "{name}: no difference to {expected} outside");
            println!("not shown here: this kernel has no {name}");
        } else {
            proven += 1;
        }
    }
    println!("{proven} of {} shown", inside.as_object().unwrap().len());
    assert!(proven >= 60);
}

#[test]
fn every_rule_is_tried() {
    let tried = |name: &String| {
        let mut attempts = sandbox_runtime::sys::attempts::ATTEMPTS.iter();
        attempts.any(|attempt| attempt.call == name)
    };
    for rule in policy::policy().unwrap().rules {
        for call in rule.calls {
            assert!(tried(&call), "nobody tries {call}");
        }
    }
}

#[test]
fn what_any_program_needs_still_works() {
    let mut run = Run::inside(&[]);
    for place in ["work", "tmp"] {
        run.contract["arguments"] = json!(["allowed", run.path(place)]);
        let verdicts = run.go().json();
        for (name, verdict) in verdicts.as_object().unwrap() {
            assert!(*verdict == "ok" || name == "limit", "{name}: {verdict}");
        }
    }
}

#[test]
fn streams_can_be_opened_by_their_names() {
    let mut run = Run::shell("cat /dev/stdin > /dev/stdout; echo aside > /dev/stderr");
    run.contract["input"] = json!({ "text": "given\n", "file": run.path("tmp/input") });
    let done = run.go();
    assert_eq!(
        (done.stdout().as_str(), done.stderr().as_str()),
        ("given\n", "aside\n")
    );
}

#[test]
fn only_what_is_writable_can_be_written() {
    let run = Run::inside(&[]);
    let forbidden: Vec<String> = ["out/x", "bin/x", "x", "contract.json"]
        .map(|below| run.path(below))
        .into_iter()
        .chain(["/var/tmp/x", "/dev/shm/x", "/proc/self/oom_score_adj"].map(String::from))
        .collect();
    let mut arguments = vec!["write".to_owned(), run.path("work/x"), run.path("tmp/x")];
    arguments.extend(forbidden.clone());
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let mut jailed = run;
    jailed.contract["arguments"] = json!(arguments);
    let inside = jailed.go().json();
    let outside = unjailed(&jailed, &words);
    for path in &arguments[1..3] {
        assert_eq!(inside[path], "ok", "{path}");
    }
    for path in &forbidden {
        assert!(
            inside[path].as_str().unwrap().contains("os error 13"),
            "{path}: {}",
            inside[path]
        );
    }
    // The control: this user could, in its own directory and in everybody's.
    for path in [
        &forbidden[0],
        "/var/tmp/x",
        "/dev/shm/x",
        "/proc/self/oom_score_adj",
    ] {
        assert_eq!(outside[path], "ok", "{path}");
    }
    let _ = std::fs::remove_file("/var/tmp/x");
    let _ = std::fs::remove_file("/dev/shm/x");
}

#[test]
fn what_is_hidden_cannot_be_read_however_it_is_named() {
    let mut run = Run::inside(&[]);
    for (below, text) in [
        ("bin/secret/token", "a"),
        ("bin/open", "b"),
        ("bin/secrets", "c"),
    ] {
        let path = run.directory.join(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::os::unix::fs::symlink("secret", run.path("bin/link")).unwrap();
    let secret = run.path("bin/secret/token");
    let hidden = [
        secret.clone(),
        run.path("bin/link/token"),
        run.path("bin/../bin/secret/token"),
        format!("/proc/self/root{secret}"),
    ];
    let open = [
        run.path("bin/open"),
        run.path("bin/secrets"),
        "/etc/passwd".to_owned(),
    ];
    let arguments: Vec<&str> = std::iter::once("read")
        .chain(hidden.iter().chain(&open).map(String::as_str))
        .collect();
    run.contract["arguments"] = json!(arguments);
    run.contract["hidden"] = json!([run.path("bin/secret")]);
    let inside = run.go().json();
    let outside = unjailed(&run, &arguments);
    for path in &hidden {
        let verdict = inside[path].as_str().unwrap();
        assert!(verdict.contains("os error 13"), "{path}: {verdict}");
        assert_eq!(outside[path], "ok", "control: {path}");
    }
    for path in &open {
        assert_eq!(inside[path], "ok", "{path}");
    }
    // And the usual things still work, with a rule for each entry on the way.
    let _ = std::fs::remove_file(run.path("out/report.json"));
    run.contract["arguments"] = json!(["allowed", run.path("tmp")]);
    for (name, verdict) in run.go().json().as_object().unwrap() {
        assert!(*verdict == "ok" || name == "limit", "{name}: {verdict}");
    }
}

#[test]
fn the_supervisor_is_out_of_reach() {
    let paths = [
        "/proc/1/environ",
        "/proc/1/mem",
        "/proc/1/maps",
        "/proc/1/fd/0",
        "/proc/1/root/etc/passwd",
        "/proc/1/cwd/etc/passwd",
        "/proc/1/stack",
        "/proc/1/auxv",
    ];
    let mut arguments = vec!["read", "/etc/passwd", "/proc/self/environ"];
    arguments.extend(paths);
    let inside = Run::inside(&arguments).go().json();
    for path in paths {
        let verdict = inside[path].as_str().unwrap();
        let denied = verdict.contains("os error 13") || verdict.contains("os error 1)");
        assert!(denied, "{path}: {verdict}");
    }
    for path in &arguments[1..3] {
        assert_eq!(inside[path], "ok", "control: {path}");
    }
    let signal = Run::inside(&["signal", "1"]);
    assert!(signal.go().json().as_str().unwrap().contains("os error 1)"));
    // The control: outside, it is the same user's process 1.
    assert_eq!(unjailed(&signal, &["signal", "1"]), "ok");
    assert_eq!(
        unjailed(&signal, &["read", "/proc/1/environ"])["/proc/1/environ"],
        "ok"
    );
}

#[test]
fn an_abstract_socket_of_the_pod_is_out_of_reach() {
    let name = format!("cloister-jail-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let run = Run::inside(&["abstract", &name]);
    let verdict = run.go().json();
    assert!(
        verdict.as_str().unwrap().contains("os error 1)"),
        "{verdict}"
    );
    assert_eq!(unjailed(&run, &["abstract", &name]), "ok", "control");
}

#[test]
fn nothing_is_inherited() {
    let mut run = Run::inside(&["facts"]);
    run.contract["environment"] = json!({ "ONLY": "this" });
    // Descriptors that somebody left open, and signals that somebody ignores.
    let bash = format!(
        "exec 7</etc/passwd 8>/dev/null 99</; trap '' HUP QUIT USR1; exec {}",
        shell_words(&run.jailed())
    );
    let output = Command::new("bash")
        .args(["-c", &bash])
        .env("SECRET_OF_THE_SUPERVISOR", "leaked")
        .output()
        .unwrap();
    let facts: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let environment = facts["environment"].as_object().unwrap();
    let names: Vec<&String> = environment.keys().collect();
    assert_eq!(names, ["ONLY", "PATH"]);
    assert_eq!(facts["descriptors"], json!([0, 1, 2]));
    assert_eq!(facts["directory"], json!(run.path("work")));
    assert_eq!(facts["arguments"][0], json!(run.path("bin/probe-inside")));
    assert_eq!(facts["session"], true);
    assert_eq!(facts["group"], true);
    assert_eq!(facts["umask"], "0077");
    assert_eq!(facts["noNewPrivileges"], "1");
    assert_eq!(facts["seccomp"], "2");
    for set in facts["capabilities"].as_array().unwrap() {
        assert_eq!(*set, "0000000000000000");
    }
    // SIGPIPE (bit 12) is ignored by Rust's own runtime in the probe.
    assert_eq!(facts["ignored"], "0000000000001000");
    assert_eq!(facts["blocked"], "0000000000000000");
    assert_eq!(facts["core"], json!([0, 0]));
    assert_eq!(facts["files"], json!([256, 256]));
    assert_eq!(facts["fileBytes"], json!([64 << 20, 64 << 20]));
}

/// A command as one line of shell; its words hold no quotes.
fn shell_words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| format!("'{}'", word.display()));
    quoted.collect::<Vec<_>>().join(" ")
}

#[test]
fn root_keeps_no_right_either() {
    let run = Run::inside(&["facts"]);
    let jailed = run.jailed();
    // The same without becoming the user: root, with every capability.
    let words: Vec<_> = jailed.get_args().collect();
    let at = words.iter().position(|word| *word == "setpriv").unwrap();
    let sandbox = words
        .iter()
        .position(|word| *word == run.path("bin/cloister-sandbox").as_str());
    let mut command = Command::new("unshare");
    command.args(&words[..at]).args(&words[sandbox.unwrap()..]);
    let facts = json_of(&mut command);
    for set in facts["capabilities"].as_array().unwrap() {
        assert_eq!(*set, "0000000000000000");
    }
}

#[test]
fn a_program_for_another_architecture_dies() {
    // `int 0x80` with number 20, getpid of i386: two bytes of code in a minimal program.
    let run = Run::command("", &[]);
    let program = run.path("work/i386");
    std::fs::write(&program, tiny_program()).unwrap();
    std::process::Command::new("chmod")
        .args(["755", &program])
        .status()
        .unwrap();
    let mut run = run;
    run.contract["command"] = json!(program);
    assert_eq!(run.go().ending().exit, Exit::Signal(31), "SIGSYS");
    let outside = run.contained().arg(&program).output().unwrap();
    assert_eq!(
        outside.status.code(),
        Some(3),
        "control: outside it ends well"
    );
}

/// A static x86-64 program: `mov eax, 20; int 0x80; mov edi, 3; mov eax, 60; syscall`.
fn tiny_program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const CODE: [u8; 19] = [
        0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xbf, 3, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05,
    ];
    let mut file = Vec::new();
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    file.extend([0; 8]);
    for half in [2_u16, 62] {
        file.extend(half.to_le_bytes()); // executable, x86-64
    }
    file.extend(1_u32.to_le_bytes());
    for word in [BASE + 120, 64, 0] {
        file.extend(word.to_le_bytes()); // entry, program headers, no sections
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes()); // loaded
    file.extend(5_u32.to_le_bytes()); // read and execute
    let size = 120 + CODE.len() as u64;
    for word in [0, BASE, BASE, size, size, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.extend(CODE);
    file
}
