//! The first packet: a command whose first instruction dials is too late for a policy that is
//! not in force yet, unless somebody has looked before.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tests::{
    live::{
        Live,
        executions::{IMAGE, has_started, is_over, path, time},
        must, pause,
        pods::{conforming, pod_path},
        policies_path, said, text, until,
    },
    measure::now,
    server::unique,
};

/// Executions whose first instruction dials: name, runtime, how many, how many at once, what each may
/// use. A sandbox of gVisor's takes more to come up.
const RUNS: [(&str, &str, usize, i32, [&str; 2]); 2] = [
    ("race", "Hardened", 160, 10, ["50m", "48Mi"]),
    ("race-gvisor", "GVisor", 40, 4, ["250m", "128Mi"]),
];
/// All of them.
const PODS: usize = RUNS[0].2 + RUNS[1].2;
/// Creations under way at once.
const AT_ONCE: usize = 16;
const LIMIT: Duration = Duration::from_mins(15);
/// How long after that the operator may not have heard of it, in milliseconds: four deletions, one
/// after the other, on a machine that is full, and then a watch.
const KNOWN: f64 = 4000.0;
/// After so many that have ended somebody takes the policies away: twice as many as may run at once. Each
/// time voids every proof until a probe has looked, which takes as long as it takes those that run next
/// to start.
const SABOTAGE: usize = 28;

/// Has a bare pod's first instruction dial; gives its name.
async fn dial_at_once(live: &Live, namespace: &str, addresses: &[String]) -> String {
    let name = unique("bare");
    let mut pod = conforming(namespace, &name, &[]);
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!(IMAGE);
    container["command"] = json!(["/hello", "race"]);
    container["args"] = json!(addresses);
    must(live.admin.create(&pod).await, "create the bare pod");
    name
}

/// What a bare pod has seen, once it has dialled.
async fn seen_by(live: &Live, namespace: &str, name: &str) -> Vec<Value> {
    let log = pod_path(namespace, name) + "/log";
    let (said, _) = until("the bare pod has dialled", LIMIT, async || {
        let said = live.admin.text(&log).await;
        if said.contains("dialled") {
            Ok(said)
        } else {
            Err(said)
        }
    })
    .await;
    answered(&said)
}

/// Without the gate, in a namespace whose policy comes late: it is made when the pod runs, as far as
/// anybody can tell, so that it finds the first packet gone. Says who answered that.
async fn ungated(live: &Live, addresses: &[String]) -> Vec<Value> {
    let namespace = live.open_namespace().await;
    let first = dial_at_once(live, &namespace, addresses).await;
    let path = pod_path(&namespace, &first);
    let runs = async || match text(&must(live.get(&path).await, &path), "/status/phase") {
        phase if phase.is_empty() || phase == "Pending" => Err(phase),
        _ => Ok(()),
    };
    until("the bare pod runs", LIMIT, runs).await;
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "deny-all", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    });
    must(live.admin.create(&policy).await, "create the late policy");
    let seen = seen_by(live, &namespace, &first).await;
    // Once it is in force, it shuts the same addresses to the same command.
    until("the late policy is in force", LIMIT, async || {
        let next = dial_at_once(live, &namespace, addresses).await;
        match seen_by(live, &namespace, &next).await {
            nobody if nobody.is_empty() => Ok(()),
            some => Err(format!("{some:?} answered")),
        }
    })
    .await;
    seen
}

