//! A zone is taken from a tenant in a Drill, on real nodes: its pods go and none is placed there,
//! its neighbours notice nothing, it is measured, and the zone is given back, whoever dies.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::live::{
    Live, Said, executions::path, must, namespace_of, pause, said, system::OPERATOR, text, until,
    within, workers::placed,
};

/// From a request to pods that stand, or Executions that run.
const UP: Duration = Duration::from_mins(2);
/// From a request to the first pod that is asked to go.
const TAKEN: Duration = Duration::from_secs(10);
/// From the loss of a zone until none of the tenant's pods is there.
const EMPTY: Duration = Duration::from_secs(20);
/// From the return of a zone to full strength: a refused pod is placed again within ten seconds,
/// which is the scheduler's longest pause.
const FULL: Duration = Duration::from_secs(30);
/// How long the zone stays lost.
const HOLD: Duration = Duration::from_secs(25);
/// How many Executions run of each kind.
const RUNS: usize = 6;
/// Seconds that each takes.
const WORK: &str = "60";

/// Applies a Drill that holds a zone for [`HOLD`]; `spec` is merged over it.
async fn ask(live: &Live, tenant: &str, name: &str, spec: &Value) {
    let mut whole = json!({"type": "ZoneLoss", "request": "one",
        "hold": format!("{}s", HOLD.as_secs()), "timeout": "2m"});
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    let object = json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Drill",
        "metadata": {"name": name, "namespace": namespace_of(tenant)}, "spec": whole,
    });
    live.create_counted(&object).await;
}

async fn status(live: &Live, tenant: &str, name: &str) -> Value {
    let path = format!("{}/{name}", path(tenant, "drills"));
    must(live.get(&path).await, name)
}

/// Waits until a Drill says this; gives it whole, and how long that took.
async fn until_said(
    live: &Live,
    (tenant, name): (&str, &str),
    reason: &str,
    limit: Duration,
) -> (Value, Duration) {
    let check = async || {
        let object = status(live, tenant, name).await;
        match said(&object, "Succeeded") {
            said if said.reason == reason => Ok(object),
            Said { .. } => Err(object["status"].to_string()),
        }
    };
    until(&format!("{name} is {reason}"), limit, check).await
}

/// What the namespace of a tenant says is lost.
async fn lost(live: &Live, tenant: &str) -> String {
    let namespace = format!("/api/v1/namespaces/{}", namespace_of(tenant));
    let object = must(live.get(&namespace).await, tenant);
    text(&object, "/metadata/annotations/cloister.dev~1lost-nodes")
}

/// Pods of a tenant on a node that have not ended, by UID; Cloister's own looks apart.
async fn there(live: &Live, tenant: &str, node: &str) -> BTreeSet<String> {
    let path = format!("/api/v1/namespaces/{}/pods", namespace_of(tenant));
    let pods = live.list(&path).await.into_iter();
    let on_it = pods.filter(|pod| {
        let over = ["Succeeded", "Failed"].contains(&&*text(pod, "/status/phase"));
        let probe = text(pod, "/metadata/labels/cloister.dev~1role") == "probe";
        text(pod, "/spec/nodeName") == node && !over && !probe
    });
    on_it.map(|pod| text(&pod, "/metadata/uid")).collect()
}

async fn zone_of(live: &Live, node: &str) -> String {
    let object = must(live.get(&format!("/api/v1/nodes/{node}")).await, node);
    text(&object, "/metadata/labels/topology.kubernetes.io~1zone")
}

/// A Worker that any one zone may be taken from, once it stands.
async fn redundant(live: &Live, tenant: &str, replicas: u32, least: u32) {
    let spec = json!({"replicas": replicas, "zones": {"minimum": 3}, "minAvailable": least,
        "resources": {"cpu": "20m", "memory": "48Mi", "scratch": "1Mi"}});
    live.employ(tenant, "poller", &["sleep", "100000"], &spec)
        .await;
    let this = (tenant, "poller");
    live.until_worker(this, "ZoneRedundant", ("True", "Redundant"), UP)
        .await;
    live.until_worker(this, "Ready", ("True", "Running"), UP)
        .await;
}

/// Has so many Executions running; gives each with its node.
async fn running(
    live: &Live,
    tenant: &str,
    integration: &str,
    retries: u32,
) -> Vec<(String, String)> {
    let spec = json!({"retries": retries, "warm": {"min": 0}, "concurrency": {"limit": RUNS},
        "resources": {"cpu": "20m", "memory": "48Mi", "scratch": "1Mi"}});
    live.integrate(tenant, integration, &["sleep", WORK], &spec)
        .await;
    let mut names = Vec::new();
    for _ in 0..RUNS {
        names.push(live.execute(tenant, integration, &json!({})).await);
    }
    let mut placed = Vec::new();
    for name in names {
        let object = live.until_reason(tenant, &name, "Running", UP).await;
        placed.push((name, text(&object, "/status/sandbox/node")));
    }
    placed
}

