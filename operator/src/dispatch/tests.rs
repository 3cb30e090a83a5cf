//! The dispatcher's promises, on a fake of everything around it ([`sim`]).

mod crashes;
mod decoys;
mod demand;
mod digest;
mod drills;
mod egress;
mod handover;
mod history;
mod misfit;
mod output;
mod schedules;
mod sim;
mod size;
mod terms;
mod trouble;
mod words;

use contract::{
    Inside, Limit, SeenRuntime, Strays,
    run::{Cause, Exit},
};
use serde_json::json;

use self::sim::{Command, NAMESPACE, Sim};

fn warm(min: i32) -> Sim {
    let mut sim = Sim::new();
    sim.integration(NAMESPACE, "hello", &json!({"warm": {"min": min}}));
    assert!(sim.settle());
    assert_eq!(sim.boxes.len(), usize::try_from(min).unwrap());
    sim
}

/// The only sandbox that has been given something.
fn at_work(sim: &Sim) -> String {
    let mut given = sim.boxes.iter().filter(|(_, one)| one.given.is_some());
    let (name, _) = given.next().unwrap();
    assert!(given.next().is_none(), "more than one");
    name.clone()
}

#[test]
fn a_warm_sandbox_runs_one_execution_and_goes() {
    let mut sim = warm(1);
    let before = sim.names();
    sim.writes.clear();
    sim.execution(NAMESPACE, "one", &json!({"input": "{}"}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    assert_eq!(sim.writes, ["Bind one", "Finish one"]);
    // Once who starts has had the machine to itself.
    assert!(sim.pass(1));
    assert_eq!(sim.writes[2..], ["Remove", "Make"]);
    assert!(
        sim.names().is_disjoint(&before),
        "its sandbox is there still"
    );
    assert_eq!(sim.boxes.len(), 1, "and another one stands ready");
}

#[test]
fn without_a_warm_one_a_sandbox_is_made_and_none_is_kept() {
    let mut sim = warm(0);
    sim.writes.clear();
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(1));
    assert_eq!(sim.reason("one"), "Completed");
    assert_eq!(sim.writes, ["Make", "Bind one", "Finish one", "Remove"]);
    assert!(sim.boxes.is_empty());
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let mut sim = warm(2);
    assert!(sim.pass(15));
    sim.writes.clear();
    assert!(sim.pass(300));
    assert_eq!(sim.writes, [""; 0]);
}

#[test]
fn no_more_run_at_once_than_the_limit_says_also_over_a_restart() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"concurrency": {"limit": 3}}));
    sim.command = Command::Waits;
    for n in 0..20 {
        sim.execution(NAMESPACE, &format!("x{n:02}"), &json!({}));
    }
    assert!(sim.settle());
    assert_eq!(sim.boxes.len(), 3);
    for _ in 0..20 {
        sim.restart();
        assert!(sim.settle());
        let Some(name) = sim.boxes.iter().find(|(_, one)| one.given.is_some()) else {
            break;
        };
        let name = name.0.clone();
        sim.end(&name, Cause::Completed, Exit::Code(0));
        assert!(sim.settle());
    }
    assert_eq!(sim.most_live, 3);
    for n in 0..20 {
        assert_eq!(sim.reason(&format!("x{n:02}")), "Completed");
    }
    assert!(
        sim.started.values().all(|count| *count == 1),
        "{:?}",
        sim.started
    );
}

#[test]
fn a_tenant_with_thousands_waiting_does_not_keep_another_one_waiting() {
    let mut sim = warm(0);
    sim.tenant("globex", "True");
    sim.integration("tenant-globex", "hello", &json!({}));
    sim.integration(NAMESPACE, "hello", &json!({"concurrency": {"limit": 1000}}));
    for n in 0..2000 {
        sim.execution(NAMESPACE, &format!("x{n:04}"), &json!({}));
    }
    sim.execution("tenant-globex", "single", &json!({}));
    assert!(sim.settle());
    let place = sim.bound.iter().position(|name| name == "single").unwrap();
    // Two rounds, of as many pods as may be posted at once.
    assert!(place < 16, "it came as number {place}");
}

#[test]
fn a_sandbox_that_is_not_what_it_must_be_runs_nothing() {
    type Fault = fn(&mut Inside);
    let faults: [(&str, Fault); 6] = [
        ("Runtime: expected Host, saw GVisor", |seen| {
            seen.runtime = SeenRuntime::GVisor;
        }),
        ("ReadOnlyRoot: expected true, saw false", |seen| {
            seen.root_read_only = false;
        }),
        ("TokenMounted: expected none, saw /a", |seen| {
            seen.tokens = Strays::of(["/a".to_owned()]);
        }),
        ("Mounts: expected none, saw /a", |seen| {
            seen.foreign_mounts = Strays::of(["/a".to_owned()]);
        }),
        // What an Integration may have that says nothing of it.
        ("MemoryLimit: expected at most 268435456, saw", |seen| {
            seen.memory_limit = Limit::At((256 << 20) + 1);
        }),
        ("ProcessLimit: expected at most 512, saw 513", |seen| {
            seen.process_limit = Limit::At(513);
        }),
    ];
    for (words, fault) in faults {
        let mut sim = warm(0);
        sim.fault = Some(fault);
        sim.execution(NAMESPACE, "one", &json!({}));
        assert!(sim.settle());
        assert_eq!(sim.reason("one"), "SandboxUnproven");
        let said = sim.message("one");
        assert!(said.contains(words), "{words}: {said}");
        assert!(sim.started.is_empty() && sim.boxes.is_empty());
    }
}

