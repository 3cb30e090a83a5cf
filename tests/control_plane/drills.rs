//! Drills: what is refused, how a zone is taken and given back, and that it is given back whatever
//! dies in between. Nothing runs: a pod is where the test puts it, and goes when it is asked to.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Refusal, eventually, pause, send};

use crate::{
    crashes::{Deaths, rest},
    in_process::{Operator, Task, allow_lease, pretend_probes, remove},
    teardown::{pod, pod_path},
    tenants::{LIMIT, proven, tenant, with},
};

const NODES: [(&str, &str, &str); 3] = [
    ("pretended-a", "zone-a", "203.0.113.9"),
    ("pretended-b", "zone-b", "203.0.113.10"),
    ("pretended-c", "zone-c", "203.0.113.11"),
];

/// A Drill of a tenant, with these fields beyond its type.
pub fn drill(tenant: &str, name: &str, spec: &Value) -> Value {
    let mut whole = json!({"type": "ZoneLoss", "zone": "zone-a", "hold": "10s"});
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Drill",
        "metadata": {"name": name, "namespace": format!("tenant-{tenant}")}, "spec": whole,
    })
}

fn path(tenant: &str, name: &str) -> String {
    format!("/apis/cloister.dev/v1alpha1/namespaces/tenant-{tenant}/drills/{name}")
}

/// The same Tenant, with what it allows.
pub fn allowing(tenant: Value, types: &Value) -> Value {
    with(tenant, "/spec/drills", json!({"allowed": types}))
}

/// Three nodes in three zones, and what probes need.
async fn plane() -> ControlPlane {
    let plane = ControlPlane::start().await;
    for (node, zone, address) in NODES {
        plane.pretend_node(node, zone, address).await;
    }
    plane.pretend_probing_targets().await;
    plane
}

/// A tenant that is proven and allows drills.
async fn landlord(plane: &ControlPlane, name: &str) {
    let allowing = allowing(tenant(name), &json!(["ZoneLoss"]));
    plane.apply(&allowing).await.unwrap();
    proven(plane, name).await;
}

/// What the namespace says is lost.
async fn lost(plane: &ControlPlane, tenant: &str) -> (String, String) {
    let namespace = format!("/api/v1/namespaces/tenant-{tenant}");
    let object = plane.get(&namespace).await.unwrap_or_default();
    let text = |key: &str| {
        let said = object["metadata"]["annotations"][key].as_str();
        said.unwrap_or("missing").to_owned()
    };
    (text("cloister.dev/drill"), text("cloister.dev/lost-nodes"))
}

/// Waits until the namespace says that these nodes are lost, and to whom.
pub async fn until_lost(plane: &ControlPlane, tenant: &str, nodes: &str) {
    eventually(LIMIT, async || match lost(plane, tenant).await {
        (drill, said) if said == nodes && drill.is_empty() == nodes.is_empty() => Ok(()),
        said => Err(format!("{said:?}, not {nodes:?}")),
    })
    .await;
}

/// Status of a Drill, once its condition says this.
async fn until_said(plane: &ControlPlane, tenant: &str, name: &str, reason: &str) -> Value {
    let mut status = Value::Null;
    eventually(LIMIT, async || {
        let object = plane.get(&path(tenant, name)).await.unwrap_or_default();
        status = object["status"].clone();
        match &status["conditions"][0]["reason"] {
            said if said == reason => Ok(()),
            _ => Err(format!("{name} is not {reason}: {status}")),
        }
    })
    .await;
    status
}

/// Makes a pod, if it is not there.
async fn make(plane: &ControlPlane, tenant: &str, name: &str) {
    eventually(LIMIT, async || {
        match plane.create(&pod(tenant, name, &json!({}))).await {
            Err(refusal) if refusal.code != 409 => Err(refusal.message),
            Ok(_) | Err(_) => Ok(()),
        }
    })
    .await;
}

/// Has the scheduler put a pod on a node.
async fn place(
    plane: &ControlPlane,
    (tenant, name): (&str, &str),
    node: &str,
) -> Result<Value, Refusal> {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let path = format!("{}/binding", pod_path(tenant, name));
    plane.post(&path, &binding).await
}

