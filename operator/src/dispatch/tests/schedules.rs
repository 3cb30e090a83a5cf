//! What is due is created once: over crashes, changes of the leader, clocks that jump; and what
//! was missed follows its rule.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::sim::{NAMESPACE, Sim};
use crate::dispatch::line::Key;

/// The fake begins at 13:46:40.
const FIRST: &str = "1970-01-12T13:50:00Z";
const SECOND: &str = "1970-01-12T13:55:00Z";
const THIRD: &str = "1970-01-12T14:00:00Z";

/// Every five minutes, with these fields of the schedule and of the spec besides.
fn five_minutely(schedule: &Value, extra: &Value) -> Value {
    let mut spec = json!({"schedule": {"cron": "*/5 * * * *"}});
    for (key, value) in schedule.as_object().into_iter().flatten() {
        spec["schedule"][key] = value.clone();
    }
    for (key, value) in extra.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

fn scheduled(schedule: &Value, extra: &Value) -> Sim {
    let mut sim = Sim::new();
    sim.integration(NAMESPACE, "hello", &five_minutely(schedule, extra));
    assert!(sim.settle());
    sim
}

/// Time goes by up to then. A process that dies has a successor a moment later.
fn until(sim: &mut Sim, time: &str) -> u32 {
    let (time, mut deaths): (Timestamp, u32) = (time.parse().unwrap(), 0);
    while sim.now < time {
        if !sim.pass(1) {
            deaths += 1;
            sim.restart();
        }
    }
    deaths
}

/// Time goes by while nobody leads.
fn away(sim: &mut Sim, time: &str) {
    sim.now = time.parse().unwrap();
    sim.restart();
    assert!(sim.settle() && sim.pass(2));
}

#[test]
fn a_run_that_is_due_is_created_by_its_integration_and_runs() {
    let mut sim = scheduled(&json!({}), &json!({}));
    let said = sim.line("hello")["schedule"].clone();
    assert_eq!(
        said,
        json!({"cron": "*/5 * * * *", "timeZone": "Etc/UTC", "lastScheduleTime": null,
            "nextScheduleTime": FIRST})
    );
    assert_eq!(sim.condition("Scheduled")[..2], ["True", "OnSchedule"]);
    sim.writes.clear();
    until(&mut sim, "1970-01-12T13:49:59Z");
    assert_eq!(sim.writes, [""; 0]);
    until(&mut sim, "1970-01-12T13:50:05Z");
    let (name, object) = sim.executions.first_key_value().unwrap();
    assert_eq!(sim.reason(name), "Completed");
    let metadata = &object["metadata"];
    assert_eq!(
        metadata["annotations"]["cloister.dev/scheduled-time"],
        json!(FIRST)
    );
    let owner = &metadata["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"]),
        (&json!("Integration"), &json!("hello"))
    );
    let said = &sim.line("hello")["schedule"];
    assert_eq!(said["lastScheduleTime"], json!(FIRST));
    assert_eq!(said["nextScheduleTime"], json!(SECOND));
    // One write beyond those of the Execution itself.
    let of_line = sim.writes.iter().filter(|what| *what == "Line hello");
    assert_eq!(of_line.count(), 1, "{:?}", sim.writes);
}

#[test]
fn a_crash_after_any_write_neither_loses_nor_doubles_a_run() {
    // Also where an Execution goes as soon as it has ended.
    for extra in [
        json!({}),
        json!({"ttl": "0s"}),
        json!({"history": {"succeeded": 0}}),
    ] {
        let mut crashes = 0;
        for done in [true, false] {
            for n in 1.. {
                let mut sim = scheduled(&json!({}), &extra);
                sim.fatal = Some((n, done));
                let mut deaths = 0;
                for minute in [50, 55] {
                    sim.now = format!("1970-01-12T13:{}:58Z", minute - 1).parse().unwrap();
                    deaths += until(&mut sim, &format!("1970-01-12T13:{minute}:20Z"));
                }
                assert_eq!(
                    sim.created,
                    [FIRST, SECOND],
                    "write {n}, done: {done}, {extra}"
                );
                let starts: Vec<_> = sim.started.values().collect();
                assert_eq!(starts, [&1, &1], "write {n}, done: {done}, {extra}");
                if deaths == 0 {
                    break;
                }
                crashes += 1;
            }
        }
        assert!(crashes >= 20, "{crashes} crashes");
    }
}

