//! What goes wrong around a run: writes of which nothing is heard, blocked lines, impostors.

use contract::run::{Cause, Exit};
use serde_json::json;

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
    warm,
};
use crate::dispatch::{line::Key, pod::FENCE_MS};

#[test]
fn a_retry_that_waits_long_for_its_sandbox_is_made_once() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"retries": 1}));
    sim.command = Command::Exits(3);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    sim.refuse_pods = Some("the server is busy");
    assert!(sim.pass(20));
    assert_eq!(sim.reason("one"), "Retrying");
    sim.restart();
    sim.refuse_pods = None;
    assert!(sim.pass(20));
    assert_eq!(sim.reason("one"), "Failed");
    assert_eq!(sim.executions["one"]["status"]["attempt"], json!(2));
    assert_eq!(sim.started.values().copied().sum::<u32>(), 2);
}

#[test]
fn a_write_that_may_have_landed_binds_once() {
    for landed in [true, false] {
        let mut sim = warm(1);
        sim.lose_next_answer = Some(landed);
        sim.execution(NAMESPACE, "one", &json!({}));
        assert!(sim.pass(5));
        assert_eq!(sim.reason("one"), "Completed", "landed: {landed}");
        assert_eq!(sim.started.values().copied().sum::<u32>(), 1);
        assert!(sim.pass(5));
        assert_eq!(sim.boxes.len(), 1, "landed: {landed}");
    }
}

#[test]
fn what_is_blocked_is_not_written_again_and_again() {
    let mut sim = warm(0);
    sim.refuse_pods = Some("exceeded quota, used: 17");
    for n in 0..5 {
        sim.execution(NAMESPACE, &format!("x{n}"), &json!({}));
    }
    assert!(sim.pass(5));
    sim.writes.clear();
    sim.refuse_pods = Some("exceeded quota, used: 18");
    assert!(sim.pass(30));
    let said = sim.writes.iter().filter(|what| *what != "Make");
    assert_eq!(said.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_full_quota_is_not_asked_on_and_on_because_some_stand_ready() {
    let mut sim = warm(1);
    assert!(sim.settle());
    sim.refuse_pods = Some("exceeded quota, used: 1");
    sim.integration(NAMESPACE, "hello", &json!({"warm": {"min": 3}}));
    sim.writes.clear();
    assert!(sim.pass(10));
    let asked = sim.writes.iter().filter(|what| **what == "Make").count();
    // Two are missing: after 0, 0.5, 1.5, 3.5 and 7.5 s.
    assert!((2..=12).contains(&asked), "{asked} times");
    sim.refuse_pods = None;
    assert!(sim.pass(10));
    assert_eq!(sim.boxes.len(), 3);
}

#[test]
fn a_limit_below_what_runs_ends_nobody_and_starts_nobody() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"concurrency": {"limit": 3}}));
    sim.command = Command::Waits;
    for n in 0..5 {
        sim.execution(NAMESPACE, &format!("x{n}"), &json!({}));
    }
    assert!(sim.settle());
    let at_work = |sim: &Sim| sim.boxes.values().filter(|one| one.given.is_some()).count();
    assert_eq!(at_work(&sim), 3);
    sim.integration(NAMESPACE, "hello", &json!({"concurrency": {"limit": 1}}));
    assert!(sim.pass(20));
    for (left, still) in [(3, 2), (2, 1), (1, 1), (1, 1)] {
        assert_eq!(at_work(&sim), left);
        let one = sim.boxes.iter().find(|(_, one)| one.given.is_some());
        let name = one.unwrap().0.clone();
        sim.end(&name, Cause::Completed, Exit::Code(0));
        assert!(sim.settle());
        assert_eq!(at_work(&sim), still);
    }
    assert!(sim.started.values().all(|count| *count == 1));
}

#[test]
fn what_names_no_integration_goes_after_an_hour() {
    let mut sim = Sim::new();
    sim.execution(NAMESPACE, "one", &json!({"integration": "nowhere"}));
    assert!(sim.pass(310));
    assert_eq!(sim.reason("one"), "Rejected");
    assert!(sim.pass(3700));
    assert!(sim.executions.is_empty());
}

