//! What an Integration may reach is allowed, open and proven before anything of it starts.

use contract::{
    Check,
    run::{Cause, Exit},
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
    warm,
};
use crate::{
    dispatch::{line::Key, sandbox::Facts},
    names::DENY_ALL,
};

fn block(cidr: &str, port: u16) -> Value {
    json!([{"cidr": cidr, "ports": [{"port": port, "protocol": "TCP"}]}])
}

/// A tenant that allows 203.0.113.0/24 TCP 443, and an Integration that asks for part of it.
fn asking(warm: i32) -> Sim {
    let mut sim = Sim::new();
    allow(&mut sim, &block("203.0.113.0/24", 443));
    ask(&mut sim, &block("203.0.113.8/29", 443), warm);
    sim
}

fn allow(sim: &mut Sim, ceiling: &Value) {
    sim.ceiling = ceiling.clone();
    sim.tenant("acme", "True");
}

fn ask(sim: &mut Sim, egress: &Value, warm: i32) {
    let spec = json!({"egress": egress, "warm": {"min": warm}});
    sim.integration(NAMESPACE, "hello", &spec);
}

/// What a sandbox is asked to dial outside.
fn outside(sim: &Sim) -> Vec<String> {
    let pods = sim.pods.values();
    let targets = pods.flat_map(|pod| {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        Facts::of(&pod)
            .unwrap()
            .asked
            .unwrap()
            .request
            .targets
            .clone()
    });
    let outside = targets.filter(|target| target.check == Check::Outside);
    outside.map(|target| target.address).collect()
}

#[test]
fn nothing_of_what_is_beyond_the_ceiling_starts_and_status_names_it() {
    let mut sim = asking(1);
    for beyond in [
        block("203.0.113.0/24", 80),
        block("203.0.112.0/23", 443),
        block("2600:1f00::/24", 443),
    ] {
        ask(&mut sim, &beyond, 1);
        // Even if its policy should stand.
        sim.open(NAMESPACE, "hello");
        sim.execution(NAMESPACE, "one", &json!({}));
        assert!(sim.settle() && sim.pass(3));
        assert!(sim.boxes.is_empty(), "{beyond}");
        let [status, reason, message] = sim.condition("Ready");
        assert_eq!([&*status, &*reason], ["False", "EgressBeyondCeiling"]);
        let cidr = beyond[0]["cidr"].as_str().unwrap();
        assert!(message.contains(cidr), "{message}");
        assert!(
            message.contains("egressCeiling of Tenant acme; leave it out"),
            "{message}"
        );
        assert_eq!(sim.reason("one"), "Queued");
        assert!(sim.message("one").contains(cidr), "{}", sim.message("one"));
        sim.delete("one");
    }
    assert!(sim.started.is_empty());
}

#[test]
fn who_waits_ends_with_what_is_beyond_or_runs_once_that_is_allowed() {
    for allowed in [true, false] {
        let mut sim = asking(0);
        allow(&mut sim, &json!([]));
        sim.execution(NAMESPACE, "one", &json!({}));
        assert!(sim.settle() && sim.pass(3));
        if allowed {
            allow(&mut sim, &block("203.0.113.0/24", 443));
            sim.open(NAMESPACE, "hello");
            assert!(sim.pass(3));
            assert_eq!(sim.reason("one"), "Completed");
            assert_eq!(sim.condition("Ready")[..2], ["True", "Accepted"]);
        } else {
            assert!(sim.pass(310));
            assert_eq!(sim.reason("one"), "Rejected");
            let said = sim.message("one");
            assert!(
                said.contains("spec.egress[0]: 203.0.113.8/29 TCP 443"),
                "{said}"
            );
        }
    }
}

#[test]
fn no_sandbox_is_made_before_its_policy_stands() {
    let mut sim = asking(1);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(5));
    assert!(sim.boxes.is_empty());
    assert_eq!(sim.condition("Ready")[..2], ["False", "PolicyNotInForce"]);
    assert!(sim.message("one").contains("is not in force"));
    sim.open(NAMESPACE, "hello");
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    assert!(sim.pass(2));
    assert_eq!(sim.condition("Ready")[..2], ["True", "Accepted"]);
    assert_eq!(sim.boxes.len(), 1);
}

#[test]
fn one_without_a_list_needs_no_policy_and_waits_until_an_old_one_is_gone() {
    let mut sim = asking(1);
    sim.open(NAMESPACE, "hello");
    assert!(sim.settle());
    let before = sim.names();
    assert_eq!(before.len(), 1);
    ask(&mut sim, &json!([]), 1);
    assert!(sim.settle() && sim.pass(5));
    assert!(
        sim.boxes.is_empty(),
        "what is open yet is asked for no more"
    );
    sim.withdraw();
    assert!(sim.settle());
    assert_eq!(sim.boxes.len(), 1);
    assert!(sim.names().is_disjoint(&before));
}

#[test]
fn a_ceiling_that_is_narrowed_stops_what_is_to_come_at_once() {
    let mut sim = asking(1);
    sim.open(NAMESPACE, "hello");
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(2));
    assert_eq!(sim.boxes.len(), 2);
    let name = at_work(&sim);
    allow(&mut sim, &block("203.0.113.0/28", 80));
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.settle());
    assert_eq!(
        sim.names(),
        [name.clone()].into(),
        "what stood ready is gone"
    );
    assert_eq!(
        sim.condition("Ready")[..2],
        ["False", "EgressBeyondCeiling"]
    );
    sim.withdraw();
    assert!(sim.pass(3));
    // What runs goes on, and ends as it ends.
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.settle() && sim.pass(3));
    assert_eq!(sim.reason("one"), "Completed");
    assert_eq!(sim.reason("two"), "Queued");
    assert!(sim.boxes.is_empty());
}

