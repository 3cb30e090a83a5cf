//! Pods that a test runs, and what they see from inside.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crds::well_known::SANDBOX_SERVICE_ACCOUNT;
use http::Method;
use serde_json::{Value, json};

use super::{Live, must, namespace_of, text, until};
use crate::server::{Answer, unique};

/// How long a pod may take to start and to end by itself.
const START: Duration = Duration::from_mins(1);

/// Where a kubelet listens that does not say.
const KUBELET: u64 = 10250;

/// Of the request that the probe of this release takes.
pub const PROBE_VERSION: u32 = 2;

/// What each check saw, by name; each different word, where its addresses do not agree.
pub type Seen = BTreeMap<String, String>;

/// A pod that conforms to everything that admission asks of a tenant's pods.
pub fn conforming(namespace: &str, name: &str, arguments: &[&str]) -> Value {
    let host = json!({"fieldRef": {"fieldPath": "status.hostIP"}});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceAccountName": SANDBOX_SERVICE_ACCOUNT,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "hostUsers": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "main",
                "command": ["/cloister-sandbox"],
                "args": arguments,
                "env": [{"name": "HOST_IP", "valueFrom": host}],
                "imagePullPolicy": "IfNotPresent",
                "resources": {
                    "limits": {"cpu": "250m", "memory": "96Mi"},
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

/// One that listens on 7100 until it is asked to end.
pub fn listener(namespace: &str) -> Value {
    let arguments = ["canary", "--listen", "0.0.0.0:7100", "--role", "pod"];
    conforming(namespace, &unique("listener"), &arguments)
}

/// The same under gVisor, which brings its own user namespace.
pub fn under_gvisor(mut pod: Value) -> Value {
    pod["spec"]["runtimeClassName"] = json!("gvisor");
    pod["spec"]["hostUsers"] = Value::Null;
    pod
}

/// Where a pod is.
pub fn pod_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}

/// Everything that a proven tenant's probe dialled, for another probe: `$(HOST_IP)` is known to the
/// arguments of a [`conforming`] pod alone. For commands there is [`Live::shut_to`].
pub fn targets_of(tenant: &Value) -> Vec<Value> {
    let checks = tenant["status"]["isolation"]["checks"].as_array();
    let dialled = checks.into_iter().flatten();
    dialled
        .filter(|check| check["target"] != "self")
        .map(|check| {
            let name = text(check, "/check");
            let address = if name == "Kubelet" {
                // Of whatever node the pod comes to.
                "$(HOST_IP):10250".to_owned()
            } else {
                text(check, "/target")
            };
            json!({"check": name, "address": address, "expect": check["expected"]})
        })
        .collect()
}

impl Live {
    /// Where the kubelet of each node listens, at its own address.
    pub async fn kubelets(&self) -> Vec<String> {
        let nodes = self.list("/api/v1/nodes").await;
        let mut all = Vec::new();
        for node in &nodes {
            let endpoint = "/status/daemonEndpoints/kubeletEndpoint/Port";
            let port = node.pointer(endpoint).and_then(Value::as_u64);
            let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
            let own = addresses.filter(|one| one["type"] == "InternalIP");
            for address in own.map(|one| must(text(one, "/address").parse(), "a node's address")) {
                let port = must(u16::try_from(port.unwrap_or(KUBELET)), "a kubelet's port");
                all.push(SocketAddr::new(address, port).to_string());
            }
        }
        assert!(!all.is_empty(), "no node says where it is: {nodes:?}");
        all
    }

    /// What nobody in this proven tenant may reach, as addresses that a command can dial: whatever
    /// its probe dialled, and every node's kubelet in place of its own.
    pub async fn shut_to(&self, tenant: &str) -> Vec<String> {
        let targets = targets_of(&self.tenant(tenant).await).into_iter();
        let shut = targets.filter(|one| one["expect"] == "Blocked" && one["check"] != "Kubelet");
        let mut all: Vec<String> = shut.map(|one| text(&one, "/address")).collect();
        all.extend(self.kubelets().await);
        for address in &all {
            let parsed = address.parse::<SocketAddr>();
            assert!(parsed.is_ok(), "{address} cannot be dialled: {all:?}");
        }
        all
    }

    /// Asks once for a pod to be evicted: a disruption budget that is in the way answers as a
    /// server that has no time, which others wait out.
    pub async fn evict(&self, namespace: &str, name: &str) -> Answer {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace}});
        let path = format!("{}/eviction", pod_path(namespace, name));
        let admin = self.admin.once();
        (admin.send(Method::POST, &path, "application/json", &eviction)).await
    }

    /// Starts a pod, with the image of Cloister's probes, on a node or anywhere.
    pub async fn start(&self, mut pod: Value, node: Option<&str>) {
        let settings = self.settings().await;
        let image = &mut pod["spec"]["containers"][0]["image"];
        if image.is_null() {
            *image = settings["CLOISTER_PROBE_IMAGE"].clone();
        }
        if let Some(name) = node {
            let node = must(self.get(&format!("/api/v1/nodes/{name}")).await, name);
            for label in [
                "kubernetes.io/hostname",
                "topology.kubernetes.io/region",
                "topology.kubernetes.io/zone",
            ] {
                pod["spec"]["nodeSelector"][label] = node["metadata"]["labels"][label].clone();
            }
        }
        must(self.admin.create(&pod).await, "create the pod");
    }

    /// Waits until a pod runs; says its address.
    pub async fn running(&self, namespace: &str, name: &str) -> String {
        let path = pod_path(namespace, name);
        let check = async || {
            let pod = must(self.get(&path).await, &path);
            let (phase, address) = (text(&pod, "/status/phase"), text(&pod, "/status/podIP"));
            if phase == "Running" && !address.is_empty() {
                Ok(address)
            } else {
                Err(pod["status"].to_string())
            }
        };
        until(&format!("pod {name} runs"), START, check).await.0
    }

    /// A pod of this tenant that listens on 7100 until it is asked to end.
    pub async fn listener(&self, tenant: &str, node: Option<&str>) -> String {
        let namespace = namespace_of(tenant);
        let pod = listener(&namespace);
        let name = text(&pod, "/metadata/name");
        self.start(pod, node).await;
        self.running(&namespace, &name).await;
        name
    }

    /// What a dial from a pod of this namespace, on a node or anywhere, to a pod's address comes to.
    pub async fn dial(&self, namespace: &str, node: Option<&str>, address: &str) -> String {
        let target = json!({"check": "OtherTenant", "address": address, "expect": "Blocked"});
        let mut seen = self.look(namespace, node, &[target]).await;
        seen.remove("OtherTenant").unwrap_or_default()
    }

    /// A namespace that belongs to no tenant and has no policy.
    pub async fn open_namespace(&self) -> String {
        let name = unique("open");
        let labels = json!({super::TEST_LABEL: "true"});
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": SANDBOX_SERVICE_ACCOUNT, "namespace": name},
        });
        for object in [namespace, account] {
            must(self.admin.create(&object).await, "open namespace");
        }
        name
    }

    /// Runs the probe in a pod of this namespace, as anybody could; says what it saw.
    pub async fn look(&self, namespace: &str, node: Option<&str>, targets: &[Value]) -> Seen {
        let pod = conforming(namespace, &unique("look"), &[]);
        self.look_as(pod, node, targets).await
    }

    /// The same in a given pod.
    pub async fn look_as(&self, mut pod: Value, node: Option<&str>, targets: &[Value]) -> Seen {
        let request =
            json!({"version": PROBE_VERSION, "timeoutMs": 1500, "targets": targets, "places": []})
                .to_string();
        pod["spec"]["containers"][0]["args"] = json!(["probe", "--request", request]);
        let (namespace, name) = (
            text(&pod, "/metadata/namespace"),
            text(&pod, "/metadata/name"),
        );
        let path = pod_path(&namespace, &name);
        self.start(pod, node).await;
        let ended = "/status/containerStatuses/0/state/terminated/message";
        let check = async || {
            let pod = must(self.get(&path).await, &path);
            match pod.pointer(ended).and_then(Value::as_str) {
                Some(report) => Ok(report.to_owned()),
                None => Err(pod["status"].to_string()),
            }
        };
        let (report, _) = until(&format!("pod {name} reports"), START, check).await;
        self.delete(&path).await;
        let report: Value = serde_json::from_str(&report).unwrap_or(Value::String(report));
        let checks = report["checks"].as_array();
        assert!(checks.is_some(), "not a report: {report}");
        let mut seen = Seen::new();
        for one in checks.into_iter().flatten() {
            let said = seen.entry(text(one, "/check")).or_default();
            let saw = text(one, "/saw");
            if said.is_empty() {
                *said = saw;
            } else if *said != saw {
                *said = format!("{said} and {saw}");
            }
        }
        seen
    }
}