async fn is_going(plane: &ControlPlane, tenant: &str, name: &str) -> bool {
    match plane.get(&pod_path(tenant, name)).await {
        Ok(pod) => !pod["metadata"]["deletionTimestamp"].is_null(),
        Err(_) => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_taken_from_one_tenant_and_given_back() {
    let plane = plane().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    landlord(&plane, "acme").await;
    landlord(&plane, "globex").await;
    for (tenant, name, node) in [
        ("acme", "here", "pretended-a"),
        ("acme", "there", "pretended-b"),
        ("globex", "here", "pretended-a"),
    ] {
        make(&plane, tenant, name).await;
        place(&plane, (tenant, name), node).await.unwrap();
    }
    let asked = drill("acme", "monthly", &json!({"request": "one"}));
    plane.apply(&asked).await.unwrap();
    let status = until_said(&plane, "acme", "monthly", "ZoneLost").await;
    assert_eq!(status["request"], "one", "{status}");
    assert_eq!(status["run"]["nodes"], json!(["pretended-a"]), "{status}");
    assert_eq!(status["run"]["pods"], 1, "{status}");
    assert_eq!(lost(&plane, "acme").await.1, "pretended-a");
    eventually(LIMIT, async || {
        let going = is_going(&plane, "acme", "here").await;
        going.then_some(()).ok_or("it stays".to_owned())
    })
    .await;
    assert!(!is_going(&plane, "acme", "there").await);
    assert!(!is_going(&plane, "globex", "here").await);

    // Whoever places it, and a node that joins the zone is lost, too. The neighbour's finds a place.
    make(&plane, "acme", "next").await;
    make(&plane, "globex", "next").await;
    plane
        .pretend_node("pretended-d", "zone-a", "203.0.113.12")
        .await;
    until_lost(&plane, "acme", "pretended-a,pretended-d").await;
    for node in ["pretended-a", "pretended-d"] {
        let refusal = place(&plane, ("acme", "next"), node).await.unwrap_err();
        assert!(
            refusal.message.contains("lost to the tenant in a Drill"),
            "{refusal:?}"
        );
    }
    place(&plane, ("globex", "next"), "pretended-a")
        .await
        .unwrap();

    // One at a time, whoever asks.
    let second = drill(
        "acme",
        "second",
        &json!({"request": "one", "zone": "zone-b"}),
    );
    plane.apply(&second).await.unwrap();
    until_said(&plane, "acme", "second", "AnotherDrill").await;
    assert_eq!(lost(&plane, "acme").await.1, "pretended-a,pretended-d");

    let status = until_said(&plane, "acme", "monthly", "Recovered").await;
    let result = &status["results"][0];
    assert!(status["run"].is_null(), "{status}");
    assert_eq!(status["conditions"][0]["status"], "True", "{status}");
    assert_eq!(result["pods"], 1, "{result}");
    let times = ["begun", "lost", "returned", "ended"].map(|key| result[key].to_string());
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(lost(&plane, "acme").await, (String::new(), String::new()));
    place(&plane, ("acme", "next"), "pretended-a")
        .await
        .unwrap();
    // What was done for the drill is nobody's drift.
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    let events = plane.get(events).await.unwrap()["items"].to_string();
    assert!(!events.contains("put back Namespace"), "{events}");
    let events = "/apis/events.k8s.io/v1/namespaces/tenant-acme/events";
    let events = plane.get(events).await.unwrap()["items"].to_string();
    assert!(
        events.contains("the tenant stood the loss of zone-a"),
        "{events}"
    );
    // The request was taken up.
    pause(1500).await;
    let now = plane.get(&path("acme", "monthly")).await.unwrap();
    assert_eq!(now["status"], status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_given_back_when_nobody_asks_for_it_or_it_is_forbidden() {
    let plane = plane().await;
    let _kubelet = pretend_probes(&plane);
    let mut operator = Operator::start(&plane);
    landlord(&plane, "acme").await;
    let long = json!({"request": "one", "hold": "1h"});
    let take = async |name: &str| {
        plane.apply(&drill("acme", name, &long)).await.unwrap();
        until_said(&plane, "acme", name, "ZoneLost").await;
        assert_eq!(lost(&plane, "acme").await.1, "pretended-a");
    };
    // The Drill is deleted.
    take("deleted").await;
    plane
        .delete(&path("acme", "deleted"), &Value::Null)
        .await
        .unwrap();
    until_lost(&plane, "acme", "").await;

    // It is cut short.
    take("cut").await;
    let cut = json!({"spec": {"suspend": true}});
    plane
        .merge(&path("acme", "cut"), "kubectl", &cut)
        .await
        .unwrap();
    until_said(&plane, "acme", "cut", "Canceled").await;
    until_lost(&plane, "acme", "").await;

    // The Tenant forbids it.
    take("forbidden").await;
    let forbidding = allowing(tenant("acme"), &json!([]));
    plane.apply(&forbidding).await.unwrap();
    until_said(&plane, "acme", "forbidden", "NotAllowed").await;
    until_lost(&plane, "acme", "").await;
    landlord(&plane, "acme").await;

    // The operator dies, and the Drill goes while there is none.
    take("orphaned").await;
    operator.kill().await;
    plane
        .delete(&path("acme", "orphaned"), &Value::Null)
        .await
        .unwrap();
    pause(500).await;
    assert_eq!(lost(&plane, "acme").await.1, "pretended-a");
    let _operator = Operator::start(&plane);
    until_lost(&plane, "acme", "").await;

    // The tenant goes.
    take("removed").await;
    let tenant = "/apis/cloister.dev/v1alpha1/tenants/acme";
    plane.delete(tenant, &Value::Null).await.unwrap();
    crate::tenants::gone(&plane, "acme", 2 * LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_drill_is_refused_or_said_with_field_and_remedy() {
    let plane = plane().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    landlord(&plane, "strict").await;
    let refused: [(Value, &[&str]); 7] = [
        (json!({"type": "Fire"}), &["spec.type", "ZoneLoss"]),
        (json!({"hold": "5s"}), &["spec.hold", "from 10s to 1h"]),
        (
            json!({"timeout": "2h"}),
            &["spec.timeout", "from 10s to 1h"],
        ),
        (json!({"request": "a b"}), &["spec.request"]),
        (
            json!({"schedule": {"cron": "61 * * * *"}}),
            &["spec.schedule.cron", "minute (0-59)"],
        ),
        (
            json!({"whenNotRedundant": true}),
            &["spec.whenNotRedundant"],
        ),
        (json!({"nodes": []}), &["nodes"]),
    ];
    for (spec, words) in refused {
        let refusal = plane.apply(&drill("strict", "bad", &spec)).await;
        let refusal = refusal.unwrap_err();
        for word in words {
            assert!(refusal.message.contains(word), "{spec}: {refusal:?}");
        }
    }
    let mut held = drill("strict", "held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/never"]);
    let refusal = plane.apply(&held).await.unwrap_err();
    assert!(
        refusal.message.contains("metadata.finalizers"),
        "{refusal:?}"
    );
    let zone = json!({"cron": "0 3 * * *", "timeZone": "Europe/Nowhere"});
    let said = [
        ("never", json!({}), "NeverRun", "spec.request"),
        (
            "zone",
            json!({"request": "one", "zone": "zone-x"}),
            "UnknownZone",
            "spec.zone",
        ),
        (
            "clock",
            json!({"request": "one", "schedule": zone}),
            "InvalidSpec",
            "spec.schedule.timeZone",
        ),
    ];
    for (name, spec, reason, words) in said {
        plane.apply(&drill("strict", name, &spec)).await.unwrap();
        let status = until_said(&plane, "strict", name, reason).await;
        let message = status["conditions"][0]["message"].as_str().unwrap();
        assert!(message.contains(words), "{name}: {message}");
    }
    plane.apply(&tenant("strict")).await.unwrap();
    let asked = drill("strict", "asked", &json!({"request": "one"}));
    plane.apply(&asked).await.unwrap();
    let status = until_said(&plane, "strict", "asked", "NotAllowed").await;
    assert!(
        status.to_string().contains("spec.drills.allowed"),
        "{status}"
    );

    // Only the operator says what is lost.
    let lie = json!({"metadata": {"annotations": {"cloister.dev/lost-nodes": "pretended-a"}}});
    let refusal = plane
        .merge("/api/v1/namespaces/tenant-strict", "kubectl", &lie)
        .await;
    let refusal = refusal.unwrap_err().message;
    assert!(refusal.contains("belong to Cloister"), "{refusal}");
}

/// Runs side by side.
const LANES: usize = 3;
/// By then a run has come to its last write: the zone is held for 10 s of it.
const WHOLE: Duration = Duration::from_secs(30);

/// Stands for the kubelet where a pod of a lane is asked to go: it goes.
fn pretend_ends(plane: &ControlPlane) -> Task<()> {
    let admin = plane.admin();
    Task::start(async move {
        loop {
            let nothing = Value::Null;
            let path = "/api/v1/pods?labelSelector=%21cloister.dev%2Frole";
            let pods = send(&admin, Method::GET, path, "application/json", &nothing).await;
            for pod in pods.unwrap()["items"].as_array().into_iter().flatten() {
                if pod["metadata"]["deletionTimestamp"].is_string() {
                    remove(&admin, pod).await;
                }
            }
            pause(50).await;
        }
    })
}

/// One run, to its end, with a pod in the zone when it begins.
async fn rehearse(plane: &ControlPlane, lane: &str, request: &str) {
    make(plane, lane, "here").await;
    eventually(LIMIT, async || {
        match place(plane, (lane, "here"), "pretended-a").await {
            Err(refusal) if !refusal.message.contains("already assigned") => Err(refusal.message),
            Ok(_) | Err(_) => Ok(()),
        }
    })
    .await;
    // The operator has seen it where it is.
    pause(300).await;
    let asked = drill(lane, "monthly", &json!({"request": request}));
    plane.apply(&asked).await.unwrap();
}

/// Waits for the end of a run; says what is wrong with what it left.
async fn over(plane: &ControlPlane, lane: &str, request: &str, runs: usize) {
    eventually(LIMIT, async || {
        let object = plane.get(&path(lane, "monthly")).await.unwrap_or_default();
        let status = &object["status"];
        let result = &status["results"][0];
        let ended = status["run"].is_null() && result["request"] == request;
        ended.then_some(()).ok_or(object.to_string())
    })
    .await;
    let status = plane.get(&path(lane, "monthly")).await.unwrap()["status"].clone();
    let results = status["results"].as_array().unwrap();
    assert_eq!(results.len(), runs.min(10), "{status}");
    assert_eq!(results[0]["reason"], "Recovered", "{status}");
    assert_eq!(results[0]["pods"], 1, "{status}");
    assert!(is_going(plane, lane, "here").await, "it was not evicted");
    assert_eq!(lost(plane, lane).await, (String::new(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_a_run_leaves_a_zone_that_is_given_back() {
    let plane = plane().await;
    let _kubelet = (pretend_probes(&plane), pretend_ends(&plane));
    allow_lease(&plane, "calm").await;
    let calm = Operator::of(&plane, "calm");
    landlord(&plane, "calm").await;
    let before = rest(&calm, 0).await.len();
    rehearse(&plane, "calm", "one").await;
    over(&plane, "calm", "one", 1).await;
    let writes = rest(&calm, before).await;
    println!("{} writes: {writes:#?}", writes.len());
    let evictions = writes.iter().filter(|write| write.ends_with("/eviction"));
    assert_eq!(evictions.count(), 1, "{writes:#?}");

    let deaths = || Deaths::of(&writes, "calm").within(WHOLE);
    let lane = async |number: usize| {
        let lane = format!("stormy-{number}");
        allow_lease(&plane, &lane).await;
        let mut operator = Operator::of(&plane, &lane);
        landlord(&plane, &lane).await;
        let mut deaths = deaths();
        for (count, n) in (number..deaths.len()).step_by(LANES).enumerate() {
            let request = format!("run-{n}");
            rest(&operator, 0).await;
            let act = async || rehearse(&plane, &lane, &request).await;
            deaths.crash(&plane, (&mut operator, &lane), n, act).await;
            over(&plane, &lane, &request, count + 1).await;
        }
        deaths
    };
    let lanes = join_all((0..LANES).map(lane)).await;
    let died = Deaths::count(&lanes.iter().collect::<Vec<_>>());
    println!("{} writes, {died} crashes", writes.len());
}
