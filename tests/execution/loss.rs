//! Whatever goes while an Execution runs: it ends with the true reason, or goes on, and runs once.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, must, namespace_of, pods::pod_path, said, text, until, within};

const LIMIT: Duration = Duration::from_mins(1);
/// How many sandboxes it may take for one to come to a node of two.
const TRIES: usize = 8;

#[tokio::test]
async fn a_run_outlives_the_leader() {
    Live::run_on_own("a_run_outlives_the_leader", async |live| {
        let tenant = live.proven("outlives", &json!({})).await;
        live.integrate(&tenant, "rest", &["sleep", "15"], &json!({}))
            .await;
        let name = live.execute(&tenant, "rest", &json!({})).await;
        live.until_reason(&tenant, &name, "Running", LIMIT).await;
        let (old, _) = live.until_led(LIMIT, |_| true).await;
        live.kill_process(&old);
        let (object, _) = live.until_over(&tenant, &name, LIMIT).await;
        let ended = said(&object, "Succeeded");
        println!("    {}: {}", ended.reason, ended.message);
        assert_eq!(ended.reason, "Completed", "{object}");
        assert_eq!(object["status"]["attempt"], json!(1), "{object}");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_is_deleted_ends_its_run() {
    Live::run(async |live| {
        let tenant = live.proven("deleted", &json!({})).await;
        live.integrate(&tenant, "rest", &["sleep", "600"], &json!({}))
            .await;
        for (how, body, expected) in [
            ("deleted", json!({}), "Evicted"),
            (
                "deleted by force",
                json!({"gracePeriodSeconds": 0}),
                "NodeLost",
            ),
        ] {
            let name = live.execute(&tenant, "rest", &json!({})).await;
            let object = live.until_reason(&tenant, &name, "Running", LIMIT).await;
            let pod = text(&object, "/status/sandbox/pod");
            let path = pod_path(&namespace_of(&tenant), &pod);
            let answer = live
                .admin
                .send(http::Method::DELETE, &path, "application/json", &body)
                .await;
            assert!(answer.is_ok(), "{answer:?}");
            let (object, took) = live.until_over(&tenant, &name, LIMIT).await;
            let ended = said(&object, "Succeeded");
            println!("    {how}: {}: {}", ended.reason, ended.message);
            within(&format!("{how} -> ended"), took, LIMIT);
            // By force, the kubelet may still have told the sandbox first.
            assert!([expected, "Evicted"].contains(&&*ended.reason), "{object}");
        }
    })
    .await;
}

/// The zone of the node that the leader is on, and the others.
async fn zones(live: &Live) -> (String, Vec<String>) {
    let (leader, _) = live.until_led(LIMIT, |_| true).await;
    let path = pod_path("cloister-system", &leader);
    let pod = must(live.get(&path).await, &leader);
    let (mut leads, mut others) = (String::new(), Vec::new());
    for node in live.list("/api/v1/nodes").await {
        let zone = text(&node, "/metadata/labels/topology.kubernetes.io~1zone");
        if text(&node, "/metadata/name") == text(&pod, "/spec/nodeName") {
            leads = zone;
        } else {
            others.push(zone);
        }
    }
    (leads, others)
}

/// Runs an Integration until it runs on this node, or wherever it likes; gives the Execution, and its
/// node.
async fn runs_on(live: &Live, tenant: &str, name: &str, node: Option<&str>) -> (String, String) {
    for _ in 0..TRIES {
        let execution = live.execute(tenant, name, &json!({})).await;
        let object = live
            .until_reason(tenant, &execution, "Running", LIMIT)
            .await;
        let here = text(&object, "/status/sandbox/node");
        if node.is_none_or(|node| node == here) {
            return (execution, here);
        }
    }
    must(Err(format!("none did in {TRIES}")), "a sandbox comes there")
}

#[tokio::test]
async fn a_frozen_node_ends_its_runs_and_a_retry_runs_elsewhere() {
    Live::run_on_own(
        "a_frozen_node_ends_its_runs_and_a_retry_runs_elsewhere",
        async |live| {
            // Not where the leader is.
            let (leads, others) = zones(live).await;
            assert!(others.len() > 1 && !others.contains(&leads), "{others:?}");
            let elsewhere = json!({"residency": {"regions": ["local-1"], "zones": others}});
            let tenant = live.proven("frozen", &elsewhere).await;
            let small = json!({"cpu": "100m", "memory": "64Mi", "scratch": "1Mi"});
            for (name, retries) in [("once", 0), ("again", 1)] {
                let spec = json!({"retries": retries, "resources": small});
                live.integrate(&tenant, name, &["sleep", "600"], &spec)
                    .await;
            }
            let (once, node) = runs_on(live, &tenant, "once", None).await;
            let (again, _) = runs_on(live, &tenant, "again", Some(&node)).await;
            live.nodes()
                .freeze(&node)
                .unwrap_or_else(|error| panic!("{error}"));
            let (object, took) = live.until_over(&tenant, &once, LIMIT).await;
            let ended = said(&object, "Succeeded");
            println!("    {}: {}", ended.reason, ended.message);
            assert_eq!(ended.reason, "NodeLost", "{object}");
            within("node frozen -> ended", took, LIMIT);

            // What it has to prove itself by may have been on that node, and has to come up first.
            let second = async || match live.execution(&tenant, &again).await {
                object
                    if object["status"]["attempt"] == 2
                        && said(&object, "Succeeded").reason == "Running" =>
                {
                    Ok(object)
                }
                object => Err(object["status"]["conditions"].to_string()),
            };
            let (object, took) = until("the retry runs", 4 * LIMIT, second).await;
            let other = text(&object, "/status/sandbox/node");
            let took = took.as_secs_f64();
            println!("    the retry runs on {other} and not on {node}, {took:.0} s later");
            assert!(!other.is_empty() && other != node, "{object}");
            live.nodes()
                .thaw(&node)
                .unwrap_or_else(|error| panic!("{error}"));
        },
    )
    .await;
}
