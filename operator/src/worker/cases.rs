//! Cases: a Worker and what is around it → what is written, and what its status says.
//!
//! One YAML file each, beside this one. What stands under `expect` is what the room does;
//! `UPDATE_GOLDEN=1 cargo test -p operator worker::cases` rewrites it, and the diff is to be read.

use std::{collections::BTreeMap, sync::Arc};

use crds::{Tenant, Worker};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Node, Pod},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
    node::v1::RuntimeClass,
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::WorkerRoom;
use crate::{
    cases,
    egress::{self, Holder, Of},
    gatekeeper::{OPERATOR, refusals},
    meta::Owner,
    recording::{Recording, UID},
    room,
    world::{World, facts::Uid},
};

/// UID of the one Worker.
const WORKER: &str = "00000000-0000-4000-8000-00000000000d";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Beyond image and command.
    #[serde(default)]
    spec: BTreeMap<String, Value>,
    /// Fields of the Tenant's spec beyond its one member.
    #[serde(default)]
    tenant: BTreeMap<String, Value>,
    /// What is not there of `tenant` and its `policy`.
    #[serde(default)]
    lacks: Vec<String>,
    /// What the Tenant's status says of its isolation.
    #[serde(default = "proven")]
    isolation: String,
    /// Zone by node.
    #[serde(default = "nodes")]
    nodes: BTreeMap<String, String>,
    /// The cluster has the RuntimeClass.
    #[serde(default)]
    gvisor: bool,
    /// The cluster's `StorageClasses`: what they say beyond a name.
    #[serde(default)]
    classes: BTreeMap<String, Value>,
    /// Those of the nodes that take nothing.
    #[serde(default)]
    cordoned: Vec<String>,
    /// An earlier pass has made everything.
    #[serde(default)]
    kept: bool,
    /// Fields of the spec that were different then.
    #[serde(default)]
    before: BTreeMap<String, Value>,
    /// Fields of the Tenant's spec that are different since.
    #[serde(default)]
    since: BTreeMap<String, Value>,
    /// Addresses of the API server since then.
    #[serde(default)]
    api_servers: Vec<String>,
    /// What the Deployment's controller says.
    #[serde(default)]
    controller: Vec<Value>,
    #[serde(default)]
    pods: Vec<Replica>,
    /// What is there and is somebody else's: a Deployment that is not watched.
    #[serde(default)]
    taken: bool,
    /// Kinds whose objects are to be shown whole.
    #[serde(default)]
    show: Vec<String>,
    /// Not read: compared as text.
    #[serde(default, rename = "expect")]
    _expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replica {
    /// Node that it is on, if it found one.
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    ready: bool,
    /// Made from what was before.
    #[serde(default)]
    old: bool,
    /// It is asked to go.
    #[serde(default)]
    going: bool,
    /// Why it waits, as `reason: message`.
    #[serde(default)]
    waits: Option<String>,
}

fn proven() -> String {
    "True".to_owned()
}

fn nodes() -> BTreeMap<String, String> {
    ["a", "b", "c"]
        .map(|letter| (format!("node-{letter}"), format!("zone-{letter}")))
        .into()
}

fn parsed<K: serde::de::DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{object}: {error}"))
}

fn tenant(case: &Case, earlier: bool) -> Tenant {
    let mut spec = json!({"members": [{"kind": "User", "name": "ada", "role": "Owner"}]});
    for (field, value) in &case.tenant {
        spec[field] = value.clone();
    }
    for (field, value) in case.since.iter().filter(|_| !earlier) {
        spec[field] = value.clone();
    }
    let isolation = if earlier { "True" } else { &case.isolation };
    parsed(&json!({
        "metadata": {"name": "acme", "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": spec,
        "status": {"namespace": "tenant-acme", "conditions": [{"type": "IsolationVerified",
            "status": isolation, "reason": "X", "message": "as the probes say",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    }))
}

fn worker(case: &Case, before: bool) -> Worker {
    let mut spec = json!({"image": "hello", "command": ["/hello"]});
    for (field, value) in &case.spec {
        spec[field] = value.clone();
    }
    for (field, value) in case.before.iter().filter(|_| before) {
        spec[field] = value.clone();
    }
    parsed(&json!({
        "metadata": {"name": "poller", "namespace": "tenant-acme", "uid": WORKER, "generation": 1,
            "resourceVersion": "1"},
        "spec": spec,
    }))
}

fn surround(world: &World, case: &Case) {
    for (number, (name, zone)) in case.nodes.iter().enumerate() {
        let taints = if case.cordoned.contains(name) {
            json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])
        } else {
            json!([])
        };
        world.see(&parsed::<Node>(&json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                "topology.kubernetes.io/region": "local-1", "topology.kubernetes.io/zone": zone}},
            "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": format!("192.0.2.{}", 11 + number)}]},
        })));
    }
    if case.gvisor {
        let class = json!({"metadata": {"name": "gvisor"}, "handler": "runsc",
            "overhead": {"podFixed": {"memory": "64Mi", "cpu": "100m"}}});
        world.see(&parsed::<RuntimeClass>(&class));
    }
    for (name, fields) in &case.classes {
        let mut class = fields.clone();
        class["metadata"]["name"] = json!(name);
        class["provisioner"] = json!("example.com/disk");
        world.see(&parsed::<StorageClass>(&class));
    }
    serve(world, &["192.0.2.1".to_owned()], 1);
}

