//! Warm: one after the other, as many at once as there are sandboxes, and more than there are.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::json;
use tests::{
    live::{Live, executions::path, must, pause},
    measure::{Spread, now},
};

use crate::{
    floor::{Pods, bare_pod},
    meter::Meter,
    scene::{Executions, Kernel, at_once, full, one, put_away, ready, tenant},
};

/// Bare pods that stand for the floor.
const FLOOR: usize = 5;
/// Sandboxes for Executions that come one after the other.
const POOL: usize = 3;
/// Between two of them: the pool is full again, and the machine at rest.
const BETWEEN: Duration = Duration::from_millis(2500);

/// When bare pods begin, and when they are seen to have ended.
async fn floor(live: &Live, tenant: &str, kernel: Kernel) -> (Spread, Spread) {
    eprintln!("  the floor: {FLOOR} bare pods");
    let (mut begun, mut ended) = (Spread::default(), Spread::default());
    for number in 0..FLOOR {
        let times = bare_pod(live, tenant, &format!("bare-{number}"), kernel).await;
        begun.add(times.begun);
        ended.add(times.ended);
        pause(Duration::from_secs(1)).await;
    }
    begun.print(&format!(
        "{kernel}, floor, bare pod: create -> first instruction"
    ));
    ended.print(&format!(
        "{kernel}, floor, bare pod: create -> Succeeded seen"
    ));
    (begun, ended)
}

/// What nobody can do without: the creation, and the write that says which sandbox has it. By a bare
/// client, of Executions that nothing runs: so many times as many at once.
async fn writes(live: &Live, tenant: &str, (times, size): (usize, usize)) -> Spread {
    eprintln!("  the floor: {times} times two bare writes, {size} at once");
    let mut both = Spread::default();
    for _ in 0..times {
        pause(Duration::from_millis(500)).await;
        let all = join_all((0..size).map(|_| two_writes(live, tenant))).await;
        both.extend(all.iter().map(|(took, _)| *took).collect());
        for (_, path) in all {
            live.delete(&path).await;
        }
    }
    both.print(&format!(
        "floor, two bare writes, {size} at once: create, and bind"
    ));
    both
}

/// How long they took, and what was made.
async fn two_writes(live: &Live, tenant: &str) -> (f64, String) {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "observedGeneration": 1,
            "message": "written by the bench", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let binds = json!({"status": {"attempt": 1, "observedGeneration": 1, "conditions": [
        condition("Succeeded", "Unknown", "Starting"),
        condition("SandboxVerified", "True", "Proven")]}});
    let created = now();
    let name = live.execute(tenant, "nobody", &json!({})).await;
    let this = format!("{}/{name}", path(tenant, "executions"));
    let content = "application/merge-patch+json";
    let status = format!("{this}/status");
    let bound = live.admin.send(Method::PATCH, &status, content, &binds);
    must(bound.await, "bind");
    (now() - created, this)
}

/// One after the other.
pub(crate) async fn serial(live: &Live, kernel: Kernel, count: usize) {
    let tenant = tenant(live, "serial", kernel).await;
    let floor = floor(live, &tenant, kernel).await;
    ready(live, &tenant, "serial", (kernel, POOL)).await;
    let least = writes(live, &tenant, (count, 1)).await;
    let before = Meter::read(live).await;
    let (mut begun, mut ended) = (Spread::default(), Spread::default());
    for number in 0..count {
        if number % 10 == 0 {
            eprintln!("  {number} of {count}");
        }
        pause(BETWEEN).await;
        let times = one(live, &tenant, "serial").await;
        begun.add(times.begun);
        ended.add(times.ended);
    }
    full(live, &tenant, "serial", POOL).await;
    let after = Meter::read(live).await;
    let what = format!("{kernel}, warm, one by one");
    begun.print_beside(&format!("{what}: create -> first instruction"), &floor.0);
    begun.print_beside(&format!("{what}: the same, beside two bare writes"), &least);
    ended.print_beside(&format!("{what}: create -> Succeeded"), &floor.1);
    after.print_since(&before, &what, count).await;
    put_away(live, &tenant, "serial").await;
}

/// As many at once as there are sandboxes, again and again.
pub(crate) async fn bursts(live: &Live, kernel: Kernel, (bursts, size): (usize, usize)) {
    let tenant = tenant(live, "bursts", kernel).await;
    let floor = pods_at_once(live, &tenant, kernel, size).await;
    ready(live, &tenant, "bursts", (kernel, size)).await;
    let least = writes(live, &tenant, (bursts, size)).await;
    let (mut begun, mut ended) = (Spread::default(), Spread::default());
    for number in 0..bursts {
        eprintln!("  burst {} of {bursts}", number + 1);
        full(live, &tenant, "bursts", size).await;
        let executions = Executions::new(live, &tenant, "bursts");
        let outcome = at_once(&executions, &format!("burst-{number}"), size).await;
        begun.extend(outcome.begun);
        ended.extend(outcome.ended);
    }
    let what = format!("{kernel}, warm, bursts of {size} on {size}");
    begun.print_beside(&format!("{what}: create -> first instruction"), &floor.0);
    begun.print_beside(&format!("{what}: the same, beside two bare writes"), &least);
    ended.print_beside(&format!("{what}: create -> Succeeded seen"), &floor.1);
    put_away(live, &tenant, "bursts").await;
}

/// More at once than there are sandboxes.
pub(crate) async fn crowd(live: &Live, kernel: Kernel, (size, pool): (usize, usize)) {
    let tenant = tenant(live, "crowd", kernel).await;
    let floor = pods_at_once(live, &tenant, kernel, size).await;
    ready(live, &tenant, "crowd", (kernel, pool)).await;
    eprintln!("  {size} at once");
    let executions = Executions::new(live, &tenant, "crowd");
    let outcome = at_once(&executions, "crowd", size).await;
    let what = format!("{kernel}, warm, {size} at once on {pool}");
    let first = format!("{what}: create -> first instruction");
    outcome.begun.print_beside(&first, &floor.0);
    let end = format!("{what}: create -> Succeeded seen");
    outcome.ended.print_beside(&end, &floor.1);
    println!(
        "{what}: all over in {:.1} s, {:.0}/min",
        outcome.took / 1000.0,
        outcome.rate()
    );
    put_away(live, &tenant, "crowd").await;
}

/// The floor of many at once: as many bare pods.
async fn pods_at_once(live: &Live, tenant: &str, kernel: Kernel, size: usize) -> (Spread, Spread) {
    eprintln!("  the floor: {size} bare pods at once");
    let pods = Pods::telling(live, tenant, (kernel, size));
    let ended = at_once(&pods, "bare", size).await.ended;
    let begun = pods.begun();
    begun.print(&format!(
        "{kernel}, floor, {size} bare pods: create -> first instruction"
    ));
    ended.print(&format!(
        "{kernel}, floor, {size} bare pods: create -> Succeeded seen"
    ));
    (begun, ended)
}
