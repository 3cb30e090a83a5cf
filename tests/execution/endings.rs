//! Each end has its own name, and it is the true one.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, executions::path, must, namespace_of, said, text};

const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_the_command_does_is_told_truly() {
    Live::run(async |live| {
        let tenant = live.proven("ends", &json!({})).await;
        let small = json!({"resources": {"memory": "64Mi"}});
        let none = json!({});
        for (name, arguments, spec, expected) in [
            ("good", &["exit", "0"][..], &none, "Completed"),
            ("bad", &["exit", "3"], &none, "Failed"),
            ("greedy", &["greedy", "memory"], &small, "OOMKilled"),
            (
                "slow",
                &["sleep", "60"],
                &json!({"timeout": "2s"}),
                "TimedOut",
            ),
            ("absent", &[], &json!({"command": ["/nothing"]}), "Rejected"),
        ] {
            live.integrate(&tenant, name, arguments, spec).await;
            let (object, ended) = live.run_once(&tenant, name, LIMIT).await;
            println!("    {name}: {}: {}", ended.reason, ended.message);
            assert_eq!(ended.reason, expected, "{object}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_canceled_one_ends_within_its_grace() {
    Live::run(async |live| {
        let tenant = live.proven("cancel", &json!({})).await;
        live.integrate(&tenant, "rest", &["sleep", "600"], &json!({}))
            .await;
        let name = live.execute(&tenant, "rest", &json!({})).await;
        live.until_reason(&tenant, &name, "Running", LIMIT).await;
        let path = format!("{}/{name}", path(&tenant, "executions"));
        live.change(&path, &json!({"spec": {"cancel": "Requested"}}))
            .await;
        let (object, took) = live
            .until_over(&tenant, &name, Duration::from_secs(7))
            .await;
        println!("    canceled after {:.2} s", took.as_secs_f64());
        assert_eq!(said(&object, "Succeeded").reason, "Canceled", "{object}");
    })
    .await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named() {
    Live::run(async |live| {
        let tenant = live.proven("image", &json!({})).await;
        let spec = json!({"image": "localhost/cloister/none:dev", "startDeadline": "30s"});
        live.integrate(&tenant, "none", &[], &spec).await;
        let (object, ended) = live.run_once(&tenant, "none", LIMIT).await;
        println!("    {}: {}", ended.reason, ended.message);
        assert_eq!(ended.reason, "ImageUnavailable", "{object}");
    })
    .await;
}

/// The operator's own identity makes a sandbox that is not what it must be: it runs on another
/// kernel than the tenant's.
#[tokio::test]
async fn a_sandbox_on_the_wrong_kernel_is_refused_and_named() {
    Live::run(async |live| {
        let tenant = live.proven("seeded", &json!({})).await;
        let spec = json!({"warm": {"min": 1}, "concurrency": {"limit": 1}});
        live.integrate(&tenant, "rest", &["sleep", "20"], &spec)
            .await;
        live.until_warm(&tenant, "rest", LIMIT).await;
        let first = live.execute(&tenant, "rest", &json!({})).await;
        live.until_reason(&tenant, &first, "Running", LIMIT).await;
        // It waits for the limit, so that nothing but the seeded sandbox can end it.
        let second = live.execute(&tenant, "rest", &json!({})).await;
        live.until_reason(&tenant, &second, "Queued", LIMIT).await;

        let mut pod = live.sandboxes(&tenant, "rest").await.remove(0);
        pod["metadata"] = json!({
            "name": "cloister-run-seeded", "namespace": namespace_of(&tenant),
            "labels": pod["metadata"]["labels"], "annotations": pod["metadata"]["annotations"],
            "ownerReferences": pod["metadata"]["ownerReferences"],
        });
        (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
        pod["status"] = json!(null);
        for field in ["nodeName", "hostUsers"] {
            pod["spec"][field] = json!(null);
        }
        pod["spec"]["runtimeClassName"] = json!("gvisor");
        must(live.admin.operator().create(&pod).await, "seed a sandbox");

        let (object, _) = live.until_over(&tenant, &second, LIMIT).await;
        let ended = said(&object, "Succeeded");
        println!("    {}: {}", ended.reason, ended.message);
        assert_eq!(ended.reason, "SandboxUnproven", "{object}");
        assert!(
            ended.message.contains("Runtime: expected Host, saw GVisor"),
            "{object}"
        );
        assert_eq!(text(&object, "/status/times/started"), "", "it ran");
    })
    .await;
}