#[test]
fn a_command_that_poses_as_its_supervisor_is_not_heard() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    // It has the token, and not what the first session was told.
    let true_one = sim.boxes.get_mut(&name).unwrap();
    let (given, welcomed) = (true_one.given.take(), true_one.welcomed);
    true_one.welcomed = false;
    sim.dial(&name);
    assert!(sim.next_order(&name).is_none(), "it is welcomed");
    let true_one = sim.boxes.get_mut(&name).unwrap();
    (true_one.given, true_one.welcomed) = (given, welcomed);
    sim.dial(&name);
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn a_write_that_landed_unseen_keeps_its_sandbox_until_it_is_seen() {
    // None in reserve: what is given up is what the next one gets.
    let mut sim = warm(0);
    (sim.lose_next_answer, sim.behind) = (Some(true), true);
    sim.execution(NAMESPACE, "one", &json!({}));
    // Made again, it meets a conflict: with itself.
    assert!(sim.settle() && sim.pass(1));
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.settle());
    let one = sim.parsed("one");
    sim.book.execution(&one, sim.now);
    assert!(sim.pass(3));
    for name in ["one", "two"] {
        assert_eq!(sim.reason(name), "Completed", "{name}");
    }
    let pods = |name: &str| sim.executions[name]["status"]["sandbox"]["pod"].clone();
    assert_ne!(pods("one"), pods("two"));
    assert!(
        sim.started.values().all(|count| *count == 1),
        "{:?}",
        sim.started
    );
}

#[test]
fn what_goes_with_its_tenant_is_told_nothing() {
    let mut sim = Sim::new();
    for number in 0..40 {
        let nowhere = json!({"integration": "nowhere"});
        sim.execution(NAMESPACE, &format!("orphan-{number}"), &nowhere);
    }
    sim.tenant_goes("acme");
    assert!(sim.pass(10));
    assert_eq!(sim.writes, [] as [String; 0]);
    sim.tenant("acme", "True");
    assert!(sim.pass(2));
    assert!(!sim.writes.is_empty(), "the control");
}

#[test]
fn sandboxes_outlive_a_moment_in_which_their_tenant_is_not_proven() {
    let mut sim = warm(2);
    let before = sim.names();
    sim.tenant("acme", "Unknown");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(20));
    assert_eq!((sim.names(), sim.reason("one")), (before, "Queued".into()));
    sim.tenant("acme", "True");
    sim.writes.clear();
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    let first = sim.writes.iter().find(|write| !write.starts_with("Line"));
    assert_eq!(first.unwrap(), "Bind one", "{:?}", sim.writes);
}

#[test]
fn who_waits_is_told_what_the_sandbox_lacks() {
    let mut sim = warm(1);
    let line = Key::new(NAMESPACE, "hello");
    let name = sim.boxes.keys().next().unwrap().clone();
    sim.silence(&name);
    let lost = "a sandbox has lost its session with the operator, and dials again";
    assert_eq!(sim.book.obstacle(&line, sim.now).message, lost);
    sim.dial(&name);
    let unproven = "a sandbox is there, and its proof is awaited";
    assert_eq!(sim.book.obstacle(&line, sim.now).message, unproven);
    sim.lose_pod(&name);
    let none = "a sandbox is being made";
    assert_eq!(sim.book.obstacle(&line, sim.now).message, none);
}

#[test]
fn a_sandbox_on_a_silent_node_is_not_waited_for() {
    let mut sim = warm(0);
    sim.dark = Some("node-b");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(9));
    assert_eq!(sim.boxes.len(), 1, "it may still come up");
    assert!(sim.pass(10));
    assert_eq!(sim.reason("one"), "Completed");
    let nodes = |sim: &Sim| -> Vec<String> {
        let pods = sim.pods.values();
        pods.map(|pod| pod["spec"]["nodeName"].to_string())
            .collect()
    };
    // The next one is placed elsewhere at once.
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.settle());
    assert_eq!(sim.reason("two"), "Completed");
    // It is gone when nothing was heard of it for a minute.
    assert!(sim.pass(70));
    assert_eq!(nodes(&sim), [""; 0]);
}

