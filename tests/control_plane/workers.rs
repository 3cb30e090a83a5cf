//! Workers: what is made of them by the real controllers, and let in by the real admission; and
//! what is refused. Nothing runs: a pod is ready when the test says so.

use http::Method;
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Refusal, eventually, pause, send};

use crate::{
    in_process::{Operator, pretend_probes},
    tenants::{LIMIT, proven, tenant, with},
};

pub const NODES: [(&str, &str, &str); 3] = [
    ("pretended-a", "zone-a", "203.0.113.9"),
    ("pretended-b", "zone-b", "203.0.113.10"),
    ("pretended-c", "zone-c", "203.0.113.11"),
];

/// A Worker of a tenant, with these fields beyond image and command.
pub fn worker(tenant: &str, name: &str, spec: &Value) -> Value {
    let mut whole = json!({"image": "hello", "command": ["/hello"]});
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Worker",
        "metadata": {"name": name, "namespace": format!("tenant-{tenant}")}, "spec": whole,
    })
}

pub fn path(tenant: &str, name: &str) -> String {
    format!("/apis/cloister.dev/v1alpha1/namespaces/tenant-{tenant}/workers/{name}")
}

pub fn deployment(tenant: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/tenant-{tenant}/deployments/worker-{name}")
}

/// Status, reason and message of a condition, once it is about the spec as it is.
pub async fn says(
    plane: &ControlPlane,
    worker: &str,
    type_: &str,
    expected: (&str, &str),
) -> String {
    let mut message = String::new();
    eventually(LIMIT, async || {
        let object = plane.get(worker).await.unwrap_or_default();
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let list = object["status"]["conditions"].as_array();
        let found = list.into_iter().flatten().find(|c| c["type"] == type_);
        let text = |key: &str| {
            found
                .and_then(|c| c[key].as_str())
                .unwrap_or("-")
                .to_owned()
        };
        message = text("message");
        let said = (text("status"), text("reason"));
        if current && (&*said.0, &*said.1) == expected {
            return Ok(());
        }
        Err(format!(
            "{worker} {type_}: {said:?} {message}, not {expected:?}"
        ))
    })
    .await;
    message
}

/// Its pods that are not on their way out.
pub async fn pods(plane: &ControlPlane, tenant: &str, name: &str) -> Vec<Value> {
    let labels = format!("cloister.dev%2Fworker%3D{name}");
    let path = format!("/api/v1/namespaces/tenant-{tenant}/pods?labelSelector={labels}");
    let list = plane.get(&path).await.unwrap();
    let all = list["items"].as_array().cloned().unwrap_or_default();
    let stays = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_null();
    all.into_iter().filter(stays).collect()
}

pub async fn until_pods(
    plane: &ControlPlane,
    tenant: &str,
    name: &str,
    count: usize,
) -> Vec<Value> {
    let mut found = Vec::new();
    eventually(LIMIT, async || {
        found = pods(plane, tenant, name).await;
        if found.len() == count {
            return Ok(());
        }
        let made = plane.get(&deployment(tenant, name)).await;
        Err(format!(
            "{} pods of {name}, not {count}: {made:?}",
            found.len()
        ))
    })
    .await;
    found
}

pub fn pod_path(pod: &Value) -> String {
    let text = |key: &str| pod["metadata"][key].as_str().unwrap().to_owned();
    format!(
        "/api/v1/namespaces/{}/pods/{}",
        text("namespace"),
        text("name")
    )
}

