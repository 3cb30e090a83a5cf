//! A zone that a Drill takes from a tenant.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::sim::{NAMESPACE, Sim};
use crate::world::facts::LiveNode;

const NEIGHBOUR: &str = "tenant-globex";

/// Two tenants with a warm sandbox each, in zone-a; a node in zone-b.
fn two() -> Sim {
    let mut sim = Sim::new();
    let node = LiveNode {
        ready: true,
        usable: true,
        zone: "zone-b".to_owned(),
        ..LiveNode::default()
    };
    sim.cluster.nodes.insert("node-b".to_owned(), node);
    sim.tenant("globex", "True");
    for namespace in [NAMESPACE, NEIGHBOUR] {
        sim.integration(namespace, "hello", &json!({"warm": {"min": 1}}));
    }
    assert!(sim.settle());
    assert_eq!(places(&sim, NAMESPACE), ["node-a"]);
    assert_eq!(places(&sim, NEIGHBOUR), ["node-a"]);
    sim
}

fn take(sim: &mut Sim) {
    let zones = BTreeSet::from(["zone-a".into()]);
    sim.lost.insert(NAMESPACE.to_owned(), zones);
    assert!(sim.pass(2));
}

/// Where sandboxes of a tenant are.
fn places(sim: &Sim, namespace: &str) -> Vec<String> {
    let pods = sim.pods.values();
    let here = pods.filter(|pod| pod["metadata"]["namespace"] == namespace);
    let nodes = here.map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned());
    let mut nodes: Vec<String> = nodes.collect();
    nodes.sort();
    nodes
}

fn node(sim: &Sim, execution: &str) -> Value {
    sim.executions[execution]["status"]["sandbox"]["node"].clone()
}

#[test]
fn nothing_starts_in_a_lost_zone_and_what_is_missing_is_made_elsewhere() {
    let mut sim = two();
    take(&mut sim);
    assert_eq!(places(&sim, NAMESPACE), ["node-b"]);
    assert_eq!(places(&sim, NEIGHBOUR), ["node-a"]);
    sim.execution(NAMESPACE, "one", &json!({}));
    sim.execution(NEIGHBOUR, "other", &json!({}));
    assert!(sim.pass(1));
    assert_eq!(sim.reason("one"), "Completed");
    assert_eq!(node(&sim, "one"), "node-b");
    assert_eq!(sim.reason("other"), "Completed");
    assert_eq!(node(&sim, "other"), "node-a");
}

#[test]
fn a_zone_that_is_back_is_used_again_and_no_more_are_made_than_before() {
    let mut sim = two();
    take(&mut sim);
    sim.writes.clear();
    assert!(sim.pass(30));
    assert_eq!(sim.writes, [""; 0], "made again and again");
    sim.lost.clear();
    sim.execution(NAMESPACE, "one", &json!({}));
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.pass(3));
    let nodes = BTreeSet::from(["one", "two"].map(|name| node(&sim, name).to_string()));
    assert!(nodes.contains("\"node-a\""), "{nodes:?}");
}
