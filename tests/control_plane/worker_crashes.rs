//! An operator that dies after any write about a Worker leads to the same end as one that does not.

use std::collections::BTreeMap;

use futures::future::join;
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, eventually};

use crate::{
    crashes::{Deaths, State, rest},
    in_process::{Operator, allow_lease, pretend_probes},
    tenants::{LIMIT, difference},
    workers::{landlord, path, scale, worker},
};

const NAME: &str = "poller";

/// What somebody does to a Worker, one after the other.
#[derive(Clone, Copy, Debug)]
enum Act {
    Create,
    Change,
    Scale,
    Suspend,
    Resume,
    Delete,
}

const ACTS: [Act; 6] = [
    Act::Create,
    Act::Change,
    Act::Scale,
    Act::Suspend,
    Act::Resume,
    Act::Delete,
];

async fn act(plane: &ControlPlane, tenant: &str, volumes: &Value, act: Act) {
    let this = path(tenant, NAME);
    let merge = async |spec: Value| {
        let change = json!({"spec": spec});
        plane.merge(&this, "somebody", &change).await.map(drop)
    };
    let done = match act {
        Act::Create => {
            let spec = json!({"replicas": 2, "volumes": volumes});
            plane.create(&worker(tenant, NAME, &spec)).await.map(drop)
        }
        Act::Change => {
            let egress = json!([{"cidr": "203.0.113.200/32",
                "ports": [{"port": 443, "protocol": "TCP"}]}]);
            merge(json!({"args": ["another"], "egress": egress})).await
        }
        Act::Scale => scale(plane, &this, 3).await.map(drop),
        Act::Suspend => merge(json!({"suspend": true})).await,
        Act::Resume => merge(json!({"suspend": null})).await,
        Act::Delete => plane.delete(&this, &Value::Null).await.map(drop),
    };
    done.unwrap();
}

/// What there is of the Worker, without what no two of them share; of its pods, how many.
async fn state_of(plane: &ControlPlane, tenant: &str) -> State {
    let inside = format!("namespaces/tenant-{tenant}");
    let labels = format!("labelSelector=cloister.dev%2Fworker%3D{NAME}");
    let mut state = BTreeMap::new();
    for list in [
        format!("/apis/apps/v1/{inside}/deployments"),
        format!("/apis/apps/v1/{inside}/statefulsets"),
        format!("/apis/policy/v1/{inside}/poddisruptionbudgets"),
        format!("/apis/networking.k8s.io/v1/{inside}/networkpolicies"),
        format!("/api/v1/{inside}/persistentvolumeclaims"),
    ] {
        let answer = plane.get(&format!("{list}?{labels}")).await.unwrap();
        for (number, object) in answer["items"].as_array().into_iter().flatten().enumerate() {
            let metadata = &object["metadata"];
            let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
            let owners: Vec<_> = owners
                .map(|owner| [&owner["kind"], &owner["name"]])
                .collect();
            let known = json!({"owners": owners, "labels": metadata["labels"],
                "spec": object["spec"]});
            state.insert(format!("{list} {number}"), known);
        }
    }
    let pods = plane.get(&format!("/api/v1/{inside}/pods?{labels}")).await;
    let pods = pods.unwrap()["items"]
        .as_array()
        .map(Vec::len)
        .unwrap_or_default();
    if pods > 0 {
        state.insert("pods".to_owned(), json!(pods));
    }
    if let Ok(object) = plane.get(&path(tenant, NAME)).await {
        let mut status = object["status"].clone();
        let current = status["observedGeneration"] == object["metadata"]["generation"];
        status["observedGeneration"] = json!(current);
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = Value::Null;
            condition["observedGeneration"] = Value::Null;
        }
        state.insert("status".to_owned(), status);
    }
    state
}

/// All acts once by an operator that does not die, and then with a death in each write of each.
async fn storm(plane: &ControlPlane, tenant: &str, volumes: Value) {
    allow_lease(plane, tenant).await;
    let mut operator = Operator::of(plane, tenant);
    landlord(plane, tenant).await;
    let mut ways = Vec::new();
    // Once around first: the Tenant's own status comes to rest.
    for _ in 0..2 {
        ways.clear();
        for one in ACTS {
            rest(&operator, 0).await;
            let before = operator.crash.writes().len();
            act(plane, tenant, &volumes, one).await;
            let writes = rest(&operator, before).await;
            let deaths = Deaths::of(&writes, tenant);
            ways.push((one, state_of(plane, tenant).await, deaths));
        }
    }
    let end = ways.last().map(|(_, state, _)| state.clone());
    assert_eq!(
        end,
        Some(State::new()),
        "a Worker that is deleted leaves nothing"
    );
    let written: Vec<_> = ways
        .iter()
        .map(|(one, _, deaths)| (one, deaths.len()))
        .collect();
    println!("{tenant}: to die in {written:?}");
    for (one, _, deaths) in &ways[..5] {
        assert!(deaths.len() > 0, "{tenant}: {one:?} is not written");
    }
    let most = ways.iter().map(|(_, _, deaths)| deaths.len()).max();
    for n in 0..most.unwrap() {
        for (one, state, deaths) in &mut ways {
            let act = async || act(plane, tenant, &volumes, *one).await;
            deaths.crash(plane, (&mut operator, tenant), n, act).await;
            eventually(LIMIT, async || {
                let found = state_of(plane, tenant).await;
                let differs = difference(state, &found);
                differs.map_or(Ok(()), |text| Err(format!("{n} {one:?}: {text}")))
            })
            .await;
        }
    }
    let crashes: usize = ways.iter().map(|way| Deaths::count(&[&way.2])).sum();
    println!("{tenant}: {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_about_a_worker_changes_nothing() {
    let plane = ControlPlane::start().await;
    let _kubelet = pretend_probes(&plane);
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "fast"}, "provisioner": "example.com/disk",
        "volumeBindingMode": "WaitForFirstConsumer"});
    plane.apply(&class).await.unwrap();
    let volume = json!({"name": "data", "size": "1Gi", "mountPath": "/data",
        "storageClassName": "fast"});
    join(
        storm(&plane, "plain", json!([])),
        storm(&plane, "keeping", json!([volume])),
    )
    .await;
}