#[test]
fn where_others_took_long_more_time_is_given() {
    let mut sim = warm(0);
    sim.dark = Some("node-b");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let slow = sim.boxes.keys().next().unwrap().clone();
    assert!(sim.pass(9));
    sim.dial(&slow);
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    sim.execution(NAMESPACE, "two", &json!({}));
    let others = |sim: &Sim| sim.names().iter().filter(|name| **name != slow).count();
    assert!(sim.pass(17));
    assert_eq!(others(&sim), 1, "it may still come up");
    assert!(sim.pass(3));
    assert_eq!(others(&sim), 2);
    // Those that are fast have it forgotten.
    sim.dark = None;
    for number in 0..20 {
        sim.execution(NAMESPACE, &format!("fast-{number}"), &json!({}));
        assert!(sim.pass(2));
    }
    sim.dark = Some("node-b");
    sim.execution(NAMESPACE, "last", &json!({}));
    assert!(sim.pass(11));
    assert_eq!(sim.reason("last"), "Completed", "by another one");
}

#[test]
fn what_its_image_took_is_no_measure_for_others() {
    let mut sim = warm(0);
    sim.dark = Some("node-b");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let slow = sim.boxes.keys().next().unwrap().clone();
    sim.fares(&slow, fetching());
    assert!(sim.pass(50));
    // It dials before its kubelet has said that it runs.
    sim.dial(&slow);
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.pass(12));
    assert_eq!(sim.reason("two"), "Completed", "by another one");
}

#[test]
fn a_new_leader_gives_who_starts_as_long_as_anybody() {
    let mut sim = warm(0);
    sim.dark = Some("node-b");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.pass(9));
    sim.now += jiff::SignedDuration::from_secs(11);
    sim.restart_unheard();
    assert!(sim.pass(9));
    assert_eq!(sim.reason("one"), "Queued", "it may still come up");
    assert!(sim.pass(3));
    assert_eq!(sim.reason("one"), "Completed", "by another one");
}

#[test]
fn who_starts_on_a_node_that_falls_silent_is_not_waited_for() {
    let mut sim = warm(0);
    sim.dark = Some("node-b");
    sim.integration(NAMESPACE, "hello", &json!({"warm": {"min": 1}}));
    assert!(sim.settle());
    let neighbour = sim.boxes.keys().next().unwrap().clone();
    sim.dial(&neighbour);
    sim.integration(NAMESPACE, "other", &json!({"warm": {"min": 1}}));
    assert!(sim.settle() && sim.pass(1));
    // Its neighbour says something once more.
    sim.show(&neighbour);
    assert!(sim.pass(1));
    sim.silence(&neighbour);
    let others = |sim: &Sim| -> Vec<String> {
        let is_other = |pod: &&serde_json::Value| {
            let labels = &pod["metadata"]["labels"];
            labels.to_string().contains("other")
        };
        let pods = sim.pods.values().filter(is_other);
        pods.map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(sim.pass(14));
    assert_eq!(others(&sim), ["node-b"], "its node spoke a moment ago");
    assert!(sim.pass(3));
    assert!(others(&sim).contains(&"node-a".to_owned()));
}

#[test]
fn no_more_than_one_other_is_made_for_one_that_is_not_heard() {
    let mut sim = warm(0);
    sim.execution(NAMESPACE, "one", &json!({}));
    for (dark, made) in [("node-b", 1), ("node-c", 2), ("node-d", 2), ("node-e", 2)] {
        sim.dark = Some(dark);
        assert!(sim.pass(11));
        assert_eq!(sim.boxes.len(), made, "{dark}");
    }
}

#[test]
fn of_two_the_one_that_is_heard_stays() {
    let mut sim = warm(1);
    let name = sim.boxes.keys().next().unwrap().clone();
    sim.dark = Some("node-b");
    sim.silence(&name);
    assert!(sim.pass(25));
    assert_eq!(sim.boxes.len(), 1, "who was silent went");
    assert!(!sim.boxes.contains_key(&name));
}

/// A run of an Integration that asks for so many retries, at work.
fn at_work_with(retries: i32) -> (Sim, String) {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"retries": retries}));
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    (sim, name)
}

