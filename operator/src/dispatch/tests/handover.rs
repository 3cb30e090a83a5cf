//! What a new leader makes of what it finds, and what becomes of a run between two writes.

use contract::run::{Cause, Exit};
use serde_json::json;

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
    warm,
};

/// One runs and one waits, where one may run; as a new leader finds them.
fn taken_over(extra: &serde_json::Value) -> (Sim, String) {
    let mut sim = warm(1);
    let mut spec = json!({"warm": {"min": 1}, "concurrency": {"limit": 1}});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    sim.integration(NAMESPACE, "hello", &spec);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "runs", &json!({}));
    assert!(sim.settle());
    sim.execution(NAMESPACE, "waits", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.restart();
    (sim, name)
}

#[test]
fn who_waits_over_a_change_of_leader_is_not_taken_for_lost() {
    for retries in [0, 1] {
        let (mut sim, name) = taken_over(&json!({"retries": retries}));
        assert!(sim.pass(60));
        sim.end(&name, Cause::Completed, Exit::Code(0));
        assert!(sim.settle());
        let name = at_work(&sim);
        assert!(sim.pass(60));
        assert_eq!(sim.reason("waits"), "Running", "retries: {retries}");
        sim.end(&name, Cause::Completed, Exit::Code(0));
        assert!(sim.settle());
        assert_eq!(sim.reason("waits"), "Completed", "retries: {retries}");
        assert!(sim.started.values().all(|count| *count == 1));
        assert_eq!(sim.executions["waits"]["status"]["attempt"], json!(1));
    }
}

#[test]
fn what_may_still_run_counts_though_its_execution_is_deleted() {
    // While its session is up, and before the new leader has heard of it.
    for heard in [true, false] {
        let (mut sim, name) = taken_over(&json!({}));
        sim.slow_kubelet = true;
        if !heard {
            sim.silence(&name);
        }
        sim.delete("runs");
        assert!(sim.pass(5));
        assert_eq!(sim.reason("waits"), "Queued", "heard: {heard}");
        // Nor does the next leader forget it.
        sim.restart();
        if !heard {
            sim.silence(&name);
        }
        assert!(sim.pass(5));
        assert_eq!(sim.reason("waits"), "Queued", "heard: {heard}");
        assert_eq!(sim.most_live, 1);
        sim.lose_pod(&name);
        assert!(sim.pass(5));
        assert_eq!(sim.reason("waits"), "Running", "heard: {heard}");
        assert_eq!(sim.most_live, 1);
    }
}

#[test]
fn what_may_still_run_counts_though_its_execution_is_deleted_while_nobody_leads() {
    let (mut sim, name) = taken_over(&json!({"warm": {"min": 2}}));
    assert!(sim.settle() && sim.pass(5));
    assert_eq!(sim.boxes.len(), 3, "two stand ready beside it");
    // A node of which nothing is heard ends no pod either.
    sim.slow_kubelet = true;
    sim.delete("runs");
    sim.restart();
    sim.silence(&name);
    assert!(sim.pass(5));
    assert_eq!(sim.reason("waits"), "Queued");
    assert_eq!(sim.most_live, 1);
    // Not for longer than another one that nothing is heard of.
    assert!(sim.pass(30));
    assert_eq!(sim.reason("waits"), "Running");
}

#[test]
fn what_may_still_run_counts_while_it_cannot_be_removed() {
    for refused in [true, false] {
        let (mut sim, _) = taken_over(&json!({"warm": {"min": 2}}));
        assert!(sim.settle() && sim.pass(5));
        if refused {
            sim.refuse = Some("Remove");
        } else {
            // As many are being removed already as may be at once.
            sim.book.under_way.sweeping = 1000;
        }
        sim.delete("runs");
        assert!(sim.pass(3));
        assert_eq!(sim.reason("waits"), "Queued", "refused: {refused}");
        assert_eq!(sim.most_live, 1, "refused: {refused}");
        sim.refuse = None;
        sim.book.under_way.sweeping = 0;
        assert!(sim.pass(30));
        assert_eq!(sim.reason("waits"), "Running", "refused: {refused}");
        assert_eq!(sim.most_live, 1, "refused: {refused}");
    }
}