#[test]
fn a_new_leader_every_second_creates_each_run_once() {
    for missed in ["RunOnce", "Skip"] {
        let mut sim = scheduled(&json!({"missed": missed}), &json!({"ttl": "0s"}));
        for _ in 0..820 {
            sim.pass(1);
            sim.restart();
        }
        assert_eq!(sim.created, [FIRST, SECOND, THIRD], "{missed}");
    }
}

#[test]
fn one_that_acts_on_what_it_knew_before_creates_nothing_again() {
    let mut sim = scheduled(&json!({}), &json!({}));
    let before = sim.line("hello");
    until(&mut sim, "1970-01-12T13:50:05Z");
    // The status as it was before, as a leader that is replaced may leave it.
    sim.set_line(&Key::new(NAMESPACE, "hello"), &before);
    sim.restart();
    assert!(sim.settle() && sim.pass(2));
    assert_eq!(sim.created, [FIRST]);
    assert!(
        sim.writes.contains(&format!("There {FIRST}")),
        "{:?}",
        sim.writes
    );
    assert_eq!(
        sim.line("hello")["schedule"]["lastScheduleTime"],
        json!(FIRST)
    );
}

#[test]
fn what_the_status_does_not_tell_of_yet_stays_until_it_does() {
    let mut sim = scheduled(&json!({}), &json!({"ttl": "0s"}));
    sim.refuse = Some("Line");
    until(&mut sim, "1970-01-12T13:50:10Z");
    let name = sim.executions.keys().next().unwrap().clone();
    assert_eq!(sim.reason(&name), "Completed");
    // Who leads next knows of it by its name alone.
    sim.refuse = None;
    sim.writes.clear();
    sim.restart();
    assert!(sim.settle() && sim.pass(2));
    assert_eq!(sim.created, [FIRST]);
    assert_eq!(
        sim.writes,
        [
            &format!("There {FIRST}"),
            "Line hello",
            &format!("Forget {name}")
        ]
    );
}

#[test]
fn how_far_it_has_come_is_written_at_once_whatever_was_said_before() {
    let mut sim = scheduled(&json!({}), &json!({}));
    until(&mut sim, "1970-01-12T13:49:30Z");
    sim.integration(
        NAMESPACE,
        "hello",
        &five_minutely(&json!({}), &json!({"retries": 1})),
    );
    until(&mut sim, "1970-01-12T13:50:01Z");
    let said = &sim.line("hello")["schedule"];
    assert_eq!(said["lastScheduleTime"], json!(FIRST));
}

#[test]
fn one_that_leads_again_goes_on_from_what_the_other_has_done() {
    let mut sim = scheduled(&json!({}), &json!({}));
    until(&mut sim, "1970-01-12T13:50:05Z");
    // Another one has led meanwhile, and what it created is gone.
    let mut after = sim.line("hello");
    after["schedule"]["lastScheduleTime"] = json!(SECOND);
    after["schedule"]["nextScheduleTime"] = json!(THIRD);
    sim.set_line(&Key::new(NAMESPACE, "hello"), &after);
    sim.integration(NAMESPACE, "hello", &five_minutely(&json!({}), &json!({})));
    sim.now = "1970-01-12T13:56:00Z".parse().unwrap();
    sim.lead();
    assert!(sim.pass(2));
    assert_eq!(sim.created, [FIRST]);
    until(&mut sim, "1970-01-12T14:00:02Z");
    assert_eq!(sim.created, [FIRST, THIRD]);
}

#[test]
fn what_was_missed_while_nobody_led_follows_the_rule() {
    for (missed, deadline, back, expected) in [
        ("RunOnce", "1h", "1970-01-12T14:04:00Z", [THIRD].as_slice()),
        // Later than it may be.
        ("RunOnce", "3m", "1970-01-12T14:04:00Z", &[]),
        ("Skip", "1h", "1970-01-12T14:04:00Z", &[]),
        // In time.
        ("Skip", "1h", "1970-01-12T14:00:20Z", &[THIRD]),
    ] {
        let schedule = json!({"missed": missed, "startingDeadline": deadline});
        let mut sim = scheduled(&schedule, &json!({}));
        away(&mut sim, back);
        assert_eq!(sim.created, expected, "{missed} {deadline} {back}");
        let next = &sim.line("hello")["schedule"]["nextScheduleTime"];
        assert_eq!(
            next,
            &json!("1970-01-12T14:05:00Z"),
            "{missed} {deadline} {back}"
        );
        until(&mut sim, "1970-01-12T14:05:05Z");
        assert_eq!(sim.created.last().unwrap(), "1970-01-12T14:05:00Z");
        assert_eq!(sim.created.len(), expected.len() + 1);
    }
}