fn answered(report: &str) -> Vec<Value> {
    let report: Value = must(serde_json::from_str(report.trim()), report);
    assert!(report["dialled"].as_i64() > Some(3), "{report}");
    report["answered"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn no_first_packet_gets_out_while_policies_come_late() {
    Live::run(async |live| {
        let tenant = live
            .proven("race", &json!({"limits": {"pods": 24, "cpu": "32"}}))
            .await;
        let addresses = live.shut_to(&tenant).await;
        assert!(addresses.len() > 8, "{addresses:?}");

        // The attack itself must work where nobody looks first.
        let seen = ungated(live, &addresses).await;
        println!("    with a late policy, and without the gate: {seen:?} answered");
        assert!(!seen.is_empty(), "nobody answers: not a test of anything");

        let mut arguments = vec!["race"];
        arguments.extend(addresses.iter().map(String::as_str));
        for (name, runtime, _, limit, [cpu, memory]) in RUNS {
            let spec = json!({
                "runtime": runtime, "concurrency": {"limit": limit},
                "startDeadline": "30m", "ttl": "1h",
                "resources": {"cpu": cpu, "memory": memory, "scratch": "1Mi"},
            });
            live.integrate(&tenant, name, &arguments, &spec).await;
        }
        let names = RUNS.map(|(name, _, count, ..)| std::iter::repeat_n(name, count));
        let create = names.into_iter().flatten();
        let create = create.map(async |name| live.execute(&tenant, name, &json!({})).await);
        let created = stream::iter(create).buffer_unordered(AT_ONCE).count().await;
        assert_eq!(created, PODS);

        let mut sabotages = Vec::new();
        let all_over = live.until_all_over(&tenant, PODS, LIMIT);
        let (objects, took) = tokio::select! {
            over = all_over => over,
            () = sabotage(live, &tenant, &mut sabotages) => unreachable!("it goes on"),
        };
        let ran = nobody_answered(&objects, &sabotages);
        let raced = among_starts(&objects, &sabotages);
        println!(
            "    {ran:?} of {PODS} ran in {:.0} s, in which the policies went {raced} times",
            took.as_secs_f64()
        );
        assert!(raced >= 2, "gone {sabotages:?}: nobody had to race");
    })
    .await;
}

/// Takes every policy away, again and again: each comes back after pods that start in that
/// moment, as with an enforcer that is slow. Keeps when that began, in milliseconds since 1970.
async fn sabotage(live: &Live, tenant: &str, times: &mut Vec<f64>) {
    let mut next = SABOTAGE;
    loop {
        pause(Duration::from_secs(1)).await;
        let executions = live.list(&path(tenant, "executions")).await;
        let over = executions.iter().filter(|one| is_over(one)).count();
        if over < next {
            continue;
        }
        next = over + SABOTAGE;
        times.push(now());
        for policy in live.list(&policies_path(tenant)).await {
            let name = text(&policy, "/metadata/name");
            live.delete(&format!("{}/{name}", policies_path(tenant)))
                .await;
        }
    }
}

/// How many of these moments have starts before and after them.
fn among_starts(objects: &[Value], moments: &[f64]) -> usize {
    let started = objects.iter().filter(|object| has_started(object));
    let started = started.map(|object| time(object, "started").as_duration().as_secs_f64());
    let started: Vec<f64> = started.map(|seconds| seconds * 1000.0).collect();
    let between = |moment: &&f64| {
        started.iter().any(|start| start < moment) && started.iter().any(|start| start > moment)
    };
    moments.iter().filter(between).count()
}

/// Whether a command may have run while the policies were taken away before its eyes: it had its
/// sandbox by the time that was known, and had not ended before. No gate keeps an admin from that.
fn was_there(object: &Value, sabotages: &[f64]) -> bool {
    let at = |name| time(object, name).as_duration().as_secs_f64() * 1000.0;
    let (claimed, ended) = (at("claimed"), at("ended"));
    let mut sabotages = sabotages.iter();
    sabotages.any(|begun| claimed < begun + KNOWN && *begun < ended)
}

/// Fails if anybody answered a command, or if more than a few that ran do not say; says how many ran of each
/// Integration while the policies stood, or came late.
fn nobody_answered(objects: &[Value], sabotages: &[f64]) -> BTreeMap<String, usize> {
    let (mut witnesses, mut untold) = (0, Vec::new());
    let mut reasons = BTreeMap::<String, usize>::new();
    let mut ran = BTreeMap::<String, usize>::new();
    for object in objects {
        let ended = said(object, "Succeeded");
        let how = format!("{}: {}", ended.reason, ended.message);
        *reasons.entry(how).or_default() += 1;
        let result = text(object, "/status/result");
        if has_started(object) || !result.is_empty() {
            if result.is_empty() {
                // Lost with its node, or with its leader, on a machine that is full.
                untold.push(said(object, "Succeeded").reason);
                continue;
            }
            if was_there(object, sabotages) {
                witnesses += 1;
                continue;
            }
            assert_eq!(answered(&result), [] as [Value; 0], "{object}");
            *ran.entry(text(object, "/spec/integration")).or_default() += 1;
        }
    }
    println!("    ended as {reasons:#?}; no first packet got out; {witnesses} ran meanwhile");
    let few = untold.len() <= PODS / 10;
    assert!(few, "they ran, and nobody knows what they saw: {untold:?}");
    for (name, _, count, ..) in RUNS {
        let enough = ran.get(name).is_some_and(|ran| *ran > count / 4);
        assert!(enough, "too few ran to show anything: {ran:?}, {reasons:?}");
    }
    ran
}
