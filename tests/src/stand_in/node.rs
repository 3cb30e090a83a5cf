//! A stand-in for scheduler and kubelet: binds each pod that the operator makes to a made-up node, says
//! that it runs, asks for its token as a kubelet does, and puts a [`Sandbox`] in it. A probe ends at
//! once, with a report that is as it must be. A pod that is to go is gone.
//!
//! Four writes for a sandbox: binding, status, token, end. A real kubelet writes the status two to four
//! times. In: pods, by a watch. Out: these writes.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr},
    pin::pin,
};

use crds::well_known::{DISPATCH_AUDIENCE, SANDBOX_SERVICE_ACCOUNT};
use futures::StreamExt;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    runtime::watcher::{self, watcher},
};
use serde_json::{Value, json};
use tokio::task::{AbortHandle, JoinSet};

use super::{
    Manner,
    report::{asked, proof, told},
    sandbox::Sandbox,
};
use crate::{
    control_plane::{Answer, ControlPlane, pause, send},
    measure::load::Anything,
};

/// Nodes that are made up, each in a zone of its own.
const NODES: u8 = 3;
/// What the node looks after: not the pods of the floor.
const PODS: &str = "cloister.dev/role in (probe,sandbox),cloister.dev/integration!=floor";

/// Makes the nodes.
pub async fn make(plane: &ControlPlane) {
    for number in 0..NODES {
        let zone = format!("zone-{number}");
        plane
            .pretend_node(&name(number), &zone, &address(number).to_string())
            .await;
    }
}

fn name(number: u8) -> String {
    format!("made-up-{number}")
}

/// Each has one on the loopback, from which its sandboxes dial.
fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, number + 1).into()
}

/// Looks after pods for ever.
pub async fn run(client: Client, manner: Manner) -> Anything {
    let pods = Api::<Pod>::all(client.clone());
    let mut events = pin!(watcher(pods, watcher::Config::default().labels(PODS)));
    let mut tasks = JoinSet::new();
    let mut living: HashMap<String, AbortHandle> = HashMap::new();
    let mut next = 0_u8;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended && !error.is_cancelled() {
                    return error.into();
                }
                continue;
            }
        };
        let (pod, gone) = match event {
            Some(Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => (pod, false),
            Some(Ok(watcher::Event::Delete(pod))) => (pod, true),
            Some(Ok(watcher::Event::Init | watcher::Event::InitDone)) => continue,
            Some(Err(error)) => {
                eprintln!("the watch of pods: {error}");
                pause(200).await;
                continue;
            }
            None => return "the watch of pods ended".into(),
        };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if gone || pod.metadata.deletion_timestamp.is_some() {
            if let Some(task) = living.remove(&uid) {
                task.abort();
                if !gone {
                    tasks.spawn(end(client.clone(), pod));
                }
            }
        } else if let Entry::Vacant(place) = living.entry(uid) {
            let number = next % NODES;
            next = next.wrapping_add(1);
            place.insert(tasks.spawn(begin(client.clone(), pod, number, manner.clone())));
        }
    }
}

/// As a kubelet does once nothing of the pod runs any more.
async fn end(client: Client, pod: Pod) {
    let meta = &pod.metadata;
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid}});
    let path = path_of(&pod);
    let _ = send(&client, Method::DELETE, &path, JSON, &options).await;
}

const JSON: &str = "application/json";

fn path_of(pod: &Pod) -> String {
    let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
    format!(
        "/api/v1/namespaces/{}/pods/{}",
        namespace.as_deref().unwrap_or_default(),
        name.as_deref().unwrap_or_default()
    )
}

/// A pod's whole life, but for its end.
async fn begin(client: Client, pod: Pod, number: u8, manner: Manner) {
    if let Err(error) = live(&client, &pod, number, manner).await {
        // It may be gone by now.
        eprintln!("{}: {error}", path_of(&pod));
    }
}

async fn live(client: &Client, pod: &Pod, number: u8, manner: Manner) -> Result<(), Anything> {
    let path = path_of(pod);
    let object = serde_json::to_value(pod)?;
    // A probe is sent to one node, and proves nothing on another.
    let sent = object.pointer("/metadata/annotations/cloister.dev~1node");
    let sent = sent.and_then(Value::as_str).map(ToOwned::to_owned);
    let node = sent.clone().unwrap_or_else(|| name(number));
    let host = address(number).to_string();
    if pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.node_name.is_none())
    {
        must(bind(client, &path, &object["metadata"]["name"], &node).await)?;
    }
    if sent.is_some() {
        let request = asked(&object).ok_or("a probe that was asked nothing")?;
        let report = serde_json::to_string(&proof(&request))?;
        let status = json!({"phase": "Succeeded", "containerStatuses": [{
            "name": "probe", "image": "probe", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "message": report}}}]});
        must(say(client, &path, &status).await)?;
        return Ok(());
    }
    must(say(client, &path, &running(&object, &host)).await)?;
    let token = token(client, &object).await?;
    let config = told(&object, &host).ok_or("a sandbox that was told nothing")?;
    let labels = pod.metadata.labels.as_ref();
    let line = labels.and_then(|labels| labels.get("cloister.dev/integration"));
    let sound = manner
        .unsound
        .is_none_or(|name| line.is_none_or(|line| line != name));
    Sandbox::new(config, token, address(number), manner, sound)
        .live()
        .await;
    Ok(())
}

/// What a kubelet says of a pod that runs.
pub fn running(pod: &Value, host: &str) -> Value {
    let image = &pod["spec"]["containers"][0]["image"];
    let digest = format!("made-up@sha256:{}", "0".repeat(64));
    json!({
        "phase": "Running", "hostIP": host, "podIP": "192.0.2.77",
        "podIPs": [{"ip": "192.0.2.77"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{
            "name": pod["spec"]["containers"][0]["name"], "image": image, "imageID": digest,
            "ready": true, "restartCount": 0, "state": {"running": {}}}],
    })
}

/// What a scheduler says of a pod.
pub async fn bind(client: &Client, path: &str, name: &Value, node: &str) -> Answer {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    send(
        client,
        Method::POST,
        &format!("{path}/binding"),
        JSON,
        &binding,
    )
    .await
}

/// Writes a pod's status.
pub async fn say(client: &Client, path: &str, status: &Value) -> Answer {
    let content = "application/merge-patch+json";
    let change = json!({"status": status});
    send(
        client,
        Method::PATCH,
        &format!("{path}/status"),
        content,
        &change,
    )
    .await
}

/// One that is bound to the pod, for the operator alone, as its projected volume asks for.
pub async fn token(client: &Client, pod: &Value) -> Result<String, Anything> {
    let meta = &pod["metadata"];
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
        "audiences": [DISPATCH_AUDIENCE], "expirationSeconds": 3600,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1",
            "name": meta["name"], "uid": meta["uid"]}}});
    let namespace = meta["namespace"].as_str().unwrap_or_default();
    let path =
        format!("/api/v1/namespaces/{namespace}/serviceaccounts/{SANDBOX_SERVICE_ACCOUNT}/token");
    let made = must(send(client, Method::POST, &path, JSON, &request).await)?;
    let token = made["status"]["token"].as_str();
    Ok(token.ok_or("no token came")?.to_owned())
}

/// The answer, or the refusal as an error.
pub fn must(answer: Answer) -> Result<Value, Anything> {
    answer.map_err(|refusal| format!("{} {}", refusal.code, refusal.message).into())
}
