//! Each end has its own name, and it is the true one.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, executions::path, said, until, within};

const LIMIT: Duration = Duration::from_mins(1);
/// Within which status says what an Execution waits for.
const SAID: Duration = Duration::from_secs(5);

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

/// It is told what it waits for, and is not kept waiting for longer than was asked.
#[tokio::test]
async fn what_no_node_can_take_says_so_and_ends() {
    Live::run(async |live| {
        let tenant = live
            .proven("huge", &json!({"limits": {"cpu": "100"}}))
            .await;
        let spec = json!({"resources": {"cpu": "64"}, "startDeadline": "15s"});
        live.integrate(&tenant, "huge", &["exit", "0"], &spec).await;
        let name = live.execute(&tenant, "huge", &json!({})).await;
        let waits = async || {
            let now = said(&live.execution(&tenant, &name).await, "Succeeded");
            if now.status == "Unknown" && now.message.contains("no node takes the sandbox") {
                Ok(now.message)
            } else {
                Err(format!("{now:?}"))
            }
        };
        let (message, took) = until("it says what it waits for", SAID, waits).await;
        println!("    says: {message}");
        within("created -> says what it waits for", took, SAID);
        let (object, _) = live.until_over(&tenant, &name, LIMIT).await;
        let ended = said(&object, "Succeeded");
        assert_eq!(ended.reason, "StartDeadlineExceeded", "{object}");
        assert!(ended.message.contains("Insufficient cpu"), "{object}");
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
