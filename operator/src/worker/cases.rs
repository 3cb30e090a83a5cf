//! Cases: a Worker and what is around it → what is written, and what its status says.
//!
//! One YAML file each, beside this one. What stands under `expect` is what the room does;
//! `UPDATE_GOLDEN=1 cargo test -p operator worker::cases` rewrites it, and the diff is to be read.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use crds::{Tenant, Worker};
use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::Node, core::v1::Pod, discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy, node::v1::RuntimeClass,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::WorkerRoom;
use crate::{
    egress::{self, Holder, Of},
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
    /// There is no Tenant.
    #[serde(default)]
    no_tenant: bool,
    /// What the Tenant's status says of its isolation.
    #[serde(default = "proven")]
    isolation: String,
    /// Zone by node.
    #[serde(default = "nodes")]
    nodes: BTreeMap<String, String>,
    /// The cluster has the RuntimeClass.
    #[serde(default)]
    gvisor: bool,
    /// Those of them that take nothing.
    #[serde(default)]
    cordoned: Vec<String>,
    /// The Tenant room's pass has made the policy.
    #[serde(default = "yes")]
    policy: bool,
    /// An earlier pass has made everything.
    #[serde(default)]
    kept: bool,
    /// Fields of the spec that were different then.
    #[serde(default)]
    before: BTreeMap<String, Value>,
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

const fn yes() -> bool {
    true
}

fn nodes() -> BTreeMap<String, String> {
    ["a", "b", "c"]
        .map(|letter| (format!("node-{letter}"), format!("zone-{letter}")))
        .into()
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/worker/cases"))
}

fn parsed<K: serde::de::DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{object}: {error}"))
}

fn tenant(case: &Case) -> Tenant {
    let mut spec = json!({"members": [{"kind": "User", "name": "ada", "role": "Owner"}]});
    for (field, value) in &case.tenant {
        spec[field] = value.clone();
    }
    parsed(&json!({
        "metadata": {"name": "acme", "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": spec,
        "status": {"namespace": "tenant-acme", "conditions": [{"type": "IsolationVerified",
            "status": case.isolation, "reason": "X", "message": "as the probes say",
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
        let class = json!({"metadata": {"name": "gvisor"}, "handler": "runsc"});
        world.see(&parsed::<RuntimeClass>(&class));
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
    if !case.policy {
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

/// The Deployment as its controller has taken note of it.
fn note(world: &World, deployment: &Value, conditions: &[Value]) -> String {
    let mut object = deployment.clone();
    object["metadata"]["uid"] = json!("00000000-0000-4000-8000-00000000000f");
    object["metadata"]["resourceVersion"] = json!("2000");
    object["metadata"]["generation"] = json!(1);
    object["status"] = json!({"observedGeneration": 1, "conditions": conditions});
    world.see(&parsed::<Deployment>(&object));
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

/// Runs a case and says what came of it.
async fn run(case: &Case) -> Value {
    let (tenant, worker) = (tenant(case), worker(case, false));
    let server = Recording::of(&tenant);
    server.know("/workers/", json!(worker));
    let mut known = tenant.clone();
    if case.no_tenant {
        known.metadata.name = Some("another".to_owned());
    }
    let context = Arc::new(server.context(&known));
    let world = &context.world;
    surround(world, case);
    place(world, case, &worker);
    let mut revision = String::new();
    if case.kept {
        let earlier = Arc::new(self::worker(case, true));
        room::keep::<WorkerRoom>(earlier, context.clone())
            .await
            .unwrap();
        let writes = server.take().into_iter();
        let mut made = writes.filter(|write| write.what.ends_with("/deployments"));
        let made = made.next().expect("an earlier pass makes a Deployment");
        revision = note(world, &made.body, &case.controller);
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
    let passed = room::keep::<WorkerRoom>(Arc::new(worker), context.clone()).await;
    let mut told = told(&server, &case.show);
    told["outcome"] = match passed {
        Ok(action) => json!(format!("{action:?}").replace("Action ", "ok ")),
        Err(error) => json!(error.reason()),
    };
    told
}

/// What was written, the status apart, and what the status says.
fn told(server: &Recording, show: &[String]) -> Value {
    let (mut writes, mut shown, mut status) = (Vec::new(), Vec::new(), json!({}));
    for write in server.take() {
        if write.what.ends_with("/workers/poller/status") {
            status = write.body["status"].clone();
            let list = status["conditions"].take();
            status["conditions"] = json!({});
            for one in list.as_array().into_iter().flatten() {
                let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
                let said = format!("{} {}: {}", text("status"), text("reason"), text("message"));
                status["conditions"][text("type")] = json!(said);
            }
            continue;
        }
        writes.push(write.what.clone());
        if show.iter().any(|kind| write.body["kind"] == **kind) {
            shown.push(write.body);
        }
    }
    json!({"writes": writes, "status": status, "shown": shown})
}

/// So that none gets lost.
const CASES: usize = 30;

#[tokio::test]
async fn every_case_is_as_expected() {
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap().flatten() {
        let path = entry.path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let case: Case = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let input = text.split("\nexpect:\n").next().unwrap_or_default();
        let told = serde_saphyr::to_string(&json!({"expect": run(&case).await})).unwrap();
        let whole = format!("{}\n{}\n", input.trim_end(), told.trim_end());
        #[expect(clippy::disallowed_methods, reason = "the switch of a golden test")]
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            fs::write(&path, &whole).unwrap();
        } else if whole != text {
            failures.push(format!("{name}: is now\n{told}"));
        }
        count += 1;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(count, CASES, "cases were found");
}