/// The API server is reached at these.
fn serve(world: &World, addresses: &[String], moment: u32) {
    world.see(&parsed::<EndpointSlice>(&json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
            "resourceVersion": moment.to_string(),
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "endpoints": [{"addresses": addresses}], "ports": [{"port": 6443}],
    })));
}

/// The Worker, and its policy as the Tenant room makes it.
fn place(world: &World, case: &Case, worker: &Worker) {
    world.see(worker);
    if case.lacks.iter().any(|what| what == "policy") {
        return;
    }
    let owner = Owner {
        tenant: "acme".to_owned(),
        uid: Uid::parse(UID),
    };
    let of = Of {
        tenant: &owner,
        namespace: "tenant-acme",
        holder: Holder::Worker,
        name: "poller",
        uid: Uid::parse(WORKER),
    };
    let list = egress::list(&worker.spec.egress).unwrap();
    let mut policy = egress::policy(of, &list);
    policy.metadata.uid = Some("00000000-0000-4000-8000-00000000000e".to_owned());
    policy.metadata.generation = Some(1);
    world.see(&parsed::<NetworkPolicy>(&json!(policy)));
}

/// What makes the pods as its controller has taken note of it.
fn note(world: &World, made: &Value, conditions: &[Value]) -> String {
    let mut object = made.clone();
    object["metadata"]["uid"] = json!("00000000-0000-4000-8000-00000000000f");
    object["metadata"]["resourceVersion"] = json!("2000");
    object["metadata"]["generation"] = json!(1);
    object["status"] = json!({"observedGeneration": 1, "replicas": 0, "conditions": conditions});
    if object["kind"] == "StatefulSet" {
        // As the server fills it in.
        object["spec"]["volumeClaimTemplates"][0]["status"] = json!({"phase": "Pending"});
        world.see(&parsed::<StatefulSet>(&object));
    } else {
        world.see(&parsed::<Deployment>(&object));
    }
    let revision = &object["spec"]["template"]["metadata"]["labels"]["cloister.dev/revision"];
    revision.as_str().unwrap().to_owned()
}

fn pod(number: usize, replica: &Replica, revision: &str) -> Pod {
    let revision = if replica.old { "old" } else { revision };
    let ready = if replica.ready { "True" } else { "False" };
    let mut conditions = vec![json!({"type": "Ready", "status": ready})];
    let mut containers = json!([]);
    let waits = replica
        .waits
        .as_ref()
        .map(|text| text.split_once(": ").unwrap());
    match waits {
        Some(("Unschedulable", message)) => {
            conditions.push(json!({"type": "PodScheduled", "status": "False", "message": message}));
        }
        Some((reason, message)) => {
            containers = json!([{"name": "worker", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]);
        }
        None => {}
    }
    let mut metadata = json!({"name": format!("worker-poller-1-{number}"), "namespace": "tenant-acme",
        "uid": format!("00000000-0000-4000-8000-0000000001{number:02}"),
        "labels": {"cloister.dev/tenant": "acme", "cloister.dev/role": "worker",
            "cloister.dev/worker": "poller", "cloister.dev/revision": revision}});
    if replica.going {
        metadata["deletionTimestamp"] = json!("2026-01-01T12:00:30Z");
    }
    parsed(&json!({
        "metadata": metadata,
        "spec": {"containers": [], "nodeName": replica.node},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": containers},
    }))
}

/// What an earlier pass has made; the revision of its pods.
async fn earlier(world: &World, case: &Case) -> String {
    let (tenant, worker) = (tenant(case, true), worker(case, true));
    let server = Recording::of(&tenant);
    server.know("/workers/", json!(worker));
    let context = Arc::new(server.context(&tenant));
    surround(&context.world, case);
    place(&context.world, case, &worker);
    let passed = Box::pin(room::keep::<WorkerRoom>(Arc::new(worker), context)).await;
    passed.unwrap();
    let mut revision = None;
    for write in server.take() {
        if write.what.ends_with("/deployments") || write.what.ends_with("/statefulsets") {
            revision = Some(note(world, &write.body, &case.controller));
        } else if write.what.ends_with("/poddisruptionbudgets") {
            let mut budget = write.body;
            budget["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000010");
            world.see(&parsed::<PodDisruptionBudget>(&budget));
        }
    }
    revision.expect("an earlier pass makes what makes the pods")
}

/// Runs a case and says what came of it.
async fn run(case: &Case) -> Value {
    let (tenant, worker) = (tenant(case, false), worker(case, false));
    let server = Recording::of(&tenant);
    server.know("/workers/", json!(worker));
    let mut known = tenant.clone();
    if case.lacks.iter().any(|what| what == "tenant") {
        known.metadata.name = Some("another".to_owned());
    }
    let context = Arc::new(server.context(&known));
    let world = &context.world;
    surround(world, case);
    place(world, case, &worker);
    let mut revision = String::new();
    if case.kept {
        revision = Box::pin(earlier(world, case)).await;
    }
    if !case.api_servers.is_empty() {
        serve(world, &case.api_servers, 2);
    }
    for (number, replica) in case.pods.iter().enumerate() {
        world.see(&pod(number, replica, &revision));
    }
    if case.taken {
        let refusal = json!({"kind": "Status", "status": "Failure", "code": 409,
            "reason": "AlreadyExists", "message": "it is there"});
        server.refuse_with("/deployments", refusal);
    }
    let passed = Box::pin(room::keep::<WorkerRoom>(Arc::new(worker), context.clone())).await;
    let mut told = told(case, &server);
    told["outcome"] = match passed {
        Ok(action) => json!(format!("{action:?}").replace("Action ", "ok ")),
        Err(error) => json!(error.reason()),
    };
    told
}

/// The namespace of the case, as admission sees it.
fn namespace(case: &Case) -> Value {
    let residency = &case.tenant.get("residency").cloned().unwrap_or_default();
    let listed = |field: &str| match residency[field].as_array() {
        Some(names) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            names.join(",")
        }
        None => "*".to_owned(),
    };
    let isolation = case.tenant.get("isolation").cloned().unwrap_or_default();
    let runtime = isolation["runtime"].as_str().unwrap_or("Hardened");
    json!({"metadata": {
        "labels": {"cloister.dev/tenant": "acme", "cloister.dev/state": "Active"},
        "annotations": {"cloister.dev/runtime": runtime, "cloister.dev/regions": listed("regions"),
            "cloister.dev/zones": listed("zones")}}})
}