#[test]
fn another_attempt_begins_only_when_the_first_must_have_ended_itself() {
    // What a sandbox has begun when its session dies is over 10 s later at most, and then the
    // time that its own end takes.
    let begins = i64::from(FENCE_MS) / 1000 + 10;
    for lose in [Sim::silence, Sim::lose_pod] {
        let (mut sim, name) = at_work_with(1);
        lose(&mut sim, &name);
        assert!(sim.pass(begins));
        assert_eq!(sim.reason("one"), "Running");
        assert_eq!(sim.started.values().sum::<u32>(), 1);
        sim.command = Command::Exits(0);
        assert!(sim.pass(20));
        assert_eq!(sim.reason("one"), "Completed");
        assert_eq!(sim.executions["one"]["status"]["attempt"], json!(2));
    }
}

#[test]
fn a_run_that_would_not_end_itself_is_not_made_again() {
    for lose in [Sim::silence, Sim::lose_pod] {
        let (mut sim, name) = at_work_with(0);
        // Asked for when it is too late to tell the sandbox.
        sim.integration(NAMESPACE, "hello", &json!({"retries": 1}));
        lose(&mut sim, &name);
        assert!(sim.pass(60));
        assert_eq!(sim.reason("one"), "NodeLost");
        assert_eq!(sim.started.values().sum::<u32>(), 1);
    }
}

/// Of its pod nothing is known but what the status of the run says.
#[test]
fn neither_is_one_whose_pod_goes_while_nobody_leads() {
    for (retries, end, starts) in [(0, "NodeLost", 1), (1, "Completed", 2)] {
        let (mut sim, name) = at_work_with(retries);
        sim.integration(NAMESPACE, "hello", &json!({"retries": 1}));
        sim.pods.remove(&name);
        sim.boxes.remove(&name);
        sim.restart();
        sim.command = Command::Exits(0);
        assert!(sim.pass(100));
        assert_eq!(sim.reason("one"), end, "retries: {retries}");
        assert_eq!(sim.started.values().sum::<u32>(), starts);
    }
}

#[test]
fn the_end_of_the_first_sandbox_is_no_silence_of_the_second() {
    let (mut sim, name) = at_work_with(1);
    sim.slow_ends = true;
    sim.end(&name, Cause::Canceled, Exit::Signal(15));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Retrying");
    // The session lasts until the pod is gone.
    sim.silence(&name);
    assert!(sim.pass(10));
    assert_eq!(sim.reason("one"), "Running");
    assert!(sim.pass(100));
    assert_eq!(sim.reason("one"), "Running");
    assert_eq!(sim.executions["one"]["status"]["attempt"], json!(2));
}

/// Its room in the tenant's quota may be what the next one waits for.
#[test]
fn a_used_sandbox_goes_at_once_where_somebody_waits_for_one() {
    let mut sim = warm(1);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let used = at_work(&sim);
    sim.refuse_pods = Some("exceeded quota");
    sim.execution(NAMESPACE, "two", &json!({}));
    assert!(sim.settle());
    sim.end(&used, Cause::Completed, Exit::Code(0));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
    assert!(!sim.names().contains(&used), "it is there still");
}

#[test]
fn a_spec_that_is_changed_takes_no_time_from_what_runs() {
    let mut sim = warm(1);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(120));
    let shorter = json!({"warm": {"min": 1}, "timeout": "1s", "gracePeriod": "0s"});
    sim.integration(NAMESPACE, "hello", &shorter);
    assert!(sim.settle() && sim.pass(60));
    assert_eq!(sim.reason("one"), "Running");
    // Nor does who leads next take any, who knows only what the spec says now.
    sim.restart();
    assert!(sim.settle() && sim.pass(60));
    assert_eq!(sim.reason("one"), "Running");
    let name = at_work(&sim);
    sim.end(&name, Cause::TimedOut, Exit::Signal(15));
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "TimedOut");
}

