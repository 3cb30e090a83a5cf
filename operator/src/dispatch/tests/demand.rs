//! Sandboxes kept ready between bounds, by what came.

use serde_json::json;

use super::sim::{Command, NAMESPACE, Sim};

fn between(min: i32, max: i32) -> Sim {
    let mut sim = Sim::new();
    let spec = json!({"warm": {"min": min, "max": max}, "ttl": "1h"});
    sim.integration(NAMESPACE, "hello", &spec);
    assert!(sim.settle());
    sim
}

fn burst(sim: &mut Sim, name: &str, count: usize) {
    for number in 0..count {
        sim.execution(NAMESPACE, &format!("{name}-{number}"), &json!({}));
    }
    assert!(sim.settle());
}

#[test]
fn as_many_stand_ready_as_came_at_once_within_the_last_hour() {
    let mut sim = between(1, 5);
    assert_eq!(sim.boxes.len(), 1);
    burst(&mut sim, "three", 3);
    assert!(sim.pass(1));
    assert_eq!(sim.boxes.len(), 3, "after three at once");
    burst(&mut sim, "crowd", 9);
    assert!(sim.pass(1));
    assert_eq!(sim.boxes.len(), 5, "never more than the most");
    assert!(sim.pass(1800));
    assert_eq!(sim.boxes.len(), 5, "half an hour later");
    assert!(sim.pass(1900));
    assert_eq!(sim.boxes.len(), 1, "an hour later");
}

#[test]
fn a_new_leader_reads_off_the_executions_what_came() {
    let mut sim = between(0, 4);
    burst(&mut sim, "three", 3);
    assert!(sim.pass(1));
    assert_eq!(sim.boxes.len(), 3);
    sim.restart();
    assert!(sim.settle());
    assert_eq!(
        sim.boxes.len(),
        3,
        "none is taken away, and none is missing"
    );
}

#[test]
fn a_pool_is_refilled_however_fast_its_sandboxes_are_given_out() {
    let mut sim = between(4, 4);
    for number in 0..20 {
        sim.now += jiff::SignedDuration::from_millis(100);
        sim.execution(NAMESPACE, &format!("steady-{number}"), &json!({}));
        assert!(sim.settle());
        let name = format!("steady-{number}");
        assert_eq!(sim.reason(&name), "Completed");
        assert!(!sim.boxes.is_empty(), "{name} has taken the last one");
    }
}

#[test]
fn who_waits_comes_before_what_is_made_ahead() {
    let mut sim = between(4, 4);
    sim.command = Command::Waits;
    for number in 0..10 {
        sim.execution(NAMESPACE, &format!("crowd-{number}"), &json!({}));
    }
    sim.writes.clear();
    assert!(sim.settle());
    let made = sim.writes.iter().filter(|write| write.starts_with("Make"));
    assert_eq!(made.count(), 6, "{:?}", sim.writes);
    assert!(sim.pass(1));
    assert_eq!(sim.boxes.len(), 14, "then the pool is full again");
}

#[test]
fn however_many_are_outdated_each_write_that_ends_has_few_lines_looked_at() {
    const LINES: usize = 150;
    let mut sim = Sim::new();
    let apply = |sim: &mut Sim, image: &str| {
        for number in 0..LINES {
            let spec = json!({"image": image, "warm": {"min": 1, "max": 1}});
            sim.integration(NAMESPACE, &format!("line-{number}"), &spec);
        }
        sim.most_touched = 0;
        assert!(sim.settle());
    };
    apply(&mut sim, "before");
    assert_eq!(sim.boxes.len(), LINES);
    let before: Vec<String> = sim.boxes.keys().cloned().collect();
    apply(&mut sim, "after");
    assert_eq!(sim.boxes.len(), LINES);
    let outdated = before.iter().filter(|name| sim.boxes.contains_key(*name));
    assert_eq!(outdated.count(), 0, "all have been replaced");
    assert!(sim.most_touched < LINES / 3, "{}", sim.most_touched);
}