/// A new leader whose watch has not brought that one of the two has its sandbox.
fn behind(extra: &serde_json::Value) -> Sim {
    let (mut sim, _) = taken_over(extra);
    assert!(sim.settle() && sim.pass(5));
    let runs = sim.executions["runs"].clone();
    let seen = sim.executions.get_mut("runs").unwrap();
    seen["status"] = json!({});
    seen["metadata"]["resourceVersion"] = json!("1");
    sim.restart();
    sim.executions.insert("runs".to_owned(), runs);
    sim
}

#[test]
fn what_a_predecessor_began_counts_before_the_watch_brings_it() {
    let mut sim = behind(&json!({"warm": {"min": 2}}));
    // Longer than a proof is good for, which its sandbox does not give any more.
    assert!(sim.pass(150));
    assert_eq!(sim.most_live, 1);
    assert_eq!(sim.reason("waits"), "Queued");
    sim.tell("runs");
    assert!(sim.pass(5));
    assert_eq!(sim.reason("runs"), "Running");
    assert_eq!(sim.most_live, 1);
    assert!(sim.started.values().all(|count| *count == 1));
}

#[test]
fn what_a_predecessor_began_ends_as_it_said_before_the_watch_brings_it() {
    let mut sim = behind(&json!({"warm": {"min": 2}}));
    let name = sim.executions["runs"]["status"]["sandbox"]["pod"].clone();
    let name = name.as_str().unwrap().to_owned();
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.pass(3));
    sim.tell("runs");
    // Its session is over, so that it says all of it in the next one.
    assert!(sim.boxes[&name].orders.as_ref().unwrap().is_closed());
    sim.dial(&name);
    assert!(sim.pass(5));
    assert_eq!(sim.reason("runs"), "Completed");
    assert!(sim.started.values().all(|count| *count == 1));
}

#[test]
fn what_a_predecessor_began_has_not_waited_in_vain() {
    let mut sim = behind(&json!({"warm": {"min": 2}, "startDeadline": "10s"}));
    assert!(sim.pass(15));
    sim.tell("runs");
    assert!(sim.pass(5));
    assert_eq!(sim.reason("runs"), "Running");
    assert!(sim.started.values().all(|count| *count == 1));
}

#[test]
fn of_two_that_were_given_the_same_sandbox_the_first_one_keeps_it() {
    for restarts in [false, true] {
        let mut sim = warm(1);
        sim.command = Command::Waits;
        sim.execution(NAMESPACE, "one", &json!({}));
        assert!(sim.settle() && sim.pass(3));
        // As a leader would write it that had not seen that.
        let later = sim.now.to_string();
        let status = &sim.executions["one"]["status"];
        let sandbox = status["sandbox"].clone();
        sim.execution(NAMESPACE, "two", &json!({}));
        let two = sim.executions.get_mut("two").unwrap();
        two["status"] = json!({"attempt": 1, "sandbox": sandbox, "times": {"claimed": later}});
        sim.annotate("two");
        sim.tell("two");
        if restarts {
            sim.restart();
        }
        assert!(sim.settle() && sim.pass(3));
        let message = sim.message("two");
        assert!(message.contains("nothing of this one"), "{message}");
        assert_eq!(sim.reason("one"), "Running");
        let name = at_work(&sim);
        sim.end(&name, Cause::Completed, Exit::Code(0));
        assert!(sim.settle());
        assert_eq!(sim.reason("one"), "Completed");
        assert_eq!(sim.started.values().sum::<u32>(), 1);
    }
}

#[test]
fn what_was_deleted_on_a_node_that_is_lost_counts_no_longer_than_another() {
    for (retries, seconds) in [(0, 28), (1, 38)] {
        let (mut sim, name) = taken_over(&json!({"retries": retries}));
        sim.slow_kubelet = true;
        sim.silence(&name);
        sim.delete("runs");
        assert!(sim.pass(seconds));
        assert_eq!(sim.reason("waits"), "Queued", "retries: {retries}");
        assert!(sim.pass(5));
        assert_eq!(sim.reason("waits"), "Running", "retries: {retries}");
    }
}

