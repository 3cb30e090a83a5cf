//! Cloister's own replicas: where they run, how soon one takes over from another, what they
//! say of themselves, and how soon what was broken is mended.

#[path = "leader/cut.rs"]
mod cut;
#[path = "leader/reached.rs"]
mod reached;
#[path = "leader/start.rs"]
mod start;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    live::{
        Live, must, owns_cluster, pause,
        pods::pod_path,
        policies_path,
        system::{OPERATOR, served},
        text, until, within,
    },
    server::unique,
};

/// From the request to delete the leader's pod to another one leading.
const CLEAN: Duration = Duration::from_secs(2);
/// From the death of the leader to another one leading, and to its first repair.
const ABRUPT: Duration = Duration::from_secs(10);
/// How long 99 of 100 repairs may take.
const REPAIR: Duration = Duration::from_millis(500);
/// Deletions that the figure is made from.
const REPAIRS: usize = 30;

/// Deletes a policy of a tenant; waits until it is back as another one.
async fn mended(live: &Live, tenant: &str, limit: Duration) -> Duration {
    let path = format!("{}/cloister-deny-all", policies_path(tenant));
    let before = must(live.get(&path).await, "policy")["metadata"]["uid"].take();
    let begun = Instant::now();
    live.delete(&path).await;
    until("the policy is back", limit, async || {
        match live.get(&path).await {
            Ok(now) if now["metadata"]["uid"] != before => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    begun.elapsed()
}

#[tokio::test]
async fn replicas_are_one_to_a_zone() {
    Live::run(async |live| {
        if owns_cluster() {
            // After a zone was lost, they are where there was room: Kubernetes moves none back.
            live.scale(OPERATOR, 0).await;
            live.scale(OPERATOR, 3).await;
        }
        let (mut zones, mut nodes) = (Vec::new(), Vec::new());
        for pod in live.pods_of(OPERATOR).await {
            let node = text(&pod, "/spec/nodeName");
            let labels = must(live.get(&format!("/api/v1/nodes/{node}")).await, &node);
            let zone = &labels["metadata"]["labels"]["topology.kubernetes.io/zone"];
            zones.push(zone.as_str().unwrap_or_default().to_owned());
            nodes.push(node);
        }
        println!("    {nodes:?} in {zones:?}");
        assert_eq!(zones.len(), 3, "replicas");
        let distinct: BTreeSet<_> = zones.iter().collect();
        let all = live.list("/api/v1/nodes").await;
        let there: BTreeSet<String> = all
            .iter()
            .map(|node| node["metadata"]["labels"]["topology.kubernetes.io/zone"].to_string())
            .collect();
        assert_eq!(distinct.len(), there.len().min(3), "{zones:?}");
    })
    .await;
}

#[tokio::test]
async fn another_leads_soon_after_the_leader_is_asked_to_go() {
    Live::run(async |live| {
        let tenant = live.proven("handover", &json!({})).await;
        for _ in 0..3 {
            live.stands("cloister-system", OPERATOR).await;
            let (old, _) = live.until_led(ABRUPT, |_| true).await;
            let begun = Instant::now();
            live.delete(&pod_path("cloister-system", &old)).await;
            let (new, _) = live.until_led(ABRUPT, |holder| holder != old).await;
            let took = begun.elapsed();
            assert_ne!(old, new);
            mended(live, &tenant, CLEAN).await;
            within("leader asked to go -> another leads", took, CLEAN);
            // The repair itself comes behind the handover.
            let limit = CLEAN + REPAIR;
            within("leader asked to go -> drift mended", begun.elapsed(), limit);
        }
    })
    .await;
}

#[tokio::test]
async fn another_leads_soon_after_the_leader_died() {
    Live::run_on_own("another_leads_soon_after_the_leader_died", async |live| {
        let tenant = live.proven("abrupt", &json!({})).await;
        // The process alone: the kubelet starts it again, under the same name.
        let (old, _) = live.until_led(ABRUPT, |_| true).await;
        let begun = Instant::now();
        live.kill_process(&old);
        mended(live, &tenant, ABRUPT).await;
        within(
            "leader's process killed -> drift mended",
            begun.elapsed(),
            ABRUPT,
        );

        // The whole machine.
        live.stands("cloister-system", OPERATOR).await;
        let (old, _) = live.until_led(ABRUPT, |_| true).await;
        let pod = must(live.get(&pod_path("cloister-system", &old)).await, &old);
        let node = text(&pod, "/spec/nodeName");
        let begun = Instant::now();
        must(live.nodes().freeze(&node), "freeze");
        let frozen = begun.elapsed();
        let (new, _) = live.until_led(ABRUPT, |holder| holder != old).await;
        let took = begun.elapsed();
        println!("    {old} on {node} -> {new} (the freeze itself took {frozen:.1?})");
        within("leader's machine frozen -> another leads", took, ABRUPT);
        mended(live, &tenant, ABRUPT).await;
        within(
            "leader's machine frozen -> drift mended",
            begun.elapsed(),
            ABRUPT,
        );

        // The one that comes back must not believe that it still leads.
        must(live.nodes().thaw(&node), "thaw");
        for _ in 0..20 {
            let leader = live.leader().await;
            assert_ne!(leader.as_deref(), Some(old.as_str()), "took it back");
            pause(Duration::from_millis(100)).await;
        }
        mended(live, &tenant, CLEAN).await;
    })
    .await;
}

#[tokio::test]
async fn what_anybody_deletes_is_back_at_once() {
    Live::run(async |live| {
        let tenant = live.proven("drift", &json!({})).await;
        let mut times = Vec::new();
        for _ in 0..REPAIRS {
            times.push(mended(live, &tenant, Duration::from_secs(10)).await);
        }
        times.sort();
        let (p50, p99) = (times[REPAIRS / 2], times[REPAIRS - 1]);
        println!("    {REPAIRS} policies deleted: back after p50 {p50:.0?}, p99 {p99:.0?}");
        within("p99 of the repairs", p99, REPAIR);
    })
    .await;
}

/// A replica that may read nothing never fills its caches. It must not count as ready, and
/// must not be restarted for it either; and it must not lead.
#[tokio::test]
async fn a_replica_that_knows_nothing_is_not_ready() {
    Live::run(async |live| {
        let mut deployed = live.pods_of(OPERATOR).await;
        let mut spec = deployed.swap_remove(0)["spec"].take();
        let name = unique("knows-nothing");
        for gone in [
            "nodeName",
            "topologySpreadConstraints",
            "tolerations",
            "serviceAccount",
            "volumes",
        ] {
            spec[gone] = Value::Null;
        }
        spec["serviceAccountName"] = json!("cloister-canary");
        spec["containers"][0]["volumeMounts"] = Value::Null;
        let labels = json!({tests::live::TEST_LABEL: "true"});
        let metadata = json!({"name": name, "namespace": "cloister-system", "labels": labels});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        must(live.admin.create(&pod).await, "create");
        let path = pod_path("cloister-system", &name);
        live.running("cloister-system", &name).await;
        // Longer than a sound replica needs, and than its liveness probe would let pass.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(12) {
            let now = must(live.get(&path).await, &name);
            let state = &now["status"]["containerStatuses"][0];
            assert_eq!(state["ready"], false, "{state}");
            assert_ne!(live.leader().await.as_deref(), Some(name.as_str()));
            pause(Duration::from_millis(250)).await;
        }
        let now = must(live.get(&path).await, &name);
        let restarts = &now["status"]["containerStatuses"][0]["restartCount"];
        let health = served(&name, "/healthz").await;
        let ready = served(&name, "/readyz").await;
        live.delete(&path).await;
        println!(
            "    without rights: /healthz {}, /readyz {}",
            first_line(&health),
            first_line(&ready)
        );
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert_eq!(restarts, 0, "not ready is no reason to restart");
    })
    .await;
}

fn first_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

#[tokio::test]
async fn metrics_are_served_and_hold_no_secret() {
    Live::run(async |live| {
        let tenant = live.proven("metrics", &json!({})).await;
        let (leader, _) = live.until_led(ABRUPT, |_| true).await;
        let mut leaders = 0;
        for pod in live.pods_of(OPERATOR).await {
            let name = text(&pod, "/metadata/name");
            let metrics = served(&name, "/metrics").await;
            assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
            let leads = metrics.lines().any(|line| line == "cloister_leader 1");
            assert_eq!(leads, name == leader, "{name}");
            leaders += u32::from(leads);
            assert!(
                metrics.contains("cloister_reconcile_duration_seconds_bucket"),
                "{metrics}"
            );
            assert!(metrics.contains(r#"cloister_tenants{condition="IsolationVerified""#));
            // Neither credentials nor whose tenants there are.
            for secret in [
                "eyJ",
                "BEGIN ",
                "Bearer",
                "owner@example.com",
                tenant.as_str(),
            ] {
                assert!(!metrics.contains(secret), "{secret} in the metrics");
            }
        }
        assert_eq!(leaders, 1);
    })
    .await;
}