#[test]
fn an_end_that_waits_for_a_leader_is_not_called_late() {
    let mut sim = warm(1);
    sim.command = Command::Waits;
    let short = json!({"warm": {"min": 1}, "timeout": "1s", "gracePeriod": "0s"});
    sim.integration(NAMESPACE, "hello", &short);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    sim.silence(&name);
    sim.end(&name, Cause::Completed, Exit::Code(0));
    // Nobody leads for a minute; then one decides before the sandbox has dialled.
    sim.now += jiff::SignedDuration::from_mins(1);
    sim.restart_unheard();
    assert!(sim.settle());
    sim.dial(&name);
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

/// A pod whose network stands, and whose container waits for its image.
fn fetching() -> serde_json::Value {
    json!({
        "phase": "Pending", "hostIP": "192.0.2.11",
        "conditions": [{"type": "PodReadyToStartContainers", "status": "True"}],
        "initContainerStatuses": [{"name": "install", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}],
        "containerStatuses": [{"name": "command", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}],
    })
}

#[test]
fn an_image_may_take_as_long_as_it_takes() {
    let mut sim = warm(0);
    let patient = json!({"startDeadline": "20m"});
    sim.integration(NAMESPACE, "hello", &patient);
    sim.dark = Some("node-a");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = sim.boxes.keys().next().unwrap().clone();
    sim.fares(&name, fetching());
    assert!(sim.pass(600));
    assert_eq!(sim.names(), [name.clone()].into());
    let message = sim.message("one");
    assert!(message.contains("fetches its image"), "{message}");
    // It is there, and the container has just begun: nobody is late yet.
    sim.fares(&name, json!({"phase": "Running", "hostIP": "192.0.2.11"}));
    assert!(sim.pass(5));
    assert_eq!(sim.names(), [name.clone()].into());
    sim.dial(&name);
    assert!(sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn who_fetches_on_a_node_that_is_lost_is_not_waited_for() {
    let mut sim = warm(0);
    sim.dark = Some("node-a");
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = sim.boxes.keys().next().unwrap().clone();
    sim.fares(&name, fetching());
    assert!(sim.pass(20));
    assert_eq!(sim.boxes.len(), 1);
    sim.cluster.nodes.get_mut("node-a").unwrap().ready = false;
    assert!(sim.pass(2));
    assert_eq!(sim.boxes.len(), 2);
    assert!(sim.pass(60));
    assert!(!sim.boxes.contains_key(&name));
}

#[test]
fn an_end_that_comes_while_a_word_is_written_is_written_right_after() {
    let mut sim = warm(1);
    sim.command = Command::Waits;
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    // At the next tick it is to be said that it runs; before the answer, all the rest happens.
    sim.now += jiff::SignedDuration::from_secs(2);
    sim.book.tick(String::new(), sim.now);
    sim.begin_turn();
    let name = at_work(&sim);
    sim.end(&name, Cause::Completed, Exit::Code(0));
    sim.serve();
    sim.tell("one");
    sim.turn_for_nothing();
    assert!(sim.end_turn() && sim.settle());
    assert_eq!(sim.reason("one"), "Completed");
}

#[test]
fn sandboxes_that_break_in_one_moment_end_one_that_waits() {
    let mut sim = warm(0);
    sim.integration(NAMESPACE, "hello", &json!({"concurrency": {"limit": 5}}));
    sim.fault = Some(|seen| seen.root_read_only = false);
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        sim.execution(NAMESPACE, name, &json!({}));
    }
    assert!(sim.settle());
    let ended = names
        .iter()
        .filter(|name| sim.reason(name) == "SandboxUnproven");
    assert_eq!(ended.count(), 1);
    assert!(sim.started.is_empty());
}