#[test]
fn a_sandbox_that_proved_itself_under_another_policy_is_not_used() {
    let mut sim = asking(2);
    sim.open(NAMESPACE, "hello");
    assert!(sim.settle());
    let before = sim.names();
    assert_eq!(before.len(), 2);
    // Somebody opens more; while it is so, nothing is made and nothing is given.
    let mut policy = sim.policies.values().next().unwrap().clone();
    policy["spec"]["egress"] = json!([{}]);
    sim.stand(policy);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(2));
    assert_eq!(sim.condition("Ready")[..2], ["False", "PolicyNotInForce"]);
    assert!(sim.boxes.is_empty() && sim.started.is_empty());
    // It is put back: the same words, and not the same policy.
    sim.open(NAMESPACE, "hello");
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    let ran = sim.executions["one"]["status"]["sandbox"]["pod"].clone();
    assert!(!before.contains(ran.as_str().unwrap()));
    assert!(sim.names().is_disjoint(&before));
}

#[test]
fn a_policy_that_was_put_back_unseen_is_another_one_too() {
    let mut sim = asking(1);
    sim.open(NAMESPACE, "hello");
    assert!(sim.settle());
    let before = sim.names();
    sim.restart();
    assert!(sim.pass(1));
    assert_eq!(sim.names(), before, "nothing has changed");
    sim.open(NAMESPACE, "hello");
    assert!(sim.settle());
    assert_eq!(sim.boxes.len(), 1);
    assert!(sim.names().is_disjoint(&before));
}

#[test]
fn a_policy_that_lost_its_label_or_has_a_twin_is_not_in_force() {
    for twin in [false, true] {
        let mut sim = asking(1);
        sim.open(NAMESPACE, "hello");
        assert!(sim.settle());
        let mut policy = sim.policies.values().next().unwrap().clone();
        if twin {
            policy["metadata"]["name"] = json!("cloister-egress-hello-0");
        } else {
            policy["metadata"]["labels"] = json!({});
        }
        sim.stand(policy);
        assert!(sim.settle());
        assert!(sim.boxes.is_empty(), "twin: {twin}");
        assert_eq!(sim.condition("Ready")[..2], ["False", "PolicyNotInForce"]);
    }
}

#[test]
fn an_address_that_it_may_reach_is_no_sign_of_an_opening() {
    for (address, asked) in [("203.0.113.10:443", 0), ("203.0.113.10:80", 1)] {
        let mut sim = asking(1);
        sim.probing.outside = Some(address.parse().unwrap());
        sim.open(NAMESPACE, "hello");
        assert!(sim.settle());
        assert_eq!(sim.boxes.len(), 1);
        assert_eq!(outside(&sim).len(), asked, "{address}");
    }
    let mut sim = Sim::new();
    sim.probing.outside = Some("203.0.113.10:443".parse().unwrap());
    ask(&mut sim, &json!([]), 1);
    assert!(sim.settle());
    assert_eq!(outside(&sim), ["203.0.113.10:443"]);
}

#[test]
fn a_node_that_comes_to_lie_in_the_list_stops_it() {
    let mut sim = asking(1);
    sim.open(NAMESPACE, "hello");
    assert!(sim.settle());
    assert_eq!(sim.boxes.len(), 1);
    let node = sim.cluster.nodes.get_mut("node-a").unwrap();
    node.addresses.push("203.0.113.9".parse().unwrap());
    assert!(sim.pass(1));
    assert!(sim.boxes.is_empty());
    assert_eq!(sim.condition("Ready")[1], "EgressBeyondCeiling");
    assert!(sim.condition("Ready")[2].contains("203.0.113.9, an address of a node"));
}

/// Whether an Execution of this name waits for the policy that denies.
fn waits_for_it(sim: &mut Sim, name: &str) {
    sim.execution(NAMESPACE, name, &json!({}));
    assert!(sim.settle() && sim.pass(3));
    assert_eq!(sim.reason(name), "Queued");
    let message = sim.message(name);
    assert!(message.contains("cloister-deny-all"), "{message}");
}

#[test]
fn nothing_starts_while_the_policy_that_denies_is_away_or_another() {
    let mut sim = warm(1);
    let key = Key::new(NAMESPACE, DENY_ALL);
    for (name, change) in [
        ("gone", None),
        ("else", Some(json!({"matchLabels": {"a": "b"}}))),
    ] {
        match change {
            // Whoever missed that it went is told by the next listing, which asks what is known.
            None => {
                assert!(sim.book.policies().iter().any(|(known, _)| *known == key));
                sim.book.policy_gone(&key);
            }
            Some(selector) => sim.deny(NAMESPACE, &selector),
        }
        waits_for_it(&mut sim, name);
        sim.deny(NAMESPACE, &json!({}));
        assert!(sim.settle());
        assert_eq!(sim.reason(name), "Completed");
    }
}

#[test]
fn the_policy_that_denies_has_to_be_seen_before_anything_starts() {
    for changed in [false, true] {
        let mut sim = Sim::new();
        sim.restart_without_policies();
        if changed {
            sim.deny(NAMESPACE, &json!({"matchLabels": {"a": "b"}}));
        }
        // Also where its Tenant is heard of later, and time goes by in between.
        sim.book.idle(sim.now);
        let tenant = sim.tenant_like("acme", "True");
        sim.book.tenant(&tenant);
        sim.integration(NAMESPACE, "hello", &json!({"warm": {"min": 1}}));
        sim.lead();
        waits_for_it(&mut sim, "one");
    }
}
