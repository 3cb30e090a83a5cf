//! The operator needs every right that its manifests give it, and no other.

use std::collections::BTreeSet;

use operator::rules::{self, Rule};
use serde_json::{Value, json};
use tests::{
    asked::{OF_DISPATCH, Right, right, used},
    control_plane::{ControlPlane, eventually, path_of, pause},
};

use crate::{
    drills::{allowing, drill, until_lost},
    in_process::{Operator, pretend_probes},
    teardown::{pod_path, run},
    tenants::{self, LIMIT, path, proven, says, tenant, with},
    workers::{self, worker},
};

/// Rights that no request shows, and why each is held all the same.
const UNSEEN: [(&str, &str, &str); 4] = [
    // Nobody can grant what they do not hold, and members get these of one Tenant.
    ("cloister.dev", "tenants", "get"),
    ("cloister.dev", "tenants", "update"),
    // Asked for inside the server, when an apply makes what is not there.
    ("discovery.k8s.io", "endpointslices", "create"),
    // Asked for inside the server, when a binding is made.
    ("rbac.authorization.k8s.io", "clusterroles", "bind"),
];

fn granted() -> BTreeSet<Right> {
    let all = [
        rules::operator(),
        rules::operator_in_system(),
        rules::operator_in_default(),
        rules::operator_in_decoy(),
    ];
    all.iter().flatten().flat_map(rights).collect()
}

fn rights(rule: &Rule) -> Vec<Right> {
    let pairs = rule.resources.iter().flat_map(|resource| {
        let verbs = rule.verbs.iter();
        verbs.map(move |verb| (*resource, *verb))
    });
    pairs
        .map(|(resource, verb)| right((rule.group, resource, verb)))
        .collect()
}

/// Everything that an operator ever does.
async fn live(plane: &ControlPlane) {
    plane
        .pretend_node("pretended", "zone-a", "203.0.113.9")
        .await;
    plane.pretend_probing_targets().await;
    let _kubelet = pretend_probes(plane);
    let mut operator = Operator::start(plane);
    let name = "busy";
    plane.apply(&tenant(name)).await.unwrap();
    proven(plane, name).await;
    for (pointer, value) in [
        ("/spec/limits", json!({"pods": 7})),
        ("/spec/state", json!("Suspended")),
    ] {
        let changed = with(tenant(name), pointer, value);
        plane.apply(&changed).await.unwrap();
        says(plane, name, "Ready", "True", reason(&changed)).await;
    }
    plane.apply(&tenant(name)).await.unwrap();
    proven(plane, name).await;
    drift(plane, name).await;
    work(plane, name).await;
    rehearse(plane, name).await;
    // The next one finds the lease taken, and then given back.
    operator.kill().await;
    let _operator = Operator::start(plane);
    run(
        plane,
        name,
        "held",
        &json!({"metadata": {"finalizers": ["example.com/never"]}}),
    )
    .await;
    let purged = plane.delete(&path(name), &Value::Null).await;
    purged.unwrap();
    tenants::gone(plane, name, 3 * LIMIT).await;
}

fn reason(tenant: &Value) -> &'static str {
    if tenant["spec"]["state"] == "Suspended" {
        "Suspended"
    } else {
        "Provisioned"
    }
}

/// A Worker is made, and then another one of it; and the same with volumes.
async fn work(plane: &ControlPlane, tenant: &str) {
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "fast"}, "provisioner": "example.com/disk",
        "volumeBindingMode": "WaitForFirstConsumer"});
    plane.apply(&class).await.unwrap();
    let volume = json!({"name": "data", "size": "1Gi", "mountPath": "/data",
        "storageClassName": "fast"});
    for replicas in [1, 2] {
        let spec = json!({"replicas": replicas, "volumes": [volume]});
        plane.apply(&worker(tenant, "keeper", &spec)).await.unwrap();
        let this = workers::path(tenant, "keeper");
        workers::says(plane, &this, "Ready", ("False", "Progressing")).await;
    }
    let this = format!("/apis/cloister.dev/v1alpha1/namespaces/tenant-{tenant}/workers/poller");
    for replicas in [3, 6] {
        let worker = worker(tenant, "poller", &json!({"replicas": replicas}));
        plane.apply(&worker).await.unwrap();
        workers::says(plane, &this, "Ready", ("False", "Progressing")).await;
    }
}