#[test]
fn nothing_starts_in_a_tenant_that_is_not_proven() {
    let mut sim = warm(0);
    sim.tenant("acme", "Unknown");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(5));
    assert_eq!(sim.reason("one"), "Queued");
    assert!(
        sim.message("one")
            .contains("isolation is not proven: as seen")
    );
    assert!(sim.pass(300));
    assert_eq!(sim.reason("one"), "IsolationUnverified");
    assert!(sim.started.is_empty());
}

#[test]
fn a_proof_that_is_old_counts_for_nothing() {
    let mut sim = warm(1);
    let name = sim.names().into_iter().next().unwrap();
    sim.boxes.get_mut(&name).unwrap().orders = None;
    sim.now += jiff::SignedDuration::from_secs(91);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.boxes[&name].given, None);
    assert_ne!(sim.bound.first(), Some(&name));
}

#[test]
fn an_input_that_is_not_json_is_rejected() {
    let mut sim = warm(1);
    sim.execution(NAMESPACE, "one", &json!({"input": "{"}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Rejected");
    assert!(sim.message("one").starts_with("spec.input: is not JSON"));
    assert!(sim.started.is_empty());
}

#[test]
fn of_all_with_one_idempotency_key_one_runs() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    let keyed = json!({"idempotencyKey": "order-7"});
    sim.execution(NAMESPACE, "first", &keyed);
    assert!(sim.settle());
    sim.execution(NAMESPACE, "second", &keyed);
    assert!(sim.settle());
    assert_eq!(sim.reason("second"), "Duplicate");
    assert!(sim.message("second").contains("first"));
    let name = at_work(&sim);
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.settle());
    sim.restart();
    sim.execution(NAMESPACE, "third", &keyed);
    assert!(sim.settle());
    assert_eq!(sim.reason("third"), "Duplicate");
    assert_eq!(sim.started.len(), 1);
}

#[test]
fn what_is_canceled_ends_whether_it_waits_or_runs() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"concurrency": {"limit": 1}}));
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "runs", &json!({}));
    sim.execution(NAMESPACE, "waits", &json!({}));
    assert!(sim.settle());
    sim.cancel("waits");
    assert!(sim.settle());
    assert_eq!(
        (&*sim.reason("waits"), &*sim.reason("runs")),
        ("Canceled", "Starting")
    );
    sim.cancel("runs");
    assert!(sim.settle());
    assert_eq!(sim.reason("runs"), "Canceled");
    assert!(sim.pass(1));
    assert!(sim.boxes.is_empty());
}

#[test]
fn a_request_to_end_that_was_not_ours_is_not_called_canceled() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.end(&name, Cause::Canceled, Exit::Signal(15));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Evicted");
}

#[test]
fn a_lost_sandbox_ends_its_execution_with_what_is_known() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "deleted", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.lose_pod(&name);
    assert!(sim.settle());
    assert_eq!(sim.reason("deleted"), "NodeLost");

    sim.execution(NAMESPACE, "silent", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.silence(&name);
    assert!(sim.pass(29));
    assert_eq!(sim.reason("silent"), "Running");
    assert!(sim.pass(3));
    assert_eq!(sim.reason("silent"), "NodeLost");
    assert!(sim.message("silent").contains("node-a"));
}

#[test]
fn a_sandbox_that_comes_back_in_time_has_lost_nothing() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.silence(&name);
    assert!(sim.pass(10));
    sim.end(&name, Cause::Completed, Exit::Code(0));
    sim.dial(&name);
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn an_attempt_that_failed_is_made_again_as_often_as_asked() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"retries": 2}));
    sim.command = Command::Exits(3);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Retrying");
    assert!(sim.pass(20));
    assert_eq!(sim.reason("one"), "Failed");
    assert_eq!(sim.executions["one"]["status"]["attempt"], json!(3));
    assert_eq!(sim.started.values().copied().sum::<u32>(), 3);
}

#[test]
fn policies_skip_and_replace_do_what_they_say() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"concurrency": {"limit": 1, "policy": "Skip"}}),
    );
    sim.execution(NAMESPACE, "a", &json!({}));
    assert!(sim.settle());
    sim.execution(NAMESPACE, "b", &json!({}));
    assert!(sim.settle());
    assert_eq!(
        (&*sim.reason("a"), &*sim.reason("b")),
        ("Starting", "Rejected")
    );
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"concurrency": {"limit": 1, "policy": "Replace"}}),
    );
    sim.execution(NAMESPACE, "c", &json!({}));
    assert!(sim.pass(2));
    assert_eq!(
        (&*sim.reason("a"), &*sim.reason("c")),
        ("Canceled", "Running")
    );
    assert!(sim.message("a").contains("it made room for another one"));
}

#[test]
fn another_image_gets_other_sandboxes_and_another_command_does_not() {
    let mut sim = warm(2);
    let before = sim.names();
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"warm": {"min": 2}, "command": ["/other"]}),
    );
    assert!(sim.settle());
    assert_eq!(sim.names(), before);
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"warm": {"min": 2}, "image": "other"}),
    );
    assert!(sim.settle());
    assert!(sim.names().is_disjoint(&before));
    assert_eq!(sim.boxes.len(), 2);
}

#[test]
fn a_sandbox_of_a_deleted_execution_is_not_given_to_another() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.delete("one");
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.settle());
    assert!(!sim.boxes.contains_key(&name));
    assert_ne!(at_work(&sim), name);
}
