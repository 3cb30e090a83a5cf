//! Workers with volumes: a claim for each replica, made by the real controllers and let in by the
//! real admission; what of it stays, and what goes. No volume is made: nothing runs.

use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, eventually, pause};

use crate::{
    in_process::{Operator, pretend_probes},
    tenants::LIMIT,
    workers::{NODES, landlord, path, pod_path, run, says, scale, until_pods, worker},
};

fn set(tenant: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/tenant-{tenant}/statefulsets/worker-{name}")
}

fn class(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "example.com/disk", "volumeBindingMode": mode})
}

/// Names of the claims of a Worker.
async fn claims(plane: &ControlPlane, tenant: &str, name: &str) -> Vec<String> {
    let labels = format!("labelSelector=cloister.dev%2Fworker%3D{name}");
    let path = format!("/api/v1/namespaces/tenant-{tenant}/persistentvolumeclaims?{labels}");
    let list = plane.get(&path).await.unwrap();
    let all = list["items"].as_array().into_iter().flatten();
    all.filter_map(|claim| Some(claim["metadata"]["name"].as_str()?.to_owned()))
        .collect()
}

async fn until_claims(plane: &ControlPlane, tenant: &str, name: &str, expected: &[&str]) {
    eventually(LIMIT, async || match claims(plane, tenant, name).await {
        found if found == expected => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await;
}

const ALL: [&str; 3] = [
    "data-worker-poller-0",
    "data-worker-poller-1",
    "data-worker-poller-2",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_volumes_has_a_claim_for_each_replica_for_as_long_as_it_is_there() {
    let plane = ControlPlane::start().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    landlord(&plane, "keeper").await;
    plane
        .apply(&class("fast", "WaitForFirstConsumer"))
        .await
        .unwrap();
    let volumes = json!([{"name": "data", "size": "1Gi", "mountPath": "/data",
        "storageClassName": "fast"}]);
    let spec = json!({"replicas": 3, "volumes": volumes});
    plane
        .apply(&worker("keeper", "poller", &spec))
        .await
        .unwrap();
    let this = path("keeper", "poller");
    let made = until_pods(&plane, "keeper", "poller", 3).await;
    until_claims(&plane, "keeper", "poller", &ALL).await;
    for (pod, (node, _, _)) in made.iter().zip(NODES) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let own = json!({"claimName": format!("data-{name}")});
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        assert!(
            volumes
                .iter()
                .any(|one| one["persistentVolumeClaim"] == own),
            "{volumes:?}"
        );
        run(&plane, pod, node).await;
    }
    says(&plane, &this, "Ready", ("True", "Running")).await;
    says(&plane, &this, "ZoneRedundant", ("True", "Redundant")).await;

    // What the server filled in is no reason to write it again; nor is there a Service.
    let generation = async || {
        let object = plane.get(&set("keeper", "poller")).await.unwrap();
        object["metadata"]["generation"].clone()
    };
    let note = json!({"metadata": {"annotations": {"a": "b"}}});
    plane.merge(&this, "somebody", &note).await.unwrap();
    pause(1500).await;
    assert_eq!(generation().await, 1);
    let services = "/api/v1/namespaces/tenant-keeper/services";
    assert_eq!(plane.get(services).await.unwrap()["items"], json!([]));

    // Somebody's change of it is put back, and nobody else makes its pods another.
    let other = json!({"spec": {"template": {"spec": {"enableServiceLinks": true}}}});
    let refusal = plane
        .merge(&set("keeper", "poller"), "mallory", &other)
        .await;
    let refusal = refusal.unwrap_err().message;
    assert!(refusal.contains("change the Worker instead"), "{refusal}");

    // Volumes are said once: no other, no more, no fewer.
    for other in [
        json!([{"name": "data", "size": "2Gi", "mountPath": "/data", "storageClassName": "fast"}]),
        json!(null),
    ] {
        let change = json!({"spec": {"volumes": other}});
        let refusal = plane.merge(&this, "somebody", &change).await.unwrap_err();
        assert!(
            refusal.message.contains("make another Worker"),
            "{refusal:?}"
        );
    }

    // Fewer replicas, and none at all, leave the claims; no Worker, no claims.
    scale(&plane, &this, 2).await.unwrap();
    until_pods(&plane, "keeper", "poller", 2).await;
    let suspended = json!({"spec": {"suspend": true}});
    plane.merge(&this, "somebody", &suspended).await.unwrap();
    until_pods(&plane, "keeper", "poller", 0).await;
    assert_eq!(claims(&plane, "keeper", "poller").await, ALL);
    // No kubelet says of those that ran that they are over.
    let at_once = json!({"gracePeriodSeconds": 0});
    for pod in &made {
        let _ = plane.delete(&pod_path(pod), &at_once).await;
    }
    plane.delete(&this, &Value::Null).await.unwrap();
    until_claims(&plane, "keeper", "poller", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_cannot_follow_is_told_with_field_and_remedy_until_there_is_one() {
    let plane = ControlPlane::start().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    landlord(&plane, "classy").await;
    let volume = |class: Value| {
        let mut volume = json!({"name": "data", "size": "1Gi", "mountPath": "/data"});
        if !class.is_null() {
            volume["storageClassName"] = class;
        }
        json!({"volumes": [volume]})
    };
    plane.apply(&class("eager", "Immediate")).await.unwrap();
    let invalid = ("False", "InvalidSpec");
    for (name, class, words) in [
        ("none", Value::Null, "no default StorageClass"),
        ("unknown", json!("nowhere"), "no StorageClass nowhere"),
        ("eager", json!("eager"), "WaitForFirstConsumer"),
    ] {
        plane
            .apply(&worker("classy", name, &volume(class)))
            .await
            .unwrap();
        let said = says(&plane, &path("classy", name), "Ready", invalid).await;
        assert!(
            said.starts_with("spec.volumes[0].storageClassName: "),
            "{said}"
        );
        assert!(said.contains(words), "{said}");
        let none = plane.get(&set("classy", name)).await.unwrap_err();
        assert_eq!(none.code, 404, "{name}");
    }
    let much = json!({"volumes": [{"name": "data", "size": "1Ti", "mountPath": "/data"}]});
    let default = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let mut waiting = class("patient", "WaitForFirstConsumer");
    waiting["metadata"]["annotations"] = default;
    plane.apply(&waiting).await.unwrap();
    plane
        .apply(&worker("classy", "large", &much))
        .await
        .unwrap();
    let said = says(&plane, &path("classy", "large"), "Ready", invalid).await;
    assert!(
        said.contains("spec.limits.storage of Tenant classy"),
        "{said}"
    );

    // The default that has come is enough for the one that named none.
    until_pods(&plane, "classy", "none", 3).await;
    until_claims(
        &plane,
        "classy",
        "none",
        &[
            "data-worker-none-0",
            "data-worker-none-1",
            "data-worker-none-2",
        ],
    )
    .await;
}