/// A pod is asked to leave the zone that a Drill takes.
async fn rehearse(plane: &ControlPlane, name: &str) {
    let allowing = allowing(tenant(name), &json!(["ZoneLoss"]));
    plane.apply(&allowing).await.unwrap();
    run(plane, name, "here", &json!({})).await;
    let spec = json!({"request": "one", "whenNotRedundant": "Run"});
    plane.apply(&drill(name, "monthly", &spec)).await.unwrap();
    eventually(LIMIT, async || {
        let pod = plane.get(&pod_path(name, "here")).await.unwrap_or_default();
        if pod["metadata"]["deletionTimestamp"].is_null() {
            return Err(format!("it stays: {pod}"));
        }
        Ok(())
    })
    .await;
    let this = path_of(&drill(name, "monthly", &spec));
    plane.delete(&this, &Value::Null).await.unwrap();
    until_lost(plane, name, "").await;
}

/// Somebody edits one object of each kind, admission looking away, one of them twice, and
/// makes a policy and a quota that look like the operator's.
async fn drift(plane: &ControlPlane, name: &str) {
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let namespaces = format!("{policies}/cloister-namespaces");
    plane.delete(&namespaces, &Value::Null).await.unwrap();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let inside = format!("namespaces/tenant-{name}");
    let label = json!({"metadata": {"labels": {"cloister.dev/tenant": "x"}}});
    let limits = format!("/api/v1/{inside}");
    for path in [
        format!("/api/v1/namespaces/tenant-{name}"),
        format!("{limits}/resourcequotas/cloister-limits"),
        format!("{limits}/resourcequotas/cloister-pod-limits"),
        format!("{limits}/limitranges/cloister-limits"),
        format!("{limits}/serviceaccounts/cloister-sandbox"),
        format!("/apis/networking.k8s.io/v1/{inside}/networkpolicies/cloister-deny-all"),
        format!("{rbac}/{inside}/rolebindings/cloister-tenant-user"),
        format!("/apis/networking.k8s.io/v1/{inside}/networkpolicies/cloister-deny-all"),
        format!("{rbac}/clusterroles/cloister:tenant:{name}:view"),
        format!("{rbac}/clusterrolebindings/cloister:tenant:{name}:view"),
    ] {
        eventually(LIMIT, async || {
            let edited = plane.merge(&path, "mallory", &label).await;
            edited.map(drop).map_err(|refusal| refusal.message)
        })
        .await;
        eventually(LIMIT, async || {
            let object = plane.get(&path).await.unwrap();
            let found = &object["metadata"]["labels"]["cloister.dev/tenant"];
            if found == name {
                return Ok(());
            }
            Err(format!("{path} says {found}"))
        })
        .await;
    }
    let namespace = format!("tenant-{name}");
    let tenant = plane.get(&path(name)).await.unwrap();
    let owner = json!([{"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant", "name": name,
        "uid": tenant["metadata"]["uid"], "controller": true}]);
    let widening = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "widening", "namespace": namespace, "ownerReferences": owner},
        "spec": {"podSelector": {}, "ingress": [{}]}});
    let scoped = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "cloister-limits", "namespace": namespace, "ownerReferences": owner},
        "spec": {"hard": {"pods": "1"}, "scopes": ["NotTerminating"]}});
    plane.create(&widening).await.unwrap();
    eventually(LIMIT, async || {
        let quota = path_of(&scoped);
        plane
            .delete(&quota, &Value::Null)
            .await
            .map_err(|refusal| refusal.message)?;
        plane
            .create(&scoped)
            .await
            .map(drop)
            .map_err(|refusal| refusal.message)
    })
    .await;
    eventually(LIMIT, async || {
        let quota = plane.get(&path_of(&scoped)).await;
        let quota = quota.map_err(|refusal| refusal.message)?;
        if quota["spec"]["scopes"].is_null() {
            return Ok(());
        }
        Err(format!("the quota is {quota}"))
    })
    .await;
    proven(plane, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_of_the_operator_is_used_and_none_is_missing() {
    let plane = ControlPlane::start().await;
    live(&plane).await;
    pause(1000).await;
    let (used, missing) = used(&plane.audit());
    assert!(missing.is_empty(), "{missing:#?}");
    let granted = granted();
    let unseen = UNSEEN.iter().chain(&OF_DISPATCH);
    let unseen: BTreeSet<Right> = unseen.copied().map(right).collect();
    let superfluous: Vec<_> = granted
        .difference(&used)
        .filter(|one| !unseen.contains(*one))
        .collect();
    println!(
        "{} rights, {} used, {} held for their reasons",
        granted.len(),
        granted.intersection(&used).count(),
        unseen.len()
    );
    assert!(superfluous.is_empty(), "nothing uses {superfluous:#?}");
    let ungranted: Vec<_> = used.difference(&granted).collect();
    assert!(ungranted.is_empty(), "used by another role: {ungranted:#?}");
}
