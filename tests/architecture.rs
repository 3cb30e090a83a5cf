//! The house keeps its shape: what is pure names no client, no task and no clock; one
//! module writes; no file outgrows a reader.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Lines of a file, its tests not counted.
const MOST_LINES: usize = 400;

/// Steps without a client, without waiting, without a clock: everything comes in as an
/// argument. A folder stands for every file in it.
const PURE: [&str; 82] = [
    "crds/src/digest.rs",
    "operator/src/conditions.rs",
    "operator/src/dispatch/book.rs",
    "operator/src/dispatch/closing.rs",
    "operator/src/dispatch/contract.rs",
    "operator/src/dispatch/demand.rs",
    "operator/src/dispatch/keep.rs",
    "operator/src/dispatch/line.rs",
    "operator/src/dispatch/making.rs",
    "operator/src/dispatch/orders.rs",
    "operator/src/dispatch/outcome.rs",
    "operator/src/dispatch/output.rs",
    "operator/src/dispatch/placement.rs",
    "operator/src/dispatch/pod.rs",
    "operator/src/dispatch/queue.rs",
    "operator/src/dispatch/reach.rs",
    "operator/src/dispatch/receipt.rs",
    "operator/src/dispatch/register.rs",
    "operator/src/dispatch/run.rs",
    "operator/src/dispatch/sandbox/facts.rs",
    "operator/src/dispatch/say.rs",
    "operator/src/dispatch/schedule.rs",
    "operator/src/dispatch/setback.rs",
    "operator/src/dispatch/settle.rs",
    "operator/src/dispatch/silence.rs",
    "operator/src/dispatch/status.rs",
    "operator/src/dispatch/sweep.rs",
    "operator/src/dispatch/talk.rs",
    "operator/src/dispatch/tenant.rs",
    "operator/src/dispatch/trigger.rs",
    "operator/src/dispatch/turn.rs",
    "operator/src/dispatch/under_way.rs",
    "operator/src/drill/course.rs",
    "operator/src/drill/desired.rs",
    "operator/src/drill/measure.rs",
    "operator/src/drill/observe.rs",
    "operator/src/drill/result.rs",
    "operator/src/drill/status.rs",
    "operator/src/drill/validate.rs",
    "operator/src/egress.rs",
    "operator/src/meta.rs",
    "operator/src/names.rs",
    "operator/src/probe",
    "operator/src/render",
    "operator/src/rules.rs",
    "operator/src/rules/drills.rs",
    "operator/src/rules/members.rs",
    "operator/src/session/door.rs",
    "operator/src/supervised.rs",
    "operator/src/tenant/desired",
    "operator/src/tenant/drill.rs",
    "operator/src/tenant/isolation.rs",
    "operator/src/tenant/observe.rs",
    "operator/src/tenant/status.rs",
    "operator/src/tenant/validate.rs",
    "operator/src/worker/desired",
    "operator/src/worker/desired.rs",
    "operator/src/worker/observe.rs",
    "operator/src/worker/ready.rs",
    "operator/src/worker/status.rs",
    "operator/src/worker/validate.rs",
    "operator/src/worker/volumes.rs",
    "operator/src/worker/zones.rs",
    "operator/src/world/addresses.rs",
    "sandbox-runtime/contract/src/judge",
    "sandbox-runtime/contract/src/judge.rs",
    "sandbox-runtime/contract/src/work.rs",
    "sandbox-runtime/src/output/redact.rs",
    "sandbox-runtime/src/output/spool.rs",
    "sandbox-runtime/src/plan",
    "sandbox-runtime/src/plan.rs",
    "sandbox-runtime/src/policy",
    "sandbox-runtime/src/probe/devices.rs",
    "sandbox-runtime/src/probe/inside.rs",
    "sandbox-runtime/src/probe/limits.rs",
    "sandbox-runtime/src/probe/mounts.rs",
    "sandbox-runtime/src/serve/story.rs",
    "sandbox-runtime/src/step.rs",
    "sandbox-runtime/src/work/config.rs",
    "sandbox-runtime/src/work/course.rs",
    "sandbox-runtime/src/work/end.rs",
    "sandbox-runtime/src/work/title.rs",
];

