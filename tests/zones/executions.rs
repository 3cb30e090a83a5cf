//! Executions that run when a zone is lost, one that is created then, and what becomes of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::live::{
    Live, executions::is_over, executions::path, pause, said, system::OPERATOR, text, until,
};

use super::{LEADER, LIMIT, place_of};

/// From the loss to the end of an Execution that is created then.
pub(crate) const SERVICE: Duration = Duration::from_secs(30);
/// From the loss to the end of everything that was there.
const ENDS: Duration = Duration::from_mins(2);
/// Longer than it takes until a silent sandbox is given up.
const WORK: &str = "40";
/// How many run of each kind.
pub(crate) const RUNS: usize = 4;

/// What is going to run in the tenant.
pub(crate) async fn prepare(live: &Live, tenant: &str) {
    let small = json!({"cpu": "50m", "memory": "48Mi", "scratch": "1Mi"});
    for (name, words, retries) in [
        ("rest", &["sleep", WORK][..], 0),
        ("again", &["sleep", WORK][..], 1),
        ("quick", &["world"][..], 0),
    ] {
        let spec = json!({"retries": retries, "resources": small});
        live.integrate(tenant, name, words, &spec).await;
    }
}

/// Creates so many, and waits until they run.
pub(crate) async fn running(live: &Live, tenant: &str, integration: &str) -> Vec<Value> {
    let mut names = Vec::new();
    for _ in 0..RUNS {
        names.push(live.execute(tenant, integration, &json!({})).await);
    }
    let mut objects = Vec::new();
    for name in names {
        objects.push(live.until_reason(tenant, &name, "Running", LIMIT).await);
    }
    objects
}

/// One that is created now, to its end.
pub(crate) async fn serves(live: &Live, tenant: &str, since: Instant) -> Duration {
    let name = live.execute(tenant, "quick", &json!({})).await;
    let (object, _) = live.until_over(tenant, &name, SERVICE).await;
    assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
    since.elapsed()
}

/// Waits until all have ended; gives all that there are.
pub(crate) async fn all_over(live: &Live, tenant: &str) -> Vec<Value> {
    let check = async || {
        let objects = live.list(&path(tenant, "executions")).await;
        match objects.iter().filter(|one| !is_over(one)).count() {
            0 => Ok(objects),
            left => Err(format!("{left} have not")),
        }
    };
    until("all have ended", ENDS, check).await.0
}

/// What became of those that ran when the zone was lost: how many ran there.
pub(crate) fn judge(before: &[Value], after: &[Value], lost: &str, retried: bool) -> usize {
    let node = |one: &Value| text(one, "/status/sandbox/node");
    let mut there = 0;
    for old in before {
        let name = text(old, "/metadata/name");
        let same = |one: &&Value| text(one, "/metadata/name") == name;
        let now = after.iter().find(same).unwrap_or(&Value::Null);
        let reason = said(now, "Succeeded").reason;
        let attempt = now["status"]["attempt"].as_i64();
        if node(old) == lost {
            there += 1;
            if retried {
                assert_eq!((&*reason, attempt), ("Completed", Some(2)), "{now}");
                assert_ne!(node(now), lost, "{now}");
            } else {
                assert_eq!((&*reason, attempt), ("NodeLost", Some(1)), "{now}");
            }
        } else {
            assert_eq!((&*reason, attempt), ("Completed", Some(1)), "{now}");
        }
    }
    there
}

/// Status of every Execution of a tenant, as the server has it.
pub(crate) async fn statuses(live: &Live, tenant: &str) -> Vec<(String, String)> {
    let objects = live.list(&path(tenant, "executions")).await;
    let status = |one: &Value| (text(one, "/metadata/name"), one["status"].to_string());
    objects.iter().map(status).collect()
}

/// What holds when the zone is back: nothing has happened twice, and all goes on.
pub(crate) async fn returns(live: &Live, tenant: &str, lost: &str, ended: &[(String, String)]) {
    live.stands("cloister-system", OPERATOR).await;
    // Whatever was held up there comes now: to kubelets, to the old leader, to sandboxes.
    pause(Duration::from_secs(15)).await;
    assert_eq!(statuses(live, tenant).await, ended, "something has changed");
    let (leader, _) = live.until_led(LEADER, |_| true).await;
    if place_of(live, &leader).await != lost {
        let wrote = live.writes_from(lost, live.leading_since().await).await;
        assert_eq!(wrote, [""; 0], "who does not lead any more wrote");
    }
    for integration in ["rest", "again"] {
        let left = live.sandboxes(tenant, integration).await;
        let left = left.iter().map(|pod| text(pod, "/metadata/name"));
        let left: Vec<_> = left.collect();
        assert_eq!(left, [""; 0], "sandboxes of what has ended");
    }
    serves(live, tenant, Instant::now()).await;
    live.until_proven(tenant, LIMIT).await;
}
