//! What is told of Executions, how fast, and what a replica keeps that does not lead.

use contract::{
    dispatch::Stream,
    run::{Cause, Exit},
};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
    warm,
};

/// Many that wait in one Integration where one may run.
fn crowd(count: usize) -> Sim {
    let mut sim = warm(1);
    let limit = json!({"warm": {"min": 1}, "concurrency": {"limit": 1}});
    sim.integration(NAMESPACE, "hello", &limit);
    sim.command = Command::Waits;
    for n in 0..count {
        sim.execution(NAMESPACE, &format!("x{n:04}"), &json!({}));
    }
    assert!(sim.settle());
    sim
}

fn said(sim: &Sim) -> usize {
    let said = sim.writes.iter();
    said.filter(|write| write.starts_with("Say ")).count()
}

#[test]
fn what_waits_says_for_what_within_seconds() {
    let mut sim = Sim::new();
    sim.execution(NAMESPACE, "orphan", &json!({"integration": "nowhere"}));
    sim.integration(NAMESPACE, "hello", &json!({}));
    sim.refuse_pods = Some("pods \"x\" is forbidden: exceeded quota: cloister-limits");
    sim.execution(NAMESPACE, "poor", &json!({}));
    assert!(sim.pass(5));
    assert!(
        sim.message("orphan")
            .contains("there is no Integration nowhere here")
    );
    assert!(
        sim.message("poor").contains("exceeded quota"),
        "{}",
        sim.message("poor")
    );
    assert!(sim.pass(300));
    assert_eq!(sim.reason("orphan"), "Rejected");
    assert_eq!(sim.reason("poor"), "QuotaExceeded");
}

#[test]
fn all_of_a_thousand_that_wait_are_told_for_what_and_few_at_a_time() {
    let mut sim = crowd(1000);
    sim.now += SignedDuration::from_secs(2);
    sim.book.tick(String::new(), sim.now);
    sim.writes.clear();
    sim.one_turn();
    assert_eq!(said(&sim), 8, "at once");
    assert!(sim.settle());
    assert_eq!(said(&sim), 1000);
    let names = (0..1000).map(|n| format!("x{n:04}"));
    let told = names.filter(|name| sim.message(name).contains("spec.concurrency.limit"));
    assert_eq!(told.count(), 999, "all but the one that runs");
}

#[test]
fn a_tenant_with_thousands_to_be_told_does_not_keep_another_one_from_it() {
    let mut sim = crowd(1000);
    sim.tenant("globex", "True");
    sim.integration("tenant-globex", "idle", &json!({"suspend": true}));
    let idle = json!({"integration": "idle"});
    sim.execution("tenant-globex", "single", &idle);
    sim.writes.clear();
    assert!(sim.pass(3));
    let told = sim.writes.iter().filter(|write| write.starts_with("Say "));
    let place = told.clone().position(|write| write == "Say single");
    assert!(place.is_some_and(|place| place <= 16), "{place:?}");
}

#[test]
fn what_could_not_be_said_is_said_soon_after() {
    let mut sim = crowd(2);
    sim.refuse = Some("Say");
    assert!(sim.pass(4));
    let waits = ["x0000", "x0001"]
        .into_iter()
        .find(|name| sim.reason(name).is_empty());
    sim.refuse = None;
    assert!(sim.pass(2));
    assert_eq!(sim.reason(waits.unwrap()), "Queued");
}

#[test]
fn a_second_attempt_says_soon_that_it_runs() {
    let mut sim = warm(1);
    let retried = json!({"warm": {"min": 1}, "retries": 1});
    sim.integration(NAMESPACE, "hello", &retried);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(3));
    assert_eq!(sim.reason("one"), "Running");
    let name = at_work(&sim);
    sim.end(&name, Cause::Completed, Exit::Code(1));
    assert!(sim.settle() && sim.pass(5));
    assert_eq!(sim.executions["one"]["status"]["attempt"], json!(2));
    assert_eq!(sim.reason("one"), "Running");
}

#[test]
fn when_it_started_is_the_same_after_a_change_of_leader() {
    for seconds in [0, 3] {
        let mut sim = warm(1);
        sim.command = Command::Waits;
        let began = sim.now;
        sim.execution(NAMESPACE, "one", &json!({}));
        // After 3 s its status says so; before, its sandbox alone can.
        assert!(sim.settle() && sim.pass(seconds));
        sim.now += SignedDuration::from_mins(10);
        sim.restart();
        assert!(sim.settle());
        let name = at_work(&sim);
        sim.end(&name, Cause::Completed, Exit::Code(0));
        assert!(sim.settle());
        assert_eq!(sim.reason("one"), "Completed");
        let times = sim.parsed("one").status.unwrap().times;
        assert_eq!(times.started, Some(began), "after {seconds} s");
    }
}

#[test]
fn a_removal_that_fails_is_tried_again_later_each_time() {
    let mut sim = warm(1);
    sim.refuse = Some("Remove");
    sim.integration(NAMESPACE, "hello", &json!({}));
    assert!(sim.settle());
    sim.writes.clear();
    for n in 0..60 {
        sim.execution(NAMESPACE, &format!("x{n}"), &json!({}));
        assert!(sim.settle() && sim.pass(1));
    }
    let tries = sim.writes.iter().filter(|write| *write == "Remove").count();
    // Of each used one at once, and 1, 3, 7, 15, 31 and 61 s later.
    assert!((60..=60 * 7).contains(&tries), "{tries}");
    sim.refuse = None;
    assert!(sim.pass(31));
    assert!(sim.boxes.is_empty(), "{:?}", sim.names());
}