#[test]
fn while_suspended_nothing_is_created_and_then_the_rule_holds() {
    for by_tenant in [true, false] {
        for (missed, expected) in [("RunOnce", [THIRD].as_slice()), ("Skip", &[])] {
            let schedule = json!({"missed": missed});
            let mut sim = scheduled(&schedule, &json!({}));
            let set = |sim: &mut Sim, suspended: bool| {
                if !by_tenant {
                    let suspend = json!({"suspend": suspended});
                    sim.integration(NAMESPACE, "hello", &five_minutely(&schedule, &suspend));
                } else if suspended {
                    sim.state("acme", "Suspended");
                } else {
                    sim.tenant("acme", "True");
                }
            };
            set(&mut sim, true);
            sim.pass(1);
            assert_eq!(sim.condition("Scheduled")[..2], ["False", "Suspended"]);
            sim.writes.clear();
            until(&mut sim, "1970-01-12T14:03:00Z");
            assert_eq!(sim.writes, [""; 0], "{missed}, by the tenant: {by_tenant}");
            set(&mut sim, false);
            assert!(sim.pass(5));
            assert_eq!(
                sim.created, expected,
                "{missed}, by the tenant: {by_tenant}"
            );
            assert_eq!(sim.condition("Scheduled")[..2], ["True", "OnSchedule"]);
        }
    }
}

#[test]
fn where_isolation_is_not_proven_a_run_is_created_and_waits() {
    let mut sim = scheduled(&json!({}), &json!({}));
    sim.tenant("acme", "Unknown");
    until(&mut sim, "1970-01-12T13:50:05Z");
    assert_eq!(sim.created, [FIRST]);
    let name = sim.executions.keys().next().unwrap().clone();
    assert_eq!(sim.reason(&name), "Queued");
    sim.tenant("acme", "True");
    assert!(sim.pass(2));
    assert_eq!(sim.reason(&name), "Completed");
}

#[test]
fn a_clock_that_is_set_back_brings_nothing_again() {
    for restarted in [true, false] {
        let mut sim = scheduled(&json!({}), &json!({"ttl": "0s"}));
        until(&mut sim, "1970-01-12T13:50:05Z");
        sim.now -= SignedDuration::from_mins(3);
        if restarted {
            sim.restart();
        }
        until(&mut sim, "1970-01-12T13:54:59Z");
        assert_eq!(sim.created, [FIRST], "restarted: {restarted}");
        until(&mut sim, "1970-01-12T13:55:02Z");
        assert_eq!(sim.created, [FIRST, SECOND], "restarted: {restarted}");
    }
}

#[test]
fn another_schedule_owes_nothing_and_none_leaves_nothing() {
    let mut sim = scheduled(&json!({}), &json!({}));
    until(&mut sim, "1970-01-12T13:52:00Z");
    // Minute 51 has just been.
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"schedule": {"cron": "51 * * * *"}}),
    );
    assert!(sim.pass(5));
    assert_eq!(sim.created, [FIRST]);
    let said = sim.line("hello")["schedule"].clone();
    assert_eq!(said["nextScheduleTime"], json!("1970-01-12T14:51:00Z"));
    assert_eq!(said["lastScheduleTime"], json!(FIRST));
    sim.integration(NAMESPACE, "hello", &json!({}));
    assert!(sim.pass(2));
    assert_eq!(sim.line("hello")["schedule"], Value::Null);
    assert_eq!(sim.condition("Scheduled")[..2], ["True", "NotRequested"]);
}