/// Puts a pod on a node, and has it say that it is ready.
pub async fn run(plane: &ControlPlane, pod: &Value, node: &str) {
    let path = pod_path(pod);
    let binding = json!({"apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": pod["metadata"]["name"]},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    plane
        .post(&format!("{path}/binding"), &binding)
        .await
        .unwrap();
    let status = json!({"status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}]}});
    plane
        .merge(&format!("{path}/status"), "pretender", &status)
        .await
        .unwrap();
}

pub async fn scale(plane: &ControlPlane, worker: &str, replicas: u32) -> Result<Value, Refusal> {
    let change = json!({"spec": {"replicas": replicas}});
    plane
        .merge(&format!("{worker}/scale"), "scaler", &change)
        .await
}

/// A tenant that is proven, on three nodes in three zones.
pub async fn landlord(plane: &ControlPlane, name: &str) {
    for (node, zone, address) in NODES {
        plane.pretend_node(node, zone, address).await;
    }
    plane.pretend_probing_targets().await;
    let isolation =
        json!({"egressCeiling": [{"cidr": "203.0.113.128/25", "ports": [{"port": 443}]}]});
    let tenant = with(tenant(name), "/spec/isolation", isolation);
    plane.apply(&tenant).await.unwrap();
    proven(plane, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_made_let_in_spread_counted_and_guarded() {
    let plane = ControlPlane::start().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    landlord(&plane, "wide").await;
    let egress = json!([{"cidr": "203.0.113.200/32", "ports": [{"port": 443, "protocol": "TCP"}]}]);
    let spec = json!({"replicas": 3, "zones": {"minimum": 3}, "minAvailable": 2, "egress": egress});
    plane.apply(&worker("wide", "poller", &spec)).await.unwrap();
    let this = path("wide", "poller");

    // The controllers of Deployments and ReplicaSets make them, and admission lets them.
    let made = until_pods(&plane, "wide", "poller", 3).await;
    says(&plane, &this, "ZoneRedundant", ("False", "NotRunning")).await;
    for (pod, (node, _, _)) in made.iter().zip(NODES) {
        run(&plane, pod, node).await;
    }
    says(&plane, &this, "Ready", ("True", "Running")).await;
    says(&plane, &this, "ZoneRedundant", ("True", "Redundant")).await;
    let status = plane.get(&this).await.unwrap()["status"].clone();
    assert_eq!(status["ready"], "3/3", "{status}");
    assert_eq!(status["spread"], "zone-a:1,zone-b:1,zone-c:1", "{status}");

    // Its policy lets nothing in, and out what was asked.
    let labels = "labelSelector=cloister.dev%2Fworker%3Dpoller";
    let policies = "/apis/networking.k8s.io/v1/namespaces/tenant-wide/networkpolicies";
    let policies = plane.get(&format!("{policies}?{labels}")).await.unwrap();
    let policies = policies["items"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{policies:?}");
    let policy = &policies[0]["spec"];
    assert!(policy["ingress"].is_null(), "{policy}");
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let to = policy["egress"][0]["to"][0]["ipBlock"]["cidr"].as_str();
    assert_eq!(to, Some("203.0.113.200/32"), "{policy}");
    proven(&plane, "wide").await;

    // What the server filled in of the Deployment is no reason to write it again.
    let versions = async || {
        let object = plane.get(&deployment("wide", "poller")).await.unwrap();
        object["metadata"]["generation"].clone()
    };
    assert_eq!(versions().await, 1);
    let note = json!({"metadata": {"annotations": {"a": "b"}}});
    plane.merge(&this, "somebody", &note).await.unwrap();
    pause(1500).await;
    assert_eq!(versions().await, 1);

    // One goes: that no second one is evicted is seen on the cluster, where pods are real.
    let at_once = json!({"gracePeriodSeconds": 0});
    plane.delete(&pod_path(&made[0]), &at_once).await.unwrap();
    says(&plane, &this, "ZoneRedundant", ("False", "ZoneNeeded")).await;

    // Nobody but the operator says what its pods are.
    let other = json!({"spec": {"template": {"spec": {"enableServiceLinks": true}}}});
    let refusal = plane
        .merge(&deployment("wide", "poller"), "mallory", &other)
        .await;
    let refusal = refusal.unwrap_err().message;
    assert!(refusal.contains("change the Worker instead"), "{refusal}");

    let deleted = plane.delete(&this, &Value::Null).await;
    deleted.unwrap();
    eventually(LIMIT, async || {
        match plane.get(&deployment("wide", "poller")).await {
            Err(refusal) if refusal.code == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_scaled_by_its_subresource_and_a_new_version_that_fails_is_told() {
    let plane = ControlPlane::start().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    landlord(&plane, "scaled").await;
    let spec = json!({"replicas": 2, "minAvailable": 1});
    plane
        .apply(&worker("scaled", "poller", &spec))
        .await
        .unwrap();
    let this = path("scaled", "poller");
    until_pods(&plane, "scaled", "poller", 2).await;
    scale(&plane, &this, 3).await.unwrap();
    let made = until_pods(&plane, "scaled", "poller", 3).await;
    eventually(LIMIT, async || {
        let seen = plane.get(&format!("{this}/scale")).await.unwrap();
        let selector = "cloister.dev/role=worker,cloister.dev/worker=poller";
        if seen["status"]["replicas"] == 3 && seen["status"]["selector"] == selector {
            return Ok(());
        }
        Err(seen.to_string())
    })
    .await;
    for (pod, (node, _, _)) in made.iter().zip(NODES) {
        run(&plane, pod, node).await;
    }
    says(&plane, &this, "Ready", ("True", "Running")).await;
    for (replicas, words) in [(0, "suspend"), (1, "minAvailable"), (10_000, "1000")] {
        let refusal = scale(&plane, &this, replicas).await.unwrap_err();
        assert!(refusal.message.contains(words), "{replicas}: {refusal:?}");
    }

    // A new version: one more pod, and the old ones stay while it does not come up.
    let image = json!({"spec": {"image": "missing"}});
    plane.merge(&this, "somebody", &image).await.unwrap();
    let all = until_pods(&plane, "scaled", "poller", 4).await;
    let old: Vec<_> = made.iter().map(|pod| &pod["metadata"]["name"]).collect();
    let new = all
        .iter()
        .find(|pod| !old.contains(&&pod["metadata"]["name"]));
    let waiting = json!({"status": {"phase": "Pending", "containerStatuses": [{"name": "worker",
        "image": "missing", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]}});
    let status = format!("{}/status", pod_path(new.unwrap()));
    plane.merge(&status, "pretender", &waiting).await.unwrap();
    let said = says(&plane, &this, "Ready", ("False", "RolloutBlocked")).await;
    assert!(said.contains("ErrImagePull: no such image"), "{said}");
    says(&plane, &this, "ZoneRedundant", ("True", "Redundant")).await;
    let left = until_pods(&plane, "scaled", "poller", 4).await;
    let names: Vec<_> = left.iter().map(|pod| &pod["metadata"]["name"]).collect();
    assert!(old.iter().all(|name| names.contains(name)), "{names:?}");

    // None are to run: by its own word alone.
    let suspended = json!({"spec": {"suspend": true, "image": "hello"}});
    plane.merge(&this, "somebody", &suspended).await.unwrap();
    says(&plane, &this, "Ready", ("False", "Suspended")).await;
    let wanted = plane.get(&deployment("scaled", "poller")).await.unwrap();
    assert_eq!(wanted["spec"]["replicas"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_worker_is_refused_or_said_with_field_and_remedy() {
    let plane = ControlPlane::start().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    landlord(&plane, "strict").await;
    let refused: [(Value, &[&str]); 7] = [
        (json!({"replicas": 0}), &["spec.replicas", "suspend: true"]),
        (
            json!({"replicas": 10_000}),
            &["spec.replicas", "at most 1000"],
        ),
        (
            json!({"replicas": 2, "minAvailable": 2}),
            &["spec.minAvailable", "raise replicas"],
        ),
        (
            json!({"zones": {"minimum": 4}}),
            &["spec.zones.minimum", "raise replicas"],
        ),
        (
            json!({"zones": {"minimum": 2, "names": ["zone-a"]}}),
            &["spec.zones", "not both"],
        ),
        (
            json!({"shutdownGrace": "1h"}),
            &["spec.shutdownGrace", "from 0s to 10m"],
        ),
        (
            json!({"volumes": [{"name": "a", "size": "1Gi", "mountPath": "/work/a"}]}),
            &["spec.volumes[0].mountPath", "such as /data"],
        ),
    ];
    for (spec, words) in refused {
        let refusal = plane
            .apply(&worker("strict", "bad", &spec))
            .await
            .unwrap_err();
        for word in words {
            assert!(refusal.message.contains(word), "{spec}: {refusal:?}");
        }
    }
    let said: [(&str, Value, &str, &str); 3] = [
        (
            "beyond",
            json!({"egress": [{"cidr": "8.8.8.8/32", "ports": [{"port": 53}]}]}),
            "EgressBeyondCeiling",
            "spec.egress[0]",
        ),
        (
            "kernel",
            json!({"runtime": "GVisor"}),
            "InvalidSpec",
            "spec.runtime",
        ),
        (
            "long",
            json!({"args": vec!["\u{1}".repeat(1000); 64]}),
            "InvalidSpec",
            "make them shorter",
        ),
    ];
    for (name, spec, reason, words) in said {
        plane.apply(&worker("strict", name, &spec)).await.unwrap();
        let said = says(&plane, &path("strict", name), "Ready", ("False", reason)).await;
        assert!(said.contains(words), "{name}: {said}");
        let none = plane.get(&deployment("strict", name)).await.unwrap_err();
        assert_eq!(none.code, 404, "{name}");
    }
    // Somebody else's Deployment of its name is left as it is.
    let taken = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "worker-taken", "namespace": "tenant-strict"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "a", "image": "a"}]}}},
    });
    plane.create(&taken).await.unwrap();
    plane
        .apply(&worker("strict", "taken", &json!({})))
        .await
        .unwrap();
    says(
        &plane,
        &path("strict", "taken"),
        "Ready",
        ("False", "ForeignObject"),
    )
    .await;
    // Where no tenant is.
    let mut stray = worker("strict", "stray", &json!({}));
    stray["metadata"]["namespace"] = json!("default");
    plane.apply(&stray).await.unwrap();
    let stray = "/apis/cloister.dev/v1alpha1/namespaces/default/workers/stray";
    says(&plane, stray, "Ready", ("False", "NoTenant")).await;
    let admin = plane.admin();
    let _ = send(
        &admin,
        Method::DELETE,
        stray,
        "application/json",
        &Value::Null,
    )
    .await;
}
