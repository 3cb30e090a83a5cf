//! `make bench`, of Executions: from the request that creates one to the first instruction of its
//! command, beside a bare pod that is as hardened and runs the same, in the same run.
//!
//! In: `$KUBECONFIG`, a cluster that Cloister is installed in and whose nodes are on this machine:
//! the command tells when it began by the node's clock. Out: lines on standard output.
#![expect(
    clippy::cast_precision_loss,
    reason = "a benchmark's figures have three digits"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use futures::future::join_all;
use serde_json::{Value, json};
use tests::live::{
    Live, executions::IMAGE, must, namespace_of, pause, pods::pod_path, said, text, until,
};

const LIMIT: Duration = Duration::from_mins(2);

/// Measure Executions on the cluster of $KUBECONFIG.
#[derive(Debug, Parser)]
struct Arguments {
    /// Executions one after the other.
    #[arg(long, default_value_t = 30)]
    serial: usize,
    /// Bursts.
    #[arg(long, default_value_t = 3)]
    bursts: usize,
    /// Executions of each.
    #[arg(long, default_value_t = 10)]
    burst: usize,
    /// Bare pods, and cold Executions, one after the other.
    #[arg(long, default_value_t = 8)]
    cold: usize,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    Live::run(async |live| {
        let tenant = live
            .proven("bench", &json!({"limits": {"cpu": "64", "memory": "64Gi"}}))
            .await;
        let none = json!({});
        live.integrate(&tenant, "cold", &["bench"], &none).await;
        let burst = i32::try_from(arguments.burst).unwrap_or(10);
        let warm = json!({"warm": {"min": burst}, "concurrency": {"limit": 100},
            "resources": {"cpu": "50m", "memory": "64Mi", "scratch": "1Mi"}});

        let mut bare = Vec::new();
        let mut cold = Vec::new();
        // In turn, so that both meet the same machine.
        for number in 0..arguments.cold {
            bare.push(bare_pod(live, &tenant, number).await);
            cold.push(one(live, &tenant, "cold").await.begun);
            pause(Duration::from_secs(1)).await;
        }
        print("bare hardened pod: create -> first instruction", &mut bare);
        print("cold Execution:    create -> first instruction", &mut cold);

        live.integrate(&tenant, "warm", &["bench"], &warm).await;
        live.until_warm(&tenant, "warm", LIMIT).await;
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for _ in 0..arguments.serial {
            pause(Duration::from_millis(2500)).await;
            let times = one(live, &tenant, "warm").await;
            begun.push(times.begun);
            ended.push(times.ended);
        }
        print("warm, serial:      create -> first instruction", &mut begun);
        print("warm, serial:      create -> end, as in status", &mut ended);

        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for _ in 0..arguments.bursts {
            full(live, &tenant, arguments.burst).await;
            let together = (0..arguments.burst).map(|_| one(live, &tenant, "warm"));
            for times in join_all(together).await {
                begun.push(times.begun);
                ended.push(times.ended);
            }
        }
        let name = format!("warm, bursts of {}:", arguments.burst);
        print(&format!("{name} create -> first instruction"), &mut begun);
        print(&format!("{name} create -> end, as in status"), &mut ended);
    })
    .await;
}

/// Milliseconds from the request.
#[derive(Clone, Copy, Debug)]
struct Times {
    begun: f64,
    ended: f64,
}

/// Milliseconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64() * 1000.0
}

/// Creates an Execution, and waits for its end.
async fn one(live: &Live, tenant: &str, integration: &str) -> Times {
    let created = now();
    let name = live.execute(tenant, integration, &json!({})).await;
    // Not asked for while it runs: that would be measured, too.
    pause(Duration::from_millis(150)).await;
    let (object, _) = live.until_over(tenant, &name, LIMIT).await;
    assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
    let result = text(&object, "/status/result");
    let result: Value = must(serde_json::from_str(&result), &result);
    let ended = text(&object, "/status/times/ended");
    let ended: jiff::Timestamp = must(ended.parse(), "its end");
    Times {
        begun: result["begunUs"].as_f64().unwrap_or_default() / 1000.0 - created,
        ended: ended.as_microsecond() as f64 / 1000.0 - created,
    }
}

/// A pod that is as hardened and runs the same, with nothing of Cloister's in it.
async fn bare_pod(live: &Live, tenant: &str, number: usize) -> f64 {
    let (namespace, name) = (namespace_of(tenant), format!("bare-{number}"));
    let mut pod = tests::live::pods::conforming(&namespace, &name, &[]);
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!(IMAGE);
    container["command"] = json!(["/hello", "now"]);
    container["args"] = json!([]);
    let created = now();
    must(live.admin.create(&pod).await, "create a bare pod");
    pause(Duration::from_millis(300)).await;
    let path = format!("{}/log", pod_path(&namespace, &name));
    let (begun, _) = until("the bare pod has begun", LIMIT, async || {
        let log = live.admin.text(&path).await;
        let begun: Option<f64> = log.trim().parse().ok();
        begun.ok_or_else(|| format!("it says {log:?}"))
    })
    .await;
    live.delete(&pod_path(&namespace, &name)).await;
    begun / 1000.0 - created
}

/// Waits until so many sandboxes stand ready, and have for a while.
async fn full(live: &Live, tenant: &str, count: usize) {
    let ready = async || {
        let pods = live.sandboxes(tenant, "warm").await;
        let running = pods.iter().filter(|pod| {
            text(pod, "/status/phase") == "Running"
                && pod["metadata"]["deletionTimestamp"].is_null()
        });
        match running.count() {
            running if running >= count => Ok(()),
            running => Err(format!("{running} run")),
        }
    };
    until("the pool is full", LIMIT, ready).await;
    pause(Duration::from_secs(3)).await;
}

fn print(what: &str, times: &mut [f64]) {
    times.sort_unstable_by(f64::total_cmp);
    let at = |per_cent: usize| {
        let index = (times.len().saturating_sub(1) * per_cent).div_ceil(100);
        times.get(index).copied().unwrap_or_default()
    };
    println!(
        "{what:<48} p50 {:>7.1} ms  p90 {:>7.1} ms  p99 {:>7.1} ms  of {}",
        at(50),
        at(90),
        at(99),
        times.len()
    );
}
