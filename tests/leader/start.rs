//! The leader goes while sandboxes stand ready: from that moment to the start of what is created then.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tests::{
    live::{Live, must, pause, pods::pod_path, said, system::OPERATOR, text, until, within},
    measure::now,
};

use crate::{ABRUPT, CLEAN};

const LIMIT: Duration = Duration::from_mins(1);
/// From a sandbox's session with another leader to the start of a command in it.
const START: Duration = Duration::from_millis(500);
/// Sandboxes that stand ready.
const POOL: usize = 2;
/// How often each: one that dies again and again is restarted later and later, so that sometimes
/// the same one leads again, and sometimes another.
const ROUNDS: usize = 2;

/// All replicas stand, and so does the pool; gives the leader, and the pool's names.
async fn rest(live: &Live, tenant: &str) -> (String, Vec<String>) {
    live.stands("cloister-system", OPERATOR).await;
    // One that has been used stands for a moment longer.
    pause(Duration::from_secs(1)).await;
    let whole = async || {
        let pods = live.standing(tenant, "warm").await;
        match pods.len() {
            POOL => Ok(pods),
            _ => Err(format!("{pods:?}")),
        }
    };
    let (pool, _) = until("the pool is whole", LIMIT, whole).await;
    live.until_warm(tenant, "warm", LIMIT).await;
    let (leader, _) = live.until_led(ABRUPT, |_| true).await;
    (leader, pool)
}

/// Creates an Execution; gives how long it took from that moment, in milliseconds since 1970, to its
/// start, in a sandbox that stood ready.
async fn started(live: &Live, tenant: &str, begun: f64, pool: &[String]) -> Duration {
    let name = live.execute(tenant, "warm", &json!({})).await;
    let (object, _) = live.until_over(tenant, &name, LIMIT).await;
    assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
    let pod = text(&object, "/status/sandbox/pod");
    assert!(pool.contains(&pod), "not one that stood ready: {object}");
    let started = text(&object, "/status/times/started");
    let started: Timestamp = must(started.parse(), &started);
    let took = started.as_duration().as_secs_f64() - begun / 1000.0;
    must(Duration::try_from_secs_f64(took), "its start")
}

#[tokio::test]
async fn a_sandbox_that_stands_ready_is_used_soon_after_the_leader_has_gone() {
    let name = "a_sandbox_that_stands_ready_is_used_soon_after_the_leader_has_gone";
    Live::run_on_own(name, async |live| {
        let tenant = live.proven("handed-on", &json!({})).await;
        let small = json!({"cpu": "100m", "memory": "48Mi", "scratch": "1Mi"});
        let spec = json!({"warm": {"min": POOL}, "resources": small});
        live.integrate(&tenant, "warm", &["early"], &spec).await;
        live.until_warm(&tenant, "warm", LIMIT).await;
        for _ in 0..ROUNDS {
            let (leader, pool) = rest(live, &tenant).await;
            let begun = now();
            live.delete(&pod_path("cloister-system", &leader)).await;
            let took = started(live, &tenant, begun, &pool).await;
            // The start itself comes behind the handover.
            let limit = CLEAN + START;
            within("leader asked to go -> an Execution starts", took, limit);

            let (leader, pool) = rest(live, &tenant).await;
            let begun = now();
            live.kill_process(&leader);
            let took = started(live, &tenant, begun, &pool).await;
            within("leader's process killed -> one starts", took, ABRUPT);
        }
    })
    .await;
}