/// What none of them may say.
const IMPURE: [&str; 6] = ["Client", "async ", ".await", "now()", "std::env", "tokio::"];

/// Who may call what `.clippy.toml` disallows, and how often. The rest are tests.
const EXEMPT: [(&str, usize); 3] = [
    ("operator/src/apply.rs", 1),
    ("operator/src/lease.rs", 1),
    ("operator/src/runtime.rs", 1),
];

fn root() -> &'static Path {
    Path::new("..")
}

/// Every Rust file below, by its path from the root.
fn sources(below: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root().join(below)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap().flatten();
            waiting.extend(entries.map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name: PathBuf = path.strip_prefix(root()).unwrap().into();
            found.insert(
                name.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            );
        }
    }
    found
}

/// All that comes before the tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default()
}

/// Nobody writes it, and nobody reads it.
fn is_generated(text: &str) -> bool {
    text.starts_with("// This file is @generated")
}

/// Code, without comments.
fn code(text: &str) -> String {
    let lines = without_tests(text).lines();
    let said = lines.map(|line| line.split("//").next().unwrap_or_default());
    said.collect::<Vec<_>>().join("\n")
}

#[test]
fn pure_files_name_no_client_no_task_and_no_clock() {
    for place in PURE {
        let files = sources(place);
        assert!(!files.is_empty(), "{place} is gone; say where it went");
        for (path, text) in files {
            for word in IMPURE {
                assert!(!code(&text).contains(word), "{path} says `{word}`");
            }
        }
    }
}

#[test]
fn what_is_unsafe_stands_in_one_file() {
    for crate_ in ["crds", "operator", "sandbox-runtime"] {
        for (path, text) in sources(crate_) {
            let here = path == "sandbox-runtime/src/sys/linux.rs";
            let said = code(&text).contains("unsafe {");
            assert_eq!(said, here, "{path}");
        }
    }
}

#[test]
fn steps_to_the_left_know_nothing_of_those_to_the_right() {
    let tenant = "operator/src/tenant";
    let later = [
        (
            "validate.rs",
            vec!["desired::", "apply::", "observe::", "status::"],
        ),
        (
            "desired",
            vec!["apply::", "observe::", "status::", "Inputs"],
        ),
        ("observe.rs", vec!["status::", "gather::"]),
    ];
    for (place, words) in later {
        for (path, text) in sources(&format!("{tenant}/{place}")) {
            for word in &words {
                assert!(!code(&text).contains(word), "{path} knows `{word}`");
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    for crate_ in ["crds/src", "operator/src", "sandbox-runtime", "tests/src"] {
        for (path, text) in sources(crate_) {
            let lines = without_tests(&text).lines().count();
            let is_test = path.ends_with("/cases.rs") || path.contains("/tests/");
            let is_read = !is_test && !is_generated(&text);
            assert!(lines <= MOST_LINES || !is_read, "{path} has {lines} lines");
        }
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    for crate_ in ["crds", "operator", "sandbox-runtime", "tests"] {
        for (path, text) in sources(crate_) {
            assert!(
                is_generated(&text) || text.starts_with("//!"),
                "{path} does not"
            );
        }
    }
}

#[test]
fn few_places_write_wait_or_look_at_the_clock() {
    for crate_ in ["crds/src", "operator/src", "sandbox-runtime"] {
        for (path, text) in sources(crate_) {
            let test = path.ends_with("/cases.rs")
                || path.ends_with("/recording.rs")
                || path.contains("/tests/");
            let exempt = EXEMPT.iter().find(|(name, _)| *name == path);
            let allowed = exempt.map_or(0, |(_, count)| *count);
            let found = code(&text).matches("clippy::disallowed_methods").count();
            assert!(
                test || found <= allowed,
                "{path}: {found} exemptions, {allowed} allowed"
            );
        }
    }
}
