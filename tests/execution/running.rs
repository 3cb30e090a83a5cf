//! An Execution that nothing happens to.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tests::live::{
    Live,
    executions::{between, time},
    pause, said, text, until,
};

const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_warm_sandbox_is_used_once_and_replaced() {
    Live::run(async |live| {
        let tenant = live.proven("warm", &json!({})).await;
        live.integrate(&tenant, "hello", &["world"], &json!({"warm": {"min": 2}}))
            .await;
        let took = live.until_warm(&tenant, "hello", LIMIT).await;
        println!("    two sandboxes proven after {:.2} s", took.as_secs_f64());
        let mut pods = BTreeSet::new();
        for _ in 0..6 {
            live.until_warm(&tenant, "hello", LIMIT).await;
            let ready = async || {
                let there = live.sandboxes(&tenant, "hello").await.len();
                if there >= 2 {
                    Ok(())
                } else {
                    Err(format!("{there} sandboxes"))
                }
            };
            until("it is warm again", LIMIT, ready).await;
            let input = json!({"input": "{\"n\": 1}"});
            let name = live.execute(&tenant, "hello", &input).await;
            let (object, _) = live.until_over(&tenant, &name, LIMIT).await;
            assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
            assert_eq!(said(&object, "SandboxVerified").status, "True", "{object}");
            assert!(
                object["status"]["proof"]["passed"].as_i64() > Some(15),
                "{object}"
            );
            assert!(
                text(&object, "/status/result").contains("world"),
                "{object}"
            );
            assert_ne!(text(&object, "/status/sandbox/zone"), "");
            println!(
                "    seen -> claimed {:.1} ms, -> started {:.1} ms, -> ended {:.1} ms",
                between(&object, "seen", "claimed"),
                between(&object, "seen", "started"),
                between(&object, "seen", "ended"),
            );
            assert!(
                pods.insert(text(&object, "/status/sandbox/pod")),
                "used twice"
            );
        }
        let gone = async || {
            let there = live.sandboxes(&tenant, "hello").await;
            let used = there.iter().map(|pod| text(pod, "/metadata/name"));
            let used: Vec<_> = used.filter(|name| pods.contains(name)).collect();
            if used.is_empty() {
                Ok(())
            } else {
                Err(format!("{used:?}"))
            }
        };
        until("used sandboxes are gone", LIMIT, gone).await;
    })
    .await;
}

#[tokio::test]
async fn a_cold_one_waits_for_its_sandbox_and_says_so() {
    Live::run(async |live| {
        let tenant = live.proven("cold", &json!({})).await;
        live.integrate(&tenant, "hello", &["cold"], &json!({}))
            .await;
        let name = live.execute(&tenant, "hello", &json!({})).await;
        let (object, _) = live.until_over(&tenant, &name, LIMIT).await;
        assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
        println!(
            "    seen -> started {:.0} ms",
            between(&object, "seen", "started")
        );
        let orphan = live.execute(&tenant, "nowhere", &json!({})).await;
        let waiting = live
            .until_reason(&tenant, &orphan, "Queued", Duration::from_secs(5))
            .await;
        assert!(
            said(&waiting, "Succeeded")
                .message
                .contains("no Integration nowhere")
        );
    })
    .await;
}

/// The same command says the same; of a pod whose command is heard, that is in the log by then.
async fn nothing_is_said_where_logs_are_off(live: &Live, tenant: &str) {
    live.integrate(tenant, "hush", &["sleep", "4"], &json!({"logs": "Off"}))
        .await;
    let name = live.execute(tenant, "hush", &json!({})).await;
    let object = live.until_reason(tenant, &name, "Running", LIMIT).await;
    let pod = text(&object, "/status/sandbox/pod");
    pause(Duration::from_secs(2)).await;
    let log = live.log_of(tenant, &pod).await;
    assert!(!log.contains("resting"), "{log}");
    let (object, _) = live.until_over(tenant, &name, LIMIT).await;
    assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
}

/// How many had a sandbox at once, by their own times.
fn most_at_once<'a>(objects: impl Iterator<Item = &'a Value>) -> i32 {
    let mut steps: Vec<(jiff::Timestamp, i32)> = objects
        .flat_map(|one| [("claimed", 1), ("ended", -1)].map(|(name, step)| (time(one, name), step)))
        .collect();
    // Of two at the same moment, the end comes first.
    steps.sort_unstable();
    let mut now = 0;
    let counts = steps.iter().map(|(_, step)| {
        now += step;
        now
    });
    counts.max().unwrap_or_default()
}

#[tokio::test]
async fn its_log_is_there_while_it_runs_and_no_more_run_than_may() {
    Live::run(async |live| {
        let tenant = live.proven("many", &json!({})).await;
        let limit = json!({"concurrency": {"limit": 2}});
        live.integrate(&tenant, "rest", &["sleep", "4"], &limit)
            .await;
        let mut names = Vec::new();
        for _ in 0..5 {
            names.push(live.execute(&tenant, "rest", &json!({})).await);
        }
        let first = live
            .until_reason(&tenant, &names[0], "Running", LIMIT)
            .await;
        let pod = text(&first, "/status/sandbox/pod");
        // The kubelet may see a moment later what the sandbox has said already.
        until("its log is there", Duration::from_secs(3), async || {
            let log = live.log_of(&tenant, &pod).await;
            if log.contains("resting") {
                Ok(())
            } else {
                Err(log)
            }
        })
        .await;
        nothing_is_said_where_logs_are_off(live, &tenant).await;
        let (objects, _) = live.until_all_over(&tenant, 6, LIMIT).await;
        let rest = objects
            .iter()
            .filter(|one| one["spec"]["integration"] == "rest");
        assert_eq!(most_at_once(rest), 2, "ran at once");
    })
    .await;
}
