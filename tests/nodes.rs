//! What `cluster partition` and `cluster kill` do to a node, seen from another one: the failure
//! tests are worth what these faults are.
//!
//! Each fault has a control in the same moment: a pod on a third node that still answers.

use std::time::Duration;

use serde_json::{Value, json};
use tests::live::{
    Live, must, pause,
    pods::{listener, pod_path},
    system::process_of,
    text, until,
};

/// From where, to where, and the control.
const NODES: [&str; 3] = ["node-a", "node-c", "node-b"];
/// How long a kubelet that works takes at most to say so again.
const HEARTBEAT: Duration = Duration::from_secs(12);
/// How long a pod that answers may take to be reached again.
const RETURN: Duration = Duration::from_mins(1);

/// A pod that listens on one node.
struct Listener {
    name: String,
    address: String,
    container: String,
}

impl Listener {
    async fn start(live: &Live, namespace: &str, node: &str) -> Self {
        let mut pod = listener(namespace);
        let name = text(&pod, "/metadata/name");
        pod["spec"]["containers"][0]["env"] = json!([{"name": "POD_NAME", "value": name}]);
        live.start(pod, Some(node)).await;
        let address = live.running(namespace, &name).await;
        let path = pod_path(namespace, &name);
        let pod = must(live.get(&path).await, &path);
        Self {
            address: format!("{address}:7100"),
            container: container_of(&pod),
            name,
        }
    }
}

/// Which start of its container a pod has.
fn container_of(pod: &Value) -> String {
    text(pod, "/status/containerStatuses/0/containerID")
}

/// When the kubelet of a node last said that it lives.
async fn heartbeat(live: &Live, node: &str) -> String {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}");
    text(&must(live.get(&path).await, &path), "/spec/renewTime")
}

/// That a node's kubelet says nothing for so long that a live one would have, while another's does.
async fn falls_silent(live: &Live, [lost, control]: [&str; 2]) {
    let before = (heartbeat(live, lost).await, heartbeat(live, control).await);
    pause(HEARTBEAT).await;
    until("the control is heard of", RETURN, async || {
        let now = heartbeat(live, control).await;
        if now == before.1 { Err(now) } else { Ok(()) }
    })
    .await;
    assert_eq!(heartbeat(live, lost).await, before.0, "{lost} is heard of");
}

/// The network of a node that has just come back, or of a pod that is new, comes a moment later
/// than the pod.
async fn reached(dial: impl AsyncFn() -> String) {
    until("it is reached", RETURN, async || match dial().await {
        saw if saw == "Connected" => Ok(()),
        saw => Err(saw),
    })
    .await;
}

/// A namespace without a policy, a pod on the node to be lost, and the control on the third.
async fn before_the_fault(live: &Live) -> (String, Listener, Listener) {
    let namespace = live.open_namespace().await;
    let [_, lost, third] = NODES;
    let there = Listener::start(live, &namespace, lost).await;
    let control = Listener::start(live, &namespace, third).await;
    (namespace, there, control)
}

#[tokio::test]
async fn a_node_that_is_cut_off_runs_on_unreached_until_it_is_healed() {
    let name = "a_node_that_is_cut_off_runs_on_unreached_until_it_is_healed";
    Live::run_on_own(name, async |live| {
        let [from, lost, third] = NODES;
        let (namespace, there, control) = before_the_fault(live).await;
        let dial = async |to: &Listener| live.dial(&namespace, Some(from), &to.address).await;
        reached(async || dial(&there).await).await;
        let process = process_of(&there.name);
        assert!(process.is_some(), "{} has no process", there.name);

        must(live.nodes().partition(lost), "partition");
        assert_eq!(dial(&control).await, "Connected", "the control");
        assert_ne!(dial(&there).await, "Connected", "{lost} is not cut off");
        falls_silent(live, [lost, third]).await;
        assert_eq!(process_of(&there.name), process, "it was to run on");

        must(live.nodes().heal(lost), "heal");
        reached(async || dial(&there).await).await;
        let path = pod_path(&namespace, &there.name);
        let pod = must(live.get(&path).await, &path);
        assert_eq!(container_of(&pod), there.container, "it was started again");
        assert_eq!(process_of(&there.name), process);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_killed_is_dark_until_it_is_started() {
    let name = "a_node_that_is_killed_is_dark_until_it_is_started";
    Live::run_on_own(name, async |live| {
        let [from, lost, third] = NODES;
        let (namespace, there, control) = before_the_fault(live).await;
        let dial = async |to: &Listener| live.dial(&namespace, Some(from), &to.address).await;
        reached(async || dial(&there).await).await;
        assert!(process_of(&there.name).is_some());

        must(live.nodes().kill(lost), "kill");
        assert_eq!(process_of(&there.name), None, "it outlived its machine");
        assert!(process_of(&control.name).is_some(), "the control");
        assert_eq!(dial(&control).await, "Connected", "the control");
        assert_ne!(dial(&there).await, "Connected");
        falls_silent(live, [lost, third]).await;

        must(live.nodes().start(lost), "start");
        let anew = Listener::start(live, &namespace, lost).await;
        reached(async || dial(&anew).await).await;
    })
    .await;
}
