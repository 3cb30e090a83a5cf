//! The cluster of this machine: `up` again does nothing, `down` leaves nothing behind, and
//! an `up` that was killed in the middle harms neither.
//!
//! What is left is looked for in the kernel, not asked of the tool: everything that was not
//! there before counts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What an `up` has just said when it is killed: amid keys and cables, amid the starting of
/// nodes, amid the waiting for them.
const KILLED_AFTER: [&str; 3] = [
    "API server and container runtimes",
    " s  nodes",
    "waiting for",
];
/// For what the kernel takes away on its own time: a namespace goes after its last process.
const PATIENCE: Duration = Duration::from_secs(10);

fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    tool(arguments).output().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cluster {arguments:?}: {text}{errors}"
    );
    text
}

/// Everything of the kernel's that a cluster makes, each as a line.
fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    found.extend(places.map(|place| format!("mount {place}")));
    for entry in fs::read_dir("/sys/class/net").unwrap().flatten() {
        found.insert(format!("link {}", entry.file_name().to_string_lossy()));
    }
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        found.insert(format!("network {}", entry.file_name().to_string_lossy()));
    }
    cgroups(Path::new("/sys/fs/cgroup"), &mut found);
    found.extend(programs());
    found
}

fn cgroups(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let path = entry.path();
        if path.is_dir() && !linked {
            found.insert(format!("cgroup {}", path.display()));
            cgroups(&path, found);
        }
    }
}

/// Processes that run a file of the cache. Whatever else this machine starts is not ours.
fn programs() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let of_the_cache = entries.filter_map(|entry| {
        let program = fs::read_link(entry.path().join("exe")).ok()?;
        let program = program.display().to_string();
        let pid = entry.file_name().into_string().ok()?;
        (program.contains("/cloister/bin/") || program.contains("/cloister/cluster/"))
            .then(|| format!("process {pid} {program}"))
    });
    of_the_cache.collect()
}

/// Those that are there for more than a moment: one that starts another is seen twice until the
/// other's file is loaded.
fn lasting_programs() -> BTreeSet<String> {
    let found = programs();
    thread::sleep(Duration::from_secs(1));
    found.intersection(&programs()).cloned().collect()
}

/// Waits until nothing is there that was not there before.
fn nothing_is_left(before: &BTreeSet<String>, after: &str) {
    let begun = Instant::now();
    loop {
        let left: Vec<_> = traces().difference(before).cloned().collect();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "left {after}: {left:#?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Starts `up` and ends it without mercy soon after it has said this.
fn killed_up(after: &str) {
    let mut up = tool(&["up"]).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(up.stdout.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    let there = lines.any(|line| line.contains(after));
    assert!(there, "never said: {after}");
    thread::sleep(Duration::from_millis(300));
    up.kill().unwrap();
    up.wait().unwrap();
}

#[test]
fn comes_twice_as_once_and_goes_without_a_trace() {
    if std::env::var_os("KUBECONFIG").is_some() || run(&["status"]).status.success() {
        println!("SKIPPED: a cluster is in use, and this test ends the one of this machine");
        return;
    }
    succeed(&["down"]);
    let before = traces();
    for after in KILLED_AFTER {
        killed_up(after);
        assert_ne!(traces(), before, "killed before it had begun");
        succeed(&["down"]);
        nothing_is_left(
            &before,
            &format!("by `down` after an `up` that came to: {after}"),
        );
    }

    killed_up(KILLED_AFTER[1]);
    succeed(&["up"]);
    let running = lasting_programs();
    assert!(running.len() > 10, "{running:#?}");
    let said = succeed(&["up"]);
    assert_eq!(said.trim(), "the cluster is up");
    let missing: Vec<_> = running.difference(&programs()).cloned().collect();
    assert_eq!(missing, [] as [String; 0], "ended by the second `up`");

    succeed(&["down"]);
    nothing_is_left(&before, "by `down`");
    succeed(&["down"]);
}