#[test]
fn a_sandbox_that_was_given_nothing_counts_for_nothing_when_it_is_drained() {
    let mut sim = warm(1);
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"warm": {"min": 1}, "concurrency": {"limit": 1}}),
    );
    assert!(sim.settle());
    let name = sim.names().into_iter().next().unwrap();
    sim.now += jiff::SignedDuration::from_secs(1);
    sim.show(&name);
    sim.mark(&name);
    sim.silence(&name);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(3));
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn one_that_is_to_be_tried_again_keeps_its_idempotency_key() {
    let keyed = json!({"idempotencyKey": "order-7"});
    for restarts in [false, true] {
        let mut sim = warm(0);
        sim.integration(NAMESPACE, "hello", &json!({"retries": 1}));
        sim.command = Command::Exits(3);
        sim.execution(NAMESPACE, "first", &keyed);
        assert!(sim.settle());
        assert_eq!(sim.reason("first"), "Retrying");
        if restarts {
            sim.restart();
        }
        sim.execution(NAMESPACE, "second", &keyed);
        assert!(sim.pass(10));
        assert_eq!(sim.reason("second"), "Duplicate", "restarts: {restarts}");
        assert_eq!(sim.reason("first"), "Failed", "restarts: {restarts}");
        assert_eq!(sim.started.values().copied().sum::<u32>(), 2);
    }
}

#[test]
fn one_that_is_not_needed_keeps_nobody_waiting_and_makes_nobody_leave() {
    let keyed = json!({"idempotencyKey": "order-7"});
    let mut sim = warm(2);
    let spec = json!({"warm": {"min": 2},
        "concurrency": {"limit": 3, "policy": "Replace"}});
    sim.integration(NAMESPACE, "hello", &spec);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "a", &json!({}));
    assert!(sim.settle());
    // The answer to the write that binds the first of them is lost.
    sim.execution(NAMESPACE, "b", &keyed);
    sim.lose_next_answer = Some(false);
    sim.one_turn();
    sim.execution(NAMESPACE, "c", &keyed);
    sim.execution(NAMESPACE, "d", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("d"), "Starting", "{}", sim.message("d"));
    assert!(sim.pass(5));
    assert_eq!(sim.reason("c"), "Duplicate");
    for name in ["a", "b", "d"] {
        assert_eq!(sim.reason(name), "Running", "{name}");
    }
}

#[test]
fn nothing_starts_on_a_node_whose_kubelet_is_not_heard() {
    let mut sim = warm(1);
    let ready = |sim: &mut Sim, ready| {
        for node in sim.cluster.nodes.values_mut() {
            (node.ready, node.usable) = (ready, ready);
        }
    };
    ready(&mut sim, false);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(20));
    assert!(sim.started.is_empty(), "{:?}", sim.started);
    // Another one is made for it, and no third.
    assert_eq!(sim.boxes.len(), 2);
    ready(&mut sim, true);
    assert!(sim.pass(2));
    assert_eq!(sim.reason("one"), "Completed");
    assert_eq!(sim.boxes.len(), 1);
}