#[test]
fn a_schedule_that_is_none_is_said_and_creates_nothing() {
    for schedule in [
        json!({"cron": "0 0 30 2 *"}),
        json!({"timeZone": "Europe/Nowhere"}),
        json!({"startingDeadline": "forever"}),
    ] {
        let mut sim = scheduled(&schedule, &json!({}));
        until(&mut sim, "1970-01-12T13:50:05Z");
        assert_eq!(sim.created, [""; 0]);
        let [status, reason, message] = sim.condition("Ready");
        assert_eq!((&*status, &*reason), ("False", "InvalidSpec"), "{schedule}");
        assert!(message.starts_with("spec.schedule."), "{message}");
        assert_eq!(sim.condition("Scheduled")[..2], ["Unknown", "InvalidSpec"]);
        sim.integration(NAMESPACE, "hello", &five_minutely(&json!({}), &json!({})));
        until(&mut sim, "1970-01-12T13:55:05Z");
        assert_eq!(sim.created, [SECOND], "{schedule}");
    }
}

#[test]
fn what_the_server_refuses_is_said_and_tried_again_in_time() {
    let mut sim = scheduled(&json!({}), &json!({"history": {"succeeded": 1}}));
    sim.refuse_executions = Some("exceeded quota: cloister-limits");
    until(&mut sim, "1970-01-12T13:50:30Z");
    let [status, reason, message] = sim.condition("Scheduled");
    assert_eq!((&*status, &*reason), ("False", "Blocked"));
    assert!(message.contains("exceeded quota"), "{message}");
    let tries = sim.writes.iter().filter(|what| *what == "Refused").count();
    assert!((5..8).contains(&tries), "{tries} tries in 30 s");
    // What is full may be full of what has ended.
    for n in 0..3 {
        sim.ended(&format!("old{n}"), true, 60);
    }
    assert!(sim.pass(2));
    assert_eq!(sim.executions.len(), 1);
    sim.refuse_executions = None;
    assert!(sim.pass(6));
    assert_eq!(sim.created, [FIRST]);
    assert_eq!(sim.condition("Scheduled")[..2], ["True", "OnSchedule"]);
}

#[test]
fn a_tenant_with_hundreds_due_does_not_keep_another_one_waiting() {
    let mut sim = Sim::new();
    sim.tenant("globex", "True");
    let spec = json!({"schedule": {"cron": "*/5 * * * *"}});
    for n in 0..300 {
        sim.integration(NAMESPACE, &format!("x{n:03}"), &spec);
    }
    sim.integration("tenant-globex", "single", &spec);
    assert!(sim.settle());
    sim.now = "1970-01-12T13:49:58Z".parse().unwrap();
    sim.most_touched = 0;
    until(&mut sim, "1970-01-12T13:50:02Z");
    assert_eq!(sim.created.len(), 301);
    let place = sim
        .created_in
        .iter()
        .position(|one| one == "tenant-globex")
        .unwrap();
    assert!(place < 16, "it came as number {place}");
    // A write that ends has a few looked at, and not all.
    let touched = sim.most_touched;
    assert!(touched < 100, "{touched} lines are looked at again");
}

#[test]
fn a_sandbox_is_made_ahead_of_a_run_where_one_may_be_kept() {
    for (most, ready) in [(1, 1), (0, 0)] {
        let extra = json!({"warm": {"min": 0, "max": most}, "ttl": "0s"});
        let mut sim = scheduled(&json!({}), &extra);
        until(&mut sim, "1970-01-12T13:49:30Z");
        assert_eq!(sim.boxes.len(), 0, "half a minute ahead");
        until(&mut sim, "1970-01-12T13:49:55Z");
        assert_eq!(sim.boxes.len(), ready, "a few seconds ahead");
    }
}

#[test]
fn a_run_whose_creation_was_not_answered_is_kept_until_the_status_tells_of_it() {
    for extra in [
        json!({"ttl": "0s"}),
        json!({"history": {"succeeded": 0, "failed": 0}}),
    ] {
        let mut sim = scheduled(&json!({}), &extra);
        sim.lose_next_creation = true;
        until(&mut sim, "1970-01-12T13:51:00Z");
        assert_eq!(sim.created, [FIRST], "{extra}");
        assert_eq!(sim.started.len(), 1, "{extra}");
        assert!(sim.executions.is_empty(), "and then it goes: {extra}");
    }
}
