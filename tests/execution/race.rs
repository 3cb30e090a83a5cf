//! The first packet: a command whose first instruction dials is too late for a policy that is
//! not in force yet, unless somebody has looked before.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tests::{
    live::{
        Live,
        executions::IMAGE,
        must, pause,
        pods::{conforming, pod_path, targets_of},
        policies_path, said, text, until,
    },
    server::unique,
};

/// Executions whose first instruction dials.
const PODS: usize = 200;
/// Creations under way at once.
const AT_ONCE: usize = 16;
const LIMIT: Duration = Duration::from_mins(10);
/// How often somebody takes the policies away meanwhile.
const SABOTAGE: Duration = Duration::from_secs(40);

/// Addresses and ports that a tenant's pods must not reach and that answer whoever gets there.
async fn forbidden(live: &Live, tenant: &str) -> Vec<String> {
    let targets = targets_of(&live.tenant(tenant).await).into_iter();
    let shut = targets.filter(|target| target["expect"] == "Blocked");
    let shut = shut.map(|target| text(&target, "/address"));
    shut.filter(|address| address.parse::<std::net::SocketAddr>().is_ok())
        .collect()
}

/// What a bare pod saw whose first instruction dials, with a policy that comes after the pod.
async fn ungated(live: &Live, namespace: &str, addresses: &[String]) -> String {
    let name = unique("bare");
    let mut pod = conforming(namespace, &name, &[]);
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!(IMAGE);
    container["command"] = json!(["/hello", "race"]);
    container["args"] = json!(addresses);
    must(live.admin.create(&pod).await, "create the bare pod");
    let log = pod_path(namespace, &name) + "/log";
    let (said, _) = until("the bare pod has dialled", LIMIT, async || {
        let said = live.admin.text(&log).await;
        if said.contains("dialled") {
            Ok(said)
        } else {
            Err(said)
        }
    })
    .await;
    said
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
        let addresses = forbidden(live, &tenant).await;
        assert!(addresses.len() > 3, "{addresses:?}");

        // The attack itself must work where nobody looks first.
        let open = live.open_namespace().await;
        let seen = answered(&ungated(live, &open, &addresses).await);
        println!("    without a policy, and without the gate: {seen:?} answered");
        assert!(!seen.is_empty(), "nobody answers: not a test of anything");

        let mut arguments = vec!["race"];
        arguments.extend(addresses.iter().map(String::as_str));
        let spec = json!({
            "concurrency": {"limit": 12}, "startDeadline": "30m", "ttl": "1h",
            "resources": {"cpu": "50m", "memory": "48Mi", "scratch": "1Mi"},
        });
        live.integrate(&tenant, "race", &arguments, &spec).await;
        let create = (0..PODS).map(async |_| live.execute(&tenant, "race", &json!({})).await);
        let names: Vec<String> = stream::iter(create)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        assert_eq!(names.len(), PODS);

        let all_over = live.until_all_over(&tenant, PODS, LIMIT);
        let (objects, took) = tokio::select! {
            over = all_over => over,
            () = sabotage(live, &tenant) => unreachable!("it goes on"),
        };
        let ran = nobody_answered(&objects);
        println!("    {ran} of {PODS} ran in {:.0} s", took.as_secs_f64());
    })
    .await;
}

/// Takes every policy away, again and again: each comes back after pods that start in that
/// moment, as with an enforcer that is slow.
async fn sabotage(live: &Live, tenant: &str) {
    loop {
        pause(SABOTAGE).await;
        for policy in live.list(&policies_path(tenant)).await {
            let name = text(&policy, "/metadata/name");
            live.delete(&format!("{}/{name}", policies_path(tenant)))
                .await;
        }
    }
}

/// Fails if anybody answered a command; says how many commands ran.
fn nobody_answered(objects: &[Value]) -> usize {
    let mut reasons = BTreeMap::<String, usize>::new();
    let mut ran = 0;
    for object in objects {
        let ended = said(object, "Succeeded");
        let how = format!("{}: {}", ended.reason, ended.message);
        *reasons.entry(how).or_default() += 1;
        let result = text(object, "/status/result");
        if !result.is_empty() {
            ran += 1;
            assert_eq!(answered(&result), [] as [Value; 0], "{object}");
        }
    }
    println!("    ended as {reasons:#?}; no first packet got out");
    assert!(ran > PODS / 4, "too few ran to show anything: {reasons:?}");
    ran
}