#[test]
fn one_that_can_be_told_by_now_is_told_however_late() {
    let mut sim = warm(1);
    sim.integration(
        NAMESPACE,
        "hello",
        &json!({"warm": {"min": 1}, "startDeadline": "1s"}),
    );
    assert!(sim.settle());
    sim.execution(NAMESPACE, "one", &json!({}));
    sim.fatal = Some((1, true));
    assert!(!sim.settle());
    sim.now += jiff::SignedDuration::from_secs(8);
    sim.restart();
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn a_sandbox_that_goes_while_it_is_bound_holds_nothing_up() {
    for landed in [true, false] {
        for behind in [true, false] {
            let mut sim = warm(1);
            let name = sim.names().into_iter().next().unwrap();
            (sim.lose_next_answer, sim.behind) = (Some(landed), behind);
            sim.execution(NAMESPACE, "one", &json!({}));
            sim.one_turn();
            sim.lose_pod(&name);
            sim.behind = false;
            assert!(sim.pass(3));
            // The watch brings what was written, however late.
            sim.tell("one");
            assert!(sim.pass(60));
            let which = format!("landed: {landed}, behind: {behind}");
            let expected = if landed { "NodeLost" } else { "Completed" };
            assert_eq!(sim.reason("one"), expected, "{which}");
            let starts = sim.started.values().sum::<u32>();
            assert_eq!(starts, u32::from(!landed), "{which}");
        }
    }
}

#[test]
fn one_that_is_bound_and_may_not_be_told_says_why_it_ends() {
    // Whatever time a command may take that runs.
    for timeout in ["15m", "1s"] {
        let mut sim = warm(1);
        let spec = json!({"warm": {"min": 1}, "timeout": timeout, "gracePeriod": "0s"});
        sim.integration(NAMESPACE, "hello", &spec);
        assert!(sim.settle());
        let done = true;
        sim.execution(NAMESPACE, "one", &json!({}));
        sim.fatal = Some((1, done));
        assert!(!sim.settle());
        sim.restart();
        sim.tenant("acme", "Unknown");
        assert!(sim.pass(290));
        assert_eq!(sim.reason("one"), "Starting");
        assert!(sim.pass(20));
        assert_eq!(sim.reason("one"), "IsolationUnverified");
        assert!(sim.started.is_empty());
    }
}

#[test]
fn a_binding_that_is_given_up_leaves_the_sandbox_to_who_has_it() {
    let mut sim = warm(1);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "two", &json!({}));
    sim.begin_turn();
    // Another leader had given it to this one, which is heard of only now.
    let name = sim.boxes.keys().next().unwrap().clone();
    let sandbox = json!({"pod": name, "uid": sim.pods[&name]["metadata"]["uid"]});
    sim.execution(NAMESPACE, "one", &json!({}));
    let one = sim.executions.get_mut("one").unwrap();
    one["status"] = json!({"attempt": 1, "sandbox": sandbox,
        "times": {"claimed": sim.now.to_string()}});
    sim.annotate("one");
    sim.tell("one");
    sim.annotate("two");
    assert!(sim.end_turn());
    sim.tell("two");
    assert!(sim.settle() && sim.pass(3));
    let given = sim.boxes[&name].given.clone().unwrap().execution;
    assert_eq!(given, sim.executions["one"]["metadata"]["uid"]);
    assert_eq!(sim.reason("one"), "Running");
    assert_eq!(sim.started.values().sum::<u32>(), 2, "in a sandbox each");
    assert!(sim.started.values().all(|count| *count == 1));
}

#[test]
fn one_that_comes_to_nothing_stands_for_nothing() {
    let keyed = json!({"idempotencyKey": "order-7"});
    let mut sim = warm(2);
    sim.execution(NAMESPACE, "first", &keyed);
    sim.execution(NAMESPACE, "second", &keyed);
    // Somebody is faster than the write that binds it, and it is canceled.
    sim.annotate("first");
    sim.one_turn();
    sim.cancel("first");
    assert!(sim.pass(3));
    assert_eq!(sim.reason("first"), "Canceled");
    assert_eq!(sim.reason("second"), "Completed");
    sim.delete("first");
    for name in ["third", "fourth"] {
        sim.execution(NAMESPACE, name, &keyed);
        assert!(sim.pass(3));
        assert_eq!(sim.reason(name), "Duplicate");
    }
    assert_eq!(sim.started.len(), 1);
}

/// The leader dies when it has bound one; the next one finds the tenant shut.
fn shut_once_bound(mut sim: Sim) -> Sim {
    sim.begin_turn();
    sim.serve();
    sim.forget_answers();
    sim.restart_unheard();
    sim.tenant("acme", "Unknown");
    let name = sim.names().into_iter().next().unwrap();
    sim.dial(&name);
    sim
}

/// Bound, by a leader that tells it nothing more, to its only sandbox; which may be given nothing now.
fn bound_and_shut(integration: &serde_json::Value, execution: &serde_json::Value) -> Sim {
    let mut sim = warm(1);
    sim.integration(NAMESPACE, "hello", integration);
    assert!(sim.settle());
    sim.execution(NAMESPACE, "one", execution);
    shut_once_bound(sim)
}

