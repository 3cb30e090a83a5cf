//! A kernel boundary that the tenant's pods cannot have is refused in words of the spec, and what
//! was made with it before goes.

use contract::run::{Cause, Exit};
use crds::{Tenant, well_known::GVISOR_RUNTIME_CLASS};
use serde_json::{Value, json};

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
};

const LAXER: &str = "spec.runtime: Hardened is laxer than spec.isolation.runtime of the Tenant";

/// The Tenant asks for this boundary; its isolation is proven, or not.
fn tenant(sim: &mut Sim, runtime: &str, verified: &str) {
    let mut object = json!(sim.tenant_like("acme", verified));
    object["spec"]["isolation"]["runtime"] = json!(runtime);
    let tenant: Tenant = serde_json::from_value(object).unwrap();
    sim.book.tenant(&tenant);
}

fn asking(runtime: &str) -> Value {
    json!({"runtime": runtime, "warm": {"min": 2}})
}

fn assert_refused(sim: &Sim, words: &str) {
    let [status, reason, message] = sim.condition("Ready");
    assert_eq!([&*status, &reason], ["False", "InvalidSpec"], "{message}");
    assert!(message.contains(words), "{message}");
}

#[test]
fn a_laxer_boundary_than_the_tenants_is_refused_and_who_waits_is_told() {
    let mut sim = Sim::new();
    tenant(&mut sim, "GVisor", "True");
    sim.integration(NAMESPACE, "hello", &asking("Hardened"));
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(3));
    assert!(sim.pods.is_empty(), "{:?}", sim.writes);
    assert_refused(&sim, LAXER);
    assert_eq!(sim.reason("one"), "Queued");
    assert!(sim.message("one").contains(LAXER), "{}", sim.message("one"));
    assert!(sim.pass(301));
    assert_eq!(sim.reason("one"), "Rejected");
    assert!(sim.message("one").contains(LAXER), "{}", sim.message("one"));
    // The remedy is one.
    tenant(&mut sim, "Hardened", "True");
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.settle() && sim.pass(1));
    assert_eq!(sim.reason("two"), "Completed");
    assert_eq!(sim.condition("Ready")[..2], ["True", "Accepted"]);
}

#[test]
fn what_was_made_before_the_tenant_asked_for_more_goes_and_what_runs_goes_on() {
    let mut sim = Sim::new();
    sim.command = Command::Waits;
    sim.integration(NAMESPACE, "hello", &asking("Hardened"));
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(2));
    let runs = at_work(&sim);
    assert_eq!(sim.boxes.len(), 2 + 1);
    // Proof of the new boundary takes a while, and those that stand ready are in its way.
    tenant(&mut sim, "GVisor", "Unknown");
    assert!(sim.settle());
    assert_eq!(sim.names(), [runs.clone()].into());
    assert_refused(&sim, LAXER);
    assert!(sim.pass(60));
    assert_eq!(sim.names(), [runs.clone()].into());
    sim.end(&runs, Cause::Completed, Exit::Code(0));
    assert!(sim.settle() && sim.pass(1));
    assert_eq!(sim.reason("one"), "Completed");
    assert!(sim.boxes.is_empty());
}

#[test]
fn a_boundary_that_the_cluster_does_not_have_is_refused_until_it_does() {
    let mut sim = Sim::new();
    sim.integration(NAMESPACE, "hello", &asking("GVisor"));
    assert!(sim.settle() && sim.pass(1));
    assert!(sim.pods.is_empty());
    assert_refused(
        &sim,
        "no RuntimeClass gvisor; install gVisor on the nodes, or say Hardened",
    );
    let classes = &mut sim.cluster.runtime_classes;
    classes.insert(GVISOR_RUNTIME_CLASS.to_owned(), 0);
    assert!(sim.pass(1));
    assert_eq!(sim.condition("Ready")[..2], ["True", "Accepted"]);
}

#[test]
fn a_tenants_change_is_no_matter_of_those_whose_names_are_like_its_own() {
    let mut sim = Sim::new();
    for neighbour in ["acm", "acme-2", "acmes"] {
        sim.tenant(neighbour, "True");
        let namespace = crate::names::namespace(neighbour);
        sim.integration(&namespace, "hello", &json!({}));
    }
    for own in ["a", "hello", "z"] {
        sim.integration(NAMESPACE, own, &json!({}));
    }
    assert!(sim.settle());
    assert!(sim.book.dirty.is_empty());
    tenant(&mut sim, "GVisor", "True");
    let looked_at = sim.book.dirty.iter();
    let looked_at: Vec<_> = looked_at.map(|key| (&*key.namespace, &*key.name)).collect();
    assert_eq!(looked_at, ["a", "hello", "z"].map(|own| (NAMESPACE, own)));
}
