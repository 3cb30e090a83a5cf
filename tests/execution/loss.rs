//! Whatever goes while an Execution runs: it ends with the true reason, or goes on, and runs once.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, namespace_of, pods::pod_path, said, text, within};

const LIMIT: Duration = Duration::from_mins(1);

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

#[tokio::test]
async fn a_frozen_node_ends_its_runs_and_a_retry_runs_elsewhere() {
    Live::run_on_own(
        "a_frozen_node_ends_its_runs_and_a_retry_runs_elsewhere",
        async |live| {
            let tenant = live.proven("frozen", &json!({})).await;
            let (leader, _) = live.until_led(LIMIT, |_| true).await;
            let leads = text(
                &live
                    .get(&pod_path("cloister-system", &leader))
                    .await
                    .unwrap_or_default(),
                "/spec/nodeName",
            );
            live.integrate(&tenant, "rest", &["sleep", "600"], &json!({}))
                .await;
            // One that is not on the leader's node.
            let mut found = None;
            for _ in 0..6 {
                let name = live.execute(&tenant, "rest", &json!({})).await;
                let object = live.until_reason(&tenant, &name, "Running", LIMIT).await;
                let node = text(&object, "/status/sandbox/node");
                if node != leads {
                    found = Some((name, node));
                    break;
                }
            }
            let (name, node) = found.unwrap_or_default();
            assert_ne!(node, "", "every sandbox came to the leader's node");
            live.nodes()
                .freeze(&node)
                .unwrap_or_else(|error| panic!("{error}"));
            let (object, took) = live.until_over(&tenant, &name, LIMIT).await;
            let ended = said(&object, "Succeeded");
            println!("    {}: {}", ended.reason, ended.message);
            assert_eq!(ended.reason, "NodeLost", "{object}");
            within("node frozen -> ended", took, LIMIT);
            live.nodes()
                .thaw(&node)
                .unwrap_or_else(|error| panic!("{error}"));
        },
    )
    .await;
}
