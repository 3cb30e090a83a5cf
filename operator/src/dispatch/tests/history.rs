//! How much of what has ended is kept.

use serde_json::json;

use super::{
    sim::{Command, NAMESPACE, Sim},
    warm,
};

fn there(sim: &Sim) -> Vec<&str> {
    sim.executions.keys().map(String::as_str).collect()
}

#[test]
fn the_oldest_go_beyond_what_is_kept_of_each_kind() {
    let mut sim = warm(0);
    for (n, well) in [(1, true), (2, false), (3, true), (4, true), (5, false)] {
        sim.ended(&format!("x{n}"), well, 100 - n);
    }
    assert!(sim.pass(2));
    assert_eq!(sim.executions.len(), 5);
    let history = json!({"history": {"succeeded": 2, "failed": 1}});
    sim.integration(NAMESPACE, "hello", &history);
    assert!(sim.settle());
    assert_eq!(there(&sim), ["x3", "x4", "x5"]);
    // What runs counts for nothing, and pushes out the oldest once it has ended.
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "y", &json!({}));
    assert!(sim.settle());
    assert_eq!(there(&sim), ["x3", "x4", "x5", "y"]);
    sim.cancel("y");
    assert!(sim.settle());
    assert_eq!(there(&sim), ["x3", "x4", "y"]);
    // Nothing outlives its time.
    assert!(sim.pass(3602));
    assert!(sim.executions.is_empty());
}

#[test]
fn thousands_that_have_ended_hold_up_nobody() {
    let mut sim = warm(1);
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"warm": {"min": 1}, "history": {"succeeded": 10}}),
    );
    assert!(sim.settle());
    for n in 0..5000 {
        sim.ended(&format!("x{n:04}"), true, 5001 - n);
    }
    sim.writes.clear();
    sim.execution(NAMESPACE, "now", &json!({}));
    assert!(sim.settle());
    let place = |what: &str| sim.writes.iter().position(|said| said == what).unwrap();
    assert_eq!(place("Bind now"), 0);
    assert!(place("Finish now") < 20, "{:?}", &sim.writes[..20]);
    assert_eq!(sim.executions.len(), 10);
    assert!(sim.executions.contains_key("now") && sim.executions.contains_key("x4999"));
}

#[test]
fn hundreds_of_integrations_whose_time_is_over_cost_as_much_as_one_each() {
    let mut sim = warm(0);
    for n in 0..300 {
        let name = format!("i{n:03}");
        sim.integration(NAMESPACE, &name, &json!({"ttl": "60s"}));
        sim.ended_of(&name, &format!("x{n}"), true, 40);
    }
    // Until each has been told how it is.
    assert!(sim.settle() && sim.pass(15));
    (sim.most_touched, sim.writes) = (0, vec![]);
    assert!(sim.pass(10));
    assert!(sim.executions.is_empty());
    assert_eq!(sim.writes.len(), 300);
    // A write that ends has a few looked at, and not all.
    let touched = sim.most_touched;
    assert!(touched < 20, "{touched} lines are looked at again");
}

#[test]
fn what_cannot_be_removed_is_tried_again_in_time_and_not_at_once() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"history": {"failed": 0}}));
    assert!(sim.settle());
    sim.refuse = Some("Forget");
    for n in 0..10 {
        sim.ended(&format!("x{n}"), false, 60);
    }
    sim.writes.clear();
    assert!(sim.pass(3));
    assert_eq!(sim.writes.len(), 30, "{:?}", sim.writes);
    sim.refuse = None;
    assert!(sim.pass(1));
    assert!(sim.executions.is_empty());
}

#[test]
fn what_has_ended_goes_after_its_time() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"ttl": "60s"}));
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(59));
    assert!(sim.executions.contains_key("one"));
    assert!(sim.pass(3));
    assert!(sim.executions.is_empty());
}

#[test]
fn a_spec_that_is_wrong_elsewhere_is_kept_to() {
    let mut sim = warm(0);
    let wrong = json!({"cron": "0 4 * * *", "timeZone": "Europe/Nowhere"});
    for (spec, left) in [
        (json!({"ttl": "24h", "schedule": wrong}), 1),
        (json!({"ttl": "24 hours"}), 1),
        (json!({"ttl": "1h"}), 0),
    ] {
        sim.integration(NAMESPACE, "hello", &json!({"ttl": "24h"}));
        sim.ended("x", true, 7200);
        assert!(sim.pass(2));
        sim.integration(NAMESPACE, "hello", &spec);
        assert!(sim.pass(5));
        assert_eq!(there(&sim).len(), left, "{spec}");
    }
}