#[test]
fn of_many_outdated_sandboxes_few_are_removed_at_a_time() {
    let mut sim = warm(40);
    let before = sim.names();
    sim.writes.clear();
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"image": "another", "warm": {"min": 40}}),
    );
    sim.one_turn();
    let removed = sim.writes.iter().filter(|write| *write == "Remove");
    assert_eq!(removed.count(), 16);
    assert!(sim.settle());
    assert!(sim.names().is_disjoint(&before));
}

#[test]
fn who_does_not_lead_keeps_nothing_of_what_is_gone() {
    let mut sim = warm(2);
    for n in 0..100 {
        let stray = json!({"integration": format!("nobodys-{n}")});
        sim.execution(NAMESPACE, &format!("x{n}"), &stray);
        sim.delete(&format!("x{n}"));
    }
    for name in sim.names() {
        sim.lose_pod(&name);
    }
    assert_eq!(sim.book.gone.len(), 2);
    assert!(sim.book.lines.len() > 100);
    sim.book.idle(sim.now + SignedDuration::from_mins(3));
    assert_eq!(sim.book.gone.len(), 0);
    assert_eq!(sim.book.lines.len(), 1);
    assert_eq!(sim.book.dirty.len(), 0);
}

#[test]
fn where_none_may_start_none_are_said_to_stand_ready() {
    let mut sim = warm(2);
    assert!(sim.pass(1));
    assert_eq!(sim.condition("Warm")[..2], ["True", "Filled"]);
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"warm": {"min": 2}, "suspend": true}),
    );
    assert!(sim.settle());
    assert_eq!(sim.boxes.len(), 0);
    assert_eq!(sim.condition("Warm")[..2], ["False", "Suspended"]);
    sim.integration(NAMESPACE, "hello", &json!({"warm": {"min": 2}}));
    assert!(sim.settle());
    assert_eq!(sim.condition("Warm")[..2], ["True", "Filled"]);
    sim.state("acme", "Suspended");
    assert!(sim.pass(1));
    assert_eq!(sim.condition("Warm")[..2], ["False", "Suspended"]);
}

#[test]
fn another_spec_is_filled_once_its_own_sandboxes_stand() {
    let mut sim = warm(2);
    assert!(sim.pass(1));
    sim.refuse_pods = Some("no room");
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"image": "another", "warm": {"min": 2}}),
    );
    assert!(sim.settle());
    assert_eq!(sim.condition("Warm")[0], "False");
    assert!(sim.pass(5));
    assert_eq!(
        sim.condition("Warm")[1],
        "Blocked",
        "within 5 s of the first refusal"
    );
    assert!(sim.condition("Warm")[2].contains("no room"));
    sim.refuse_pods = None;
    assert!(sim.pass(6));
    assert_eq!(sim.condition("Warm")[..2], ["True", "Filled"]);
}

#[test]
fn a_tenant_that_is_looked_at_anew_for_a_moment_is_no_news() {
    let mut sim = warm(1);
    assert!(sim.pass(1));
    sim.writes.clear();
    let said = |sim: &Sim| {
        let said = sim.writes.iter();
        said.filter(|write| write.starts_with("Line")).count()
    };
    sim.tenant("acme", "Unknown");
    assert!(sim.settle());
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "", "nothing starts meanwhile");
    sim.tenant("acme", "True");
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    assert_eq!(said(&sim), 0, "{:?}", sim.writes);
    sim.tenant("acme", "Unknown");
    assert!(sim.pass(3));
    assert_eq!(
        sim.condition("Ready")[..2],
        ["False", "IsolationUnverified"]
    );
}

#[test]
fn an_end_says_why_it_came_to_that() {
    let mut sim = warm(1);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "orphan", &json!({}));
    sim.execution(NAMESPACE, "nowhere", &json!({"integration": "nowhere"}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.delete_integration("hello");
    sim.end(&name, Cause::Canceled, Exit::Signal(15));
    assert!(sim.settle() && sim.pass(301));
    assert_eq!(sim.reason("orphan"), "Evicted");
    assert!(
        sim.message("orphan")
            .starts_with("Integration hello was deleted")
    );
    let verified = &sim.executions["nowhere"]["status"]["conditions"][1];
    assert_eq!(verified["reason"], "NoSandbox", "{verified}");
    let verified = &sim.executions["orphan"]["status"]["conditions"][1];
    assert_eq!(verified["reason"], "Proven", "{verified}");
}

#[test]
fn who_said_nothing_has_no_output_to_look_at() {
    for (speaks, ends) in [
        (true, "; look at status.output"),
        (false, "ended with code 3"),
    ] {
        let mut sim = warm(1);
        sim.command = Command::Waits;
        sim.execution(NAMESPACE, "one", &json!({}));
        assert!(sim.settle());
        let name = at_work(&sim);
        if speaks {
            sim.say(&name, Stream::Stderr, (0, 0), "no\n");
        }
        sim.end(&name, Cause::Completed, Exit::Code(3));
        assert!(sim.settle());
        assert!(sim.message("one").ends_with(ends), "{}", sim.message("one"));
    }
}
