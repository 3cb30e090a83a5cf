//! Cases: a Tenant and what is around it → what is written, and what its conditions say.
//!
//! One YAML file each, beside this one. What stands under `expect` is what the room does;
//! `UPDATE_GOLDEN=1 cargo test -p operator cases` rewrites it, and the diff is to be read.

use std::{collections::BTreeMap, sync::Arc};

use crds::{
    Integration, Tenant, TenantStatus,
    tenant::{Evidence, IsolationStatus, Outcome},
};
use jiff::SignedDuration;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, PersistentVolume, Pod, ResourceQuota},
        discovery::v1::EndpointSlice,
        networking::v1::NetworkPolicy,
        node::v1::RuntimeClass,
        rbac::v1::RoleBinding,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{TenantRoom, isolation};
use crate::{
    cases,
    probe::targets,
    recording::{Recording, UID, now},
    room::{self, Context, Room},
    world::{World, facts::Uid},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// As somebody applies it; its name is `acme`.
    spec: Value,
    #[serde(default)]
    cluster: Surrounds,
    /// An earlier pass has made everything.
    #[serde(default)]
    kept: bool,
    /// Fields of the spec that were different then.
    #[serde(default)]
    before: BTreeMap<String, Value>,
    /// What Integrations ask for; `.uid` is made of their name.
    #[serde(default)]
    integrations: BTreeMap<String, Value>,
    /// What they ask for since. Nothing, not even an empty list: the Integration is gone.
    #[serde(default)]
    later: BTreeMap<String, Value>,
    /// Children (`Kind name`) that somebody has deleted since.
    #[serde(default)]
    without: Vec<String>,
    /// Network policies that somebody has deleted, and deletes again once they are back: of
    /// which the watch tells before the server's answer to our write does.
    #[serde(default)]
    lost_again: Vec<String>,
    /// Objects that others made.
    #[serde(default)]
    others: Vec<Value>,
    /// Probe pods that are there.
    #[serde(default)]
    probes: Vec<ProbePod>,
    /// Writes (`POST /pods`) that the API server refuses, by a quota of somebody else.
    #[serde(default)]
    refused: Option<String>,
    /// What status says that was seen before.
    #[serde(default)]
    evidence: Vec<Seen>,
    /// That was seen of the boundary that the earlier pass left.
    #[serde(default)]
    seen_before: bool,
    /// Kinds whose objects are to be shown whole; `Evidence`: what status keeps of that.
    #[serde(default)]
    show: Vec<String>,
    /// Not read: compared as text.
    #[serde(default, rename = "expect")]
    _expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Surrounds {
    /// Zone by node.
    nodes: BTreeMap<String, String>,
    /// Those of them that nobody hears from.
    lost: Vec<String>,
    /// Those of them that take no more pods.
    cordoned: Vec<String>,
    gvisor: bool,
    canary: bool,
}

impl Default for Surrounds {
    fn default() -> Self {
        Self {
            nodes: [("node-a", "zone-a"), ("node-b", "zone-b")]
                .map(|(node, zone)| (node.to_owned(), zone.to_owned()))
                .into(),
            lost: Vec::new(),
            cordoned: Vec::new(),
            gvisor: false,
            canary: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbePod {
    node: String,
    /// Node that it came to, if not to that one.
    #[serde(default)]
    came_to: Option<String>,
    /// Seconds since it was made.
    age: i64,
    /// UID of the Tenant that it says it is of.
    #[serde(default = "uid")]
    owner: String,
    /// Whether it was sent to the boundary of today.
    #[serde(default = "yes")]
    current: bool,
    /// Whether the decoy is as it was when it was sent.
    #[serde(default = "yes")]
    same_decoy: bool,
    /// What it saw: `all-well`, `kubelet-open`, `no-dns`, `all-but-one` of what it was asked,
    /// or nothing yet.
    #[serde(default)]
    saw: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    node: String,
    /// Seconds since then.
    age: i64,
    outcome: Outcome,
    #[serde(default = "yes")]
    current: bool,
}

const fn yes() -> bool {
    true
}

fn uid() -> String {
    UID.to_owned()
}

fn ago(seconds: i64) -> jiff::Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn parsed<K: serde::de::DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{object}: {error}"))
}

/// What the watches have brought of the cluster.
fn surround(world: &World, around: &Surrounds) {
    for (number, (name, zone)) in around.nodes.iter().enumerate() {
        let ready = if around.lost.contains(name) {
            "Unknown"
        } else {
            "True"
        };
        let taint = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
        let taints: Vec<_> = (around.cordoned.iter())
            .filter(|cordoned| *cordoned == name)
            .map(|_| &taint)
            .collect();
        world.see(&parsed::<Node>(&json!({
            "spec": {"taints": taints},
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name,
                "topology.kubernetes.io/region": "local-1",
                "topology.kubernetes.io/zone": zone,
            }},
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": "InternalIP", "address": format!("192.0.2.{}", 11 + number)}],
            },
        })));
    }
    if around.gvisor {
        world.see(&parsed::<RuntimeClass>(
            &json!({"metadata": {"name": "gvisor"}, "handler": "runsc"}),
        ));
    }
    let mut slices = vec![("default", "kubernetes", "192.0.2.1")];
    if around.canary {
        slices.push(("cloister-system", "cloister-canary", "198.51.100.1"));
        slices.push(("cloister-decoy", "cloister-decoy", "198.51.100.2"));
    }
    for (namespace, service, address) in slices {
        world.see(&parsed::<EndpointSlice>(&json!({
            "metadata": {"name": service, "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": [{"port": 6443}],
        })));
    }
}

/// An object as another one's watch brings it.
fn see(world: &World, object: &Value) {
    let mut object = object.clone();
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let metadata = &mut object["metadata"];
    if kind != "Namespace" {
        metadata["namespace"] = json!("tenant-acme");
    }
    if metadata["uid"].is_null() {
        let digest = crds::digest::of(&*metadata);
        metadata["uid"] = json!(format!("00000000-0000-4000-8000-{}", &digest[..12]));
    }
    match kind.as_str() {
        "Namespace" => world.see(&parsed::<Namespace>(&object)),
        "NetworkPolicy" => world.see(&parsed::<NetworkPolicy>(&object)),
        "ResourceQuota" => world.see(&parsed::<ResourceQuota>(&object)),
        "RoleBinding" => world.see(&parsed::<RoleBinding>(&object)),
        "Pod" => world.see(&parsed::<Pod>(&object)),
        "PersistentVolume" => world.see(&parsed::<PersistentVolume>(&object)),
        other => panic!("no case has had a {other} yet"),
    }
}

/// What an Integration asks for, at a moment of its own.
fn ask(world: &World, name: &str, egress: &Value, moment: u32) {
    let digest = crds::digest::of(&name);
    let object = json!({
        "metadata": {"name": name, "namespace": "tenant-acme", "resourceVersion": moment.to_string(),
            "uid": format!("00000000-0000-4000-8000-{}", &digest[..12])},
        "spec": {"image": "hello", "command": ["/hello"],
            "egress": if egress.is_null() { json!([]) } else { egress.clone() }},
    });
    let integration = parsed::<Integration>(&object);
    if egress.is_null() {
        world.lose(&integration);
    } else {
        world.see(&integration);
    }
}

/// Somebody deletes a policy of ours again, at a moment that is yet to come.
fn lose_again(world: &World, name: &str) {
    let policy = json!({"metadata": {"name": name, "namespace": "tenant-acme",
        "resourceVersion": "999999"}});
    let policy = parsed::<NetworkPolicy>(&policy);
    world.lose(&policy);
    world.pass(&policy);
}

/// Somebody deletes a child of ours.
fn lose(world: &World, child: &str) {
    let (kind, name) = child.split_once(' ').unwrap();
    let object = json!({"metadata": {"name": name, "namespace": "tenant-acme",
        "resourceVersion": "999999"}});
    match kind {
        "NetworkPolicy" => world.lose(&parsed::<NetworkPolicy>(&object)),
        "ResourceQuota" => world.lose(&parsed::<ResourceQuota>(&object)),
        other => panic!("no case has lost a {other} yet"),
    }
}

fn probe_pod(context: &Context, tenant: &Tenant, probe: &ProbePod, boundary: &str) -> Value {
    let cluster = context.world.cluster();
    let peers = targets::peers(&cluster, Uid::parse(UID)).unwrap();
    let node = &cluster.nodes[&probe.node];
    let request = targets::request(&cluster, &context.settings.probing, peers, node);
    let report = probe
        .saw
        .as_ref()
        .map(|saw| report(&json!(request.targets), saw, tenant.spec.isolation.runtime));
    let boundary = if probe.current { boundary } else { "another" };
    let state = report.map_or_else(
        || json!({"running": {}}),
        |report| json!({"terminated": {"exitCode": 0, "message": report.to_string()}}),
    );
    let decoys = cluster.decoys_version + u64::from(!probe.same_decoy);
    let came_to = probe.came_to.as_ref().unwrap_or(&probe.node);
    let arguments = json!(["probe", "--request", json!(request).to_string()]);
    json!({
        "kind": "Pod",
        "metadata": {"name": format!("cloister-probe-{}", probe.node),
            "creationTimestamp": Time(ago(probe.age)),
            "labels": {"cloister.dev/role": "probe"},
            "ownerReferences": [{"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
                "name": "acme", "uid": probe.owner, "controller": true}],
            "annotations": {"cloister.dev/boundary": boundary, "cloister.dev/node": probe.node,
                "cloister.dev/decoys": decoys.to_string()}},
        "spec": {"containers": [{"name": "probe", "args": arguments}], "nodeName": came_to},
        "status": {"containerStatuses": [{"name": "probe", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": state}]},
    })
}

fn report(targets: &Value, saw: &str, runtime: crds::tenant::Runtime) -> Value {
    let all = targets.as_array().into_iter().flatten();
    let mut checks: Vec<Value> = all
        .map(|target| {
            let as_it_must_be = match target["expect"].as_str() {
                Some("Reachable") => "Connected",
                _ => "Silence",
            };
            let seen = match (saw, target["check"].as_str()) {
                ("kubelet-open", Some("Kubelet")) => "Connected",
                ("no-dns", Some("Dns")) => "Silence",
                _ => as_it_must_be,
            };
            let mut check = target.clone();
            check["saw"] = json!(seen);
            check
        })
        .collect();
    if saw == "all-but-one" {
        checks.pop();
    }
    let kernel = match runtime {
        crds::tenant::Runtime::Hardened => contract::SeenRuntime::Host,
        crds::tenant::Runtime::GVisor => contract::SeenRuntime::GVisor,
    };
    let inside = contract::Inside {
        runtime: kernel,
        ..contract::judge::sound()
    };
    json!({"version": contract::VERSION, "checks": checks, "inside": inside})
}

fn tenant(case: &Case) -> Tenant {
    parsed(&json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "acme", "uid": UID, "generation": 1, "resourceVersion": "1",
            "finalizers": [crds::well_known::TENANT_FINALIZER]},
        "spec": case.spec,
    }))
}

/// Boundary of the moment; nothing where the spec is not valid.
fn boundary(context: &Context, tenant: &Tenant) -> String {
    let inputs = TenantRoom::gather(context, tenant);
    let valid = TenantRoom::validate(tenant, inputs);
    valid.map_or_else(|_| String::new(), |valid| isolation::fingerprint(&valid))
}

/// Runs a case and says what came of it.
async fn run(case: &Case) -> Value {
    let mut tenant = tenant(case);
    let server = Recording::of(&tenant);
    let context = Arc::new(server.context(&tenant));
    let world = &context.world;
    surround(world, &case.cluster);
    for (name, egress) in &case.integrations {
        ask(world, name, egress, 1);
    }
    if case.kept {
        let mut spec = case.spec.clone();
        for (field, value) in &case.before {
            spec[field] = value.clone();
        }
        let earlier = Tenant {
            spec: parsed(&spec),
            ..tenant.clone()
        };
        let first = room::reconcile::<TenantRoom>(Arc::new(earlier), context.clone());
        first.await.unwrap();
        server.take();
    }
    let left = boundary(&context, &tenant);
    for (name, egress) in &case.later {
        ask(world, name, egress, 2);
    }
    for child in &case.without {
        lose(world, child);
    }
    for policy in &case.lost_again {
        lose_again(world, policy);
    }
    for object in &case.others {
        see(world, object);
    }
    let boundary = boundary(&context, &tenant);
    for probe in &case.probes {
        see(world, &probe_pod(&context, &tenant, probe, &boundary));
    }
    let boundary = if case.seen_before { left } else { boundary };
    tenant.status = seen(case, &boundary);
    if let Some(write) = &case.refused {
        server.refuse_with(write, quota_exceeded());
    }
    let passed = room::reconcile::<TenantRoom>(Arc::new(tenant), context.clone()).await;
    let mut told = told(&server, &case.show);
    told["outcome"] = match passed {
        // With when it is looked at again.
        Ok(action) => json!(format!("{action:?}").replace("Action ", "ok ")),
        Err(error) => json!(error.reason()),
    };
    told
}

/// What status says that was seen before.
fn seen(case: &Case, boundary: &str) -> Option<TenantStatus> {
    let newest = case.evidence.first()?;
    let boundary = if newest.current { boundary } else { "another" };
    Some(TenantStatus {
        isolation: Some(IsolationStatus {
            boundary: boundary.to_owned(),
            evidence: case.evidence.iter().map(evidence).collect(),
            checks: Arc::default(),
        }),
        ..TenantStatus::default()
    })
}

fn quota_exceeded() -> Value {
    json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message":
        "pods \"cloister-probe\" is forbidden: exceeded quota: of-somebody, requested: pods=1, \
         used: pods=8, limited: pods=8"})
}

