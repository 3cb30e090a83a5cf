//! The decoy dies, changes or comes back while sandboxes wait: its silence counts while it lives.

use serde_json::json;

use super::{
    sim::{NAMESPACE, Sim},
    warm,
};

/// From now on these are the decoy's pods.
fn decoys(sim: &mut Sim, ready: &[&str]) {
    let ready = ready.iter().map(|text| text.parse().unwrap());
    sim.cluster.decoys = ready.collect();
    sim.cluster.decoys_version += 1;
}

#[test]
fn what_was_proven_before_the_decoy_died_stands_until_its_own_end() {
    let mut sim = warm(1);
    decoys(&mut sim, &[]);
    assert!(sim.pass(60));
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn nothing_starts_by_the_silence_of_a_dead_decoy_and_it_is_said_why() {
    let mut sim = warm(1);
    decoys(&mut sim, &[]);
    assert!(sim.pass(130));
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(3));
    assert_eq!(sim.reason("one"), "Queued");
    let said = sim.message("one");
    assert!(said.contains("OtherTenant 192.0.2.3:"), "{said}");
    assert!(said.contains("is not among its ready pods"), "{said}");
    assert!(sim.started.is_empty());
    // The same pod is ready again: the next look proves.
    decoys(&mut sim, &["192.0.2.3"]);
    assert!(sim.pass(31));
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn who_waits_too_long_for_a_proof_ends_as_unproven() {
    let mut sim = warm(1);
    let spec = json!({"warm": {"min": 1}, "startDeadline": "30s"});
    sim.integration(NAMESPACE, "hello", &spec);
    decoys(&mut sim, &[]);
    assert!(sim.pass(130));
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(40));
    assert_eq!(sim.reason("one"), "SandboxUnproven");
    let said = sim.message("one");
    assert!(said.contains("its silence does not count"), "{said}");
    assert!(sim.started.is_empty());
}

#[test]
fn who_dials_a_decoy_that_is_gone_is_replaced_by_one_that_dials_another() {
    let mut sim = warm(1);
    let before = sim.names();
    decoys(&mut sim, &["192.0.2.4"]);
    assert!(sim.pass(150));
    assert!(sim.names().is_disjoint(&before), "it is there still");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn a_change_that_leaves_the_decoy_where_it_was_costs_no_sandbox() {
    let mut sim = warm(2);
    let before = sim.names();
    for _ in 0..10 {
        decoys(&mut sim, &["192.0.2.3"]);
        assert!(sim.pass(20));
    }
    assert_eq!(sim.names(), before);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

/// It has not seen what the decoy was when they looked: they look again, and nobody waits for their
/// clocks.
#[test]
fn a_leader_that_has_just_begun_asks_those_who_wait_to_look_again() {
    let mut sim = warm(1);
    let before = sim.names();
    assert!(sim.pass(5));
    sim.restart();
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    let pod = sim.executions["one"]["status"]["sandbox"]["pod"].clone();
    let stood = before.contains(pod.as_str().unwrap());
    assert!(stood, "another one was made for it: {pod}");
}

#[test]
fn who_was_asked_to_look_again_and_proves_nothing_is_not_asked_on_and_on() {
    let mut sim = warm(1);
    decoys(&mut sim, &[]);
    assert!(sim.pass(130));
    sim.restart();
    assert!(sim.settle(), "it comes to rest");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(3));
    assert_eq!(sim.reason("one"), "Queued");
}