/// Admission takes what the operator writes, and the pods that come of it.
fn admitted(case: &Case, object: &Value) {
    let namespace = namespace(case);
    let asked = |user: &str, kind: &str, object: &Value| {
        let resource = format!("{}s", kind.to_lowercase());
        let request = json!({"operation": "CREATE", "userInfo": {"username": user},
            "kind": {"kind": kind}, "resource": {"resource": resource},
            "namespace": "tenant-acme", "name": object["metadata"]["name"]});
        let context = json!({"request": request, "object": object, "namespaceObject": namespace});
        let policies = [
            "cloister-operator",
            "cloister-workers",
            "cloister-pods",
            "cloister-probes",
        ];
        let of_others = |policy: &str| !matches!(policy, "cloister-pods" | "cloister-probes");
        let asked = policies
            .iter()
            .filter(|policy| kind == "Pod" || of_others(policy));
        asked
            .flat_map(|policy| refusals(policy, &context))
            .collect::<Vec<_>>()
    };
    let kind = object["kind"].as_str().unwrap();
    assert_eq!(asked(OPERATOR, kind, object), [""; 0]);
    let (owner, controller) = match kind {
        "Deployment" => ("ReplicaSet", "replicaset-controller"),
        "StatefulSet" => ("StatefulSet", "statefulset-controller"),
        _ => return,
    };
    let mut pod = object["spec"]["template"].clone();
    pod["metadata"]["generateName"] = json!("worker-poller-1-");
    pod["metadata"]["ownerReferences"] = json!([{"kind": owner, "name": "worker-poller-1",
        "apiVersion": "apps/v1", "uid": "1", "controller": true}]);
    for claim in object["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = claim["metadata"]["name"].as_str().unwrap();
        let claim = json!({"claimName": format!("{name}-worker-poller-0")});
        let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
        volumes.push(json!({"name": name, "persistentVolumeClaim": claim}));
    }
    let controller = format!("system:serviceaccount:kube-system:{controller}");
    assert_eq!(asked(&controller, "Pod", &pod), [""; 0]);
    // Nothing of it is for anybody but the supervisor: no token, and none but its own volumes.
    let text = pod.to_string();
    assert!(
        !text.contains("projected") && !text.contains("secret"),
        "{text}"
    );
    assert_eq!(pod["spec"]["automountServiceAccountToken"], json!(false));
}

/// What was written, the status apart, and what the status says.
fn told(case: &Case, server: &Recording) -> Value {
    let (mut writes, mut shown, mut status) = (Vec::new(), Vec::new(), json!({}));
    for write in server.take() {
        if write.what.ends_with("/workers/poller/status") {
            status = write.body["status"].clone();
            status["conditions"] = cases::conditions(&status);
            continue;
        }
        admitted(case, &write.body);
        writes.push(write.what.clone());
        if case.show.iter().any(|kind| write.body["kind"] == **kind) {
            shown.push(write.body);
        }
    }
    json!({"writes": writes, "status": status, "shown": shown})
}

#[tokio::test]
async fn every_case_is_as_expected() {
    cases::each("worker/cases", 41, run).await;
}