fn evidence(seen: &Seen) -> Evidence {
    let fault = if seen.outcome == Outcome::Proven {
        String::new()
    } else {
        "as it was".to_owned()
    };
    Evidence {
        node: seen.node.clone(),
        time: ago(seen.age),
        probe: format!("probe-of-{}", seen.node),
        outcome: seen.outcome,
        fault,
    }
}

/// What was written, the status apart, and what the status says.
fn told(server: &Recording, show: &[String]) -> Value {
    let (mut writes, mut shown, mut conditions) = (Vec::new(), Vec::new(), json!({}));
    for write in server.take() {
        if write.what.ends_with("/tenants/acme/status") {
            conditions = cases::conditions(&write.body["status"]);
            if show.iter().any(|what| what == "Evidence") {
                let evidence = write.body["status"]["isolation"]["evidence"].as_array();
                let brief = |one: &Value| json!([one["node"], one["outcome"]]);
                shown.extend(evidence.into_iter().flatten().map(brief));
            }
            continue;
        }
        let name = write.body["metadata"]["name"].as_str();
        let end = name.filter(|_| write.what.starts_with("POST"));
        writes.push(end.map_or_else(
            || write.what.clone(),
            |name| format!("{}/{name}", write.what),
        ));
        if show.iter().any(|kind| write.body["kind"] == **kind) {
            shown.push(write.body);
        }
    }
    json!({"writes": writes, "conditions": conditions, "shown": shown})
}

#[tokio::test]
async fn every_case_is_as_expected() {
    cases::each("tenant/cases", 67, run).await;
}