/// The node with most Executions of that kind of which it has fewest.
fn busiest(kinds: [&[(String, String)]; 2]) -> String {
    let on =
        |kind: &[(String, String)], node: &str| kind.iter().filter(|(_, at)| at == node).count();
    let nodes: BTreeSet<&String> = kinds[0].iter().map(|(_, node)| node).collect();
    let busiest = nodes
        .into_iter()
        .max_by_key(|node| on(kinds[0], node).min(on(kinds[1], node)));
    must(busiest.cloned().ok_or("none runs"), "a node")
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a story is told in its order")]
async fn a_zone_is_taken_from_one_tenant_measured_and_given_back() {
    Live::run(async |live| {
        let allowing = json!({"drills": {"allowed": ["ZoneLoss"]}});
        let tenant = live.proven("drilled", &allowing).await;
        let neighbour = live.proven("beside", &json!({})).await;
        redundant(live, &neighbour, 3, 2).await;
        redundant(live, &tenant, 6, 4).await;
        let rest = running(live, &tenant, "rest", 0).await;
        let again = running(live, &tenant, "again", 1).await;
        let node = busiest([&rest, &again]);
        let zone = zone_of(live, &node).await;
        let before = there(live, &tenant, &node).await;
        let beside = there(live, &neighbour, &node).await;
        assert!(!beside.is_empty(), "the neighbour has nothing there");

        let begun = Instant::now();
        ask(live, &tenant, "monthly", &json!({"zone": zone})).await;
        let this = (&*tenant, "monthly");
        until_said(live, this, "ZoneLost", TAKEN).await;
        within("asked -> the zone is lost", begun.elapsed(), TAKEN);
        assert_eq!(lost(live, &tenant).await, node);

        // While it is lost: what was there goes, and nothing comes. What is new runs elsewhere.
        let taken = Instant::now();
        let quick = json!({"resources": {"cpu": "20m", "memory": "48Mi", "scratch": "1Mi"}});
        live.integrate(&tenant, "quick", &["world"], &quick).await;
        let served = live.execute(&tenant, "quick", &json!({})).await;
        let mut emptied = None;
        while said(&status(live, &tenant, "monthly").await, "Succeeded").reason == "ZoneLost" {
            let now = there(live, &tenant, &node).await;
            let come: Vec<_> = now.difference(&before).collect();
            let over = said(&status(live, &tenant, "monthly").await, "Succeeded");
            assert!(
                come.is_empty() || over.reason != "ZoneLost",
                "placed in {zone}: {come:?}"
            );
            if now.is_empty() && emptied.is_none() {
                emptied = Some(taken.elapsed());
            }
            pause(Duration::from_millis(200)).await;
        }
        within("lost -> none is there", emptied.unwrap_or(HOLD), EMPTY);
        let (served, _) = live.until_over(&tenant, &served, UP).await;
        assert_eq!(said(&served, "Succeeded").reason, "Completed", "{served}");
        assert_ne!(text(&served, "/status/sandbox/node"), node);
        assert_eq!(
            there(live, &neighbour, &node).await,
            beside,
            "the neighbour's"
        );

        let (drill, _) = until_said(live, this, "Recovered", UP).await;
        assert_eq!(lost(live, &tenant).await, "");
        let result = &drill["status"]["results"][0];
        println!("    {}", text(result, "/message"));
        let number = |pointer: &str| {
            let value = result.pointer(pointer).and_then(Value::as_i64);
            must(value.ok_or_else(|| result.to_string()), pointer)
        };
        let count = |kind: &[(String, String)]| kind.iter().filter(|(_, at)| *at == node).count();
        let (failed, retried) = (count(&rest), count(&again));
        assert!(
            failed > 0 && retried > 0,
            "{failed} and {retried} ran there"
        );
        let found = ["running", "failed", "retried", "completed", "unknown"]
            .map(|key| number(&format!("/executions/{key}")));
        let expected = [failed + retried, failed, retried, 0, 0];
        assert_eq!(
            found.map(|it| it.try_into().unwrap_or(usize::MAX)),
            expected,
            "{result}"
        );
        assert_eq!(number("/workers/toMinAvailableMs"), 0, "{result}");
        assert_eq!(number("/held"), 0, "{result}");
        let full = u64::try_from(number("/workers/toFullMs")).unwrap_or(u64::MAX);
        within(
            "returned -> full strength",
            Duration::from_millis(full),
            FULL,
        );

        // What the figures say is so.
        live.until_worker(
            (&tenant, "poller"),
            "ZoneRedundant",
            ("True", "Redundant"),
            TAKEN,
        )
        .await;
        let replicas = live.replicas(&tenant, "poller").await;
        let nodes: Vec<_> = replicas.iter().map(|pod| placed(pod).1).collect();
        assert_eq!(nodes.len(), 6, "{nodes:?}");
        assert_eq!(
            nodes.iter().filter(|at| **at == node).count(),
            2,
            "{nodes:?}"
        );
        for (kind, reason, attempt) in [(&rest, "Evicted", 1), (&again, "Completed", 2)] {
            for (name, at) in kind {
                let (object, _) = live.until_over(&tenant, name, UP).await;
                let ended = (
                    said(&object, "Succeeded").reason,
                    object["status"]["attempt"].as_i64(),
                );
                let expected = if *at == node {
                    (reason, attempt)
                } else {
                    ("Completed", 1)
                };
                assert_eq!(
                    (&*ended.0, ended.1),
                    (expected.0, Some(expected.1)),
                    "{object}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_zone_is_given_back_when_the_leader_dies_in_the_middle() {
    Live::run_on_own(
        "a_zone_is_given_back_when_the_leader_dies_in_the_middle",
        async |live| {
            live.stands("cloister-system", OPERATOR).await;
            let allowing = json!({"drills": {"allowed": ["ZoneLoss"]}});
            let tenant = live.proven("orphan", &allowing).await;
            redundant(live, &tenant, 3, 2).await;
            ask(live, &tenant, "monthly", &json!({})).await;
            let this = (&*tenant, "monthly");
            let (drill, _) = until_said(live, this, "ZoneLost", TAKEN).await;
            let begun = Instant::now();
            // An eviction that is cut off spends the budget for two minutes, and the pod stays.
            let node = lost(live, &tenant).await;
            until("none is there", EMPTY, async || {
                let left = there(live, &tenant, &node).await;
                if left.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{left:?}"))
                }
            })
            .await;
            let (leader, _) = live.until_led(TAKEN, |_| true).await;
            live.kill_process(&leader);
            let ((), took) = until("the zone is given back", 3 * HOLD, async || {
                match lost(live, &tenant).await {
                    nodes if nodes.is_empty() => Ok(()),
                    nodes => Err(nodes),
                }
            })
            .await;
            println!(
                "    leader killed, given back {:.1} s later",
                took.as_secs_f64()
            );
            within(
                "lost -> given back",
                begun.elapsed(),
                HOLD + Duration::from_secs(15),
            );
            let (over, _) = until_said(live, this, "Recovered", UP).await;
            let result = &over["status"]["results"][0];
            assert_eq!(result["lost"], drill["status"]["run"]["lost"], "{result}");
            println!("    {}", text(result, "/message"));
        },
    )
    .await;
}

#[tokio::test]
async fn what_cannot_stand_a_loss_is_refused_unless_that_is_asked_for() {
    Live::run(async |live| {
        let forbidding = live.proven("forbids", &json!({})).await;
        ask(live, &forbidding, "monthly", &json!({})).await;
        let this = (&*forbidding, "monthly");
        let (drill, _) = until_said(live, this, "NotAllowed", TAKEN).await;
        assert!(
            said(&drill, "Succeeded")
                .message
                .contains("spec.drills.allowed"),
            "{drill}"
        );

        let allowing = json!({"drills": {"allowed": ["ZoneLoss"]}});
        let tenant = live.proven("single", &allowing).await;
        let spec = json!({"replicas": 1});
        live.employ(&tenant, "poller", &["sleep", "100000"], &spec)
            .await;
        live.until_worker((&tenant, "poller"), "Ready", ("True", "Running"), UP)
            .await;
        ask(live, &tenant, "careful", &json!({})).await;
        let (drill, _) = until_said(live, (&tenant, "careful"), "NotRedundant", TAKEN).await;
        let message = said(&drill, "Succeeded").message;
        assert!(message.contains("Worker poller"), "{message}");
        assert!(message.contains("spec.whenNotRedundant"), "{message}");
        assert_eq!(lost(live, &tenant).await, "");
        let old = live.replicas(&tenant, "poller").await;

        let forced = json!({"whenNotRedundant": "Run", "hold": "10s"});
        ask(live, &tenant, "careless", &forced).await;
        let (drill, _) = until_said(live, (&tenant, "careless"), "Recovered", UP).await;
        println!("    {}", said(&drill, "Succeeded").message);
        let new = live.replicas(&tenant, "poller").await;
        let name = |pods: &[Value]| pods.iter().map(|pod| placed(pod).0).collect::<Vec<_>>();
        assert_ne!(name(&old), name(&new), "nothing was evicted");
    })
    .await;
}
