//! What is told of Executions, how fast, and what a replica keeps that does not lead.

use contract::run::{Cause, Exit};
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
