//! `make bench`: what Cloister costs, beside what the API server itself costs in the same run.
//!
//! In: `$KUBECONFIG`, a cluster that Cloister is installed in. Out: a table on standard
//! output. Each figure has its floor next to it: a bare client that does the very same
//! writes with the same parallelism, while the operator is stopped. Probes are held back
//! while tenants are counted (the canary is scaled to nothing), because a pod per tenant
//! would measure the kubelets.
#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark writes and waits; its figures have three digits"
)]

mod floor;
mod server;

use std::time::{Duration, Instant};

use clap::Parser;
use futures::StreamExt;
use kube::{
    api::DeleteParams,
    runtime::watcher::{self, watcher},
};
use tests::measure::crowd::Model;

use self::server::{Anything, Bench, NETWORK_POLICY};

const PAUSE: &str = "kubectl -n cloister-system scale deployment cloister-operator --replicas=0 \
    && kubectl -n cloister-system wait pod --for=delete --timeout=60s \
       -l app.kubernetes.io/component=cloister-operator";
const RESUME: &str = "kubectl -n cloister-system scale deployment cloister-operator --replicas=3 \
    && kubectl -n cloister-system rollout status deployment cloister-operator --timeout=120s";

/// Measure Cloister on the cluster of $KUBECONFIG.
#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of tenants to reach, one after the other. The middle half of each step is
    /// brought by the operator, a quarter before and a quarter after it by the bare client:
    /// the more a cluster holds, the slower it is, and so both meet the same on average.
    #[arg(long, value_delimiter = ',', default_value = "200,1000,3000,5000")]
    tenants: Vec<usize>,
    /// Deleted network policies to wait for.
    #[arg(long, default_value_t = 100)]
    repairs: usize,
    /// Seconds to count writes for while nothing happens.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Shell command that stops the operator while the floor is measured.
    #[arg(long, default_value = PAUSE)]
    pause: String,
    /// Shell command that starts it again.
    #[arg(long, default_value = RESUME)]
    resume: String,
    /// Address of the operator's admin pages. Without: through the API server.
    #[arg(long)]
    admin: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let arguments = Arguments::parse();
    let bench = Bench::new(arguments.admin.clone()).await?;
    bench.scale("cloister-canary", 0).await?;
    let outcome = measure(&bench, &arguments).await;
    bench.scale("cloister-canary", 2).await?;
    outcome
}

async fn measure(bench: &Bench, arguments: &Arguments) -> Result<(), Anything> {
    println!("memory   0 tenants: {}", bench.memory().await?);
    let template = format!("{}-template", bench.run);
    bench.bring(&template, 1).await?;
    let model = bench.model(&format!("{template}-0")).await?;
    println!("objects  {} children a tenant", model.children());
    let mut have = 0;
    for goal in &arguments.tenants {
        let quarter = goal.saturating_sub(have) / 4;
        let before = floor(bench, arguments, &model, have, quarter).await?;
        let middle = have + quarter;
        let (took, writes) = ready(bench, middle, quarter * 2).await?;
        let after = floor(bench, arguments, &model, middle + quarter * 2, quarter).await?;
        compare(quarter * 2, took, before + after, writes);
        have += quarter * 4;
        println!("memory   {have} tenants: {}", bench.memory().await?);
    }
    idle(bench, arguments.idle).await?;
    repairs(bench, &format!("{template}-0"), arguments.repairs).await
}

/// The bare client's time for `count` tenants, while the operator is away.
async fn floor(
    bench: &Bench,
    arguments: &Arguments,
    model: &Model,
    have: usize,
    count: usize,
) -> Result<Duration, Anything> {
    shell(&arguments.pause)?;
    let took = floor::copies(model, &format!("{}-{have}", bench.run), count).await?;
    shell(&arguments.resume)?;
    let deadline = Instant::now() + Duration::from_mins(1);
    while bench.memory().await? == server::NO_LEADER && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let written = bench.settled().await?;
    println!(
        "restart  {count} more tenants found as they must be; {written} writes by anybody until nothing moved"
    );
    Ok(took)
}

/// The operator's time for as many, and what was written for each.
async fn ready(bench: &Bench, have: usize, count: usize) -> Result<(Duration, f64), Anything> {
    let before = bench.writes().await?;
    let took = bench.bring(&format!("{}-{have}", bench.run), count).await?;
    bench.settled().await?;
    let written = bench.writes().await? - before;
    Ok((took, written as f64 / count as f64))
}

fn compare(count: usize, took: Duration, floor: Duration, writes: f64) {
    let per_second = |time: Duration| count as f64 / time.as_secs_f64();
    println!(
        "ready    {count} tenants in {:.1} s, {:.1}/s; floor {:.1} s, {:.1}/s; ratio {:.0} %",
        took.as_secs_f64(),
        per_second(took),
        floor.as_secs_f64(),
        per_second(floor),
        100.0 * floor.as_secs_f64() / took.as_secs_f64(),
    );
    println!("writes   {writes:.1} for each, those of Kubernetes' own controllers included");
}

async fn idle(bench: &Bench, seconds: u64) -> Result<(), Anything> {
    bench.settled().await?;
    let before = bench.writes().await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let written = bench.writes().await? - before;
    println!("idle     {written} writes by anybody in {seconds} s, leases and events aside");
    Ok(())
}

/// Deletes a policy and waits for it to come back, again and again.
async fn repairs(bench: &Bench, tenant: &str, count: usize) -> Result<(), Anything> {
    const NAME: &str = "cloister-deny-all";
    let api = bench.namespaced(NETWORK_POLICY, &format!("tenant-{tenant}"));
    let (mut repairs, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..count {
        // The watch took its connection with it; a handshake is not what is measured.
        api.get(NAME).await?;
        let begun = Instant::now();
        api.get(NAME).await?;
        floors.push(begun.elapsed());
        let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let mut events = std::pin::pin!(watcher(api.clone(), only));
        while let Some(event) = events.next().await {
            if matches!(event?, watcher::Event::InitDone) {
                break;
            }
        }
        let begun = Instant::now();
        api.delete(NAME, &DeleteParams::default()).await?;
        while let Some(event) = events.next().await {
            if matches!(event?, watcher::Event::Apply(_)) {
                break;
            }
        }
        repairs.push(begun.elapsed());
    }
    println!(
        "repair   {} from the delete of a NetworkPolicy to the sight of the new one; floor (one get) {}",
        percentiles(&mut repairs),
        percentiles(&mut floors)
    );
    Ok(())
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |per_cent: usize| {
        let index = (times.len().saturating_sub(1) * per_cent).div_ceil(100);
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    format!(
        "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
        at(50),
        at(99),
        at(100)
    )
}

fn shell(command: &str) -> Result<(), Anything> {
    let ended = std::process::Command::new("sh")
        .args(["-c", command])
        .output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("{command}: {}", String::from_utf8_lossy(&ended.stderr)).into())
}
