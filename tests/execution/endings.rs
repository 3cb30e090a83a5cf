//! Each end has its own name, and it is the true one.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, executions::path, said};

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