#[test]
fn one_that_was_bound_and_never_begun_stands_for_nothing() {
    let keyed = json!({"idempotencyKey": "order-7"});
    let spec = json!({"warm": {"min": 1}, "startDeadline": "5s"});
    let mut sim = bound_and_shut(&spec, &keyed);
    assert!(sim.pass(20));
    assert_eq!(sim.reason("one"), "IsolationUnverified");
    assert_eq!(sim.executions["one"]["status"]["attempt"], json!(1));
    sim.tenant("acme", "True");
    sim.execution(NAMESPACE, "two", &keyed);
    assert!(sim.pass(3));
    assert_eq!(sim.reason("two"), "Completed");
    assert_eq!(sim.started.values().sum::<u32>(), 1);
}

#[test]
fn one_that_is_bound_has_no_more_time_to_start_than_was_left() {
    let spec = json!({"warm": {"min": 1}, "startDeadline": "60s"});
    let mut sim = warm(1);
    sim.integration(NAMESPACE, "hello", &spec);
    sim.tenant("acme", "Unknown");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(50));
    assert_eq!(sim.reason("one"), "Queued");
    sim.tenant("acme", "True");
    let mut sim = shut_once_bound(sim);
    assert!(sim.pass(9));
    assert_eq!(sim.reason("one"), "Starting");
    assert!(sim.pass(4));
    assert_eq!(sim.reason("one"), "IsolationUnverified");
    assert!(sim.started.is_empty());
}

#[test]
fn one_that_is_told_late_has_all_the_time_that_it_is_given() {
    let spec = json!({"warm": {"min": 1}, "timeout": "1s", "gracePeriod": "0s"});
    let mut sim = bound_and_shut(&spec, &json!({}));
    sim.command = Command::Waits;
    assert!(sim.pass(60));
    assert_eq!(sim.reason("one"), "Starting");
    sim.tenant("acme", "True");
    // It is told, and looked at again before it has said that it begins.
    sim.one_turn();
    sim.book.tick(String::new(), sim.now);
    sim.one_turn();
    assert!(sim.settle() && sim.pass(2));
    assert_eq!(sim.reason("one"), "Running");
}

#[test]
fn thousands_of_ends_of_one_tenant_do_not_keep_those_of_another_waiting() {
    let mut sim = warm(0);
    sim.tenant("globex", "True");
    sim.integration(
        "tenant-globex",
        "hello",
        &json!({"concurrency": {"limit": 1}}),
    );
    for n in 0..2000 {
        // Named before the other tenant, and over as soon as they are seen.
        sim.execution(NAMESPACE, &format!("x{n:04}"), &json!({"input": "{"}));
    }
    sim.execution("tenant-globex", "single", &json!({"input": "{"}));
    assert!(sim.settle());
    let ended = sim
        .writes
        .iter()
        .filter(|write| write.starts_with("Finish"));
    let place = ended.clone().position(|write| write == "Finish single");
    assert_eq!(ended.count(), 2001);
    assert!(place.unwrap() < 40, "it came as number {place:?}");
}

#[test]
fn one_that_has_its_sandbox_runs_what_that_was_made_for() {
    let mut sim = Sim::new();
    let apply = |sim: &mut Sim, image: &str, timeout: &str| {
        let spec = json!({"image": image, "timeout": timeout, "gracePeriod": "0s",
            "warm": {"min": 1, "max": 1}});
        sim.integration(NAMESPACE, "hello", &spec);
    };
    apply(&mut sim, "old", "10s");
    assert!(sim.settle());
    let name = sim.boxes.keys().next().unwrap().clone();
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    sim.begin_turn();
    apply(&mut sim, "new", "20s");
    assert!(sim.end_turn());
    assert_eq!(sim.boxes[&name].allowed_ms, 10_000);
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.settle());
    let mut others = sim.boxes.iter().filter(|(other, _)| **other != name);
    assert!(others.any(|(_, one)| one.allowed_ms == 20_000));
}
