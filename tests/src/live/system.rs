//! Cloister itself: its replicas, its lease, its settings.

use std::{fs, time::Duration};

use crds::well_known::{
    CANARY, COMPONENT_LABEL, DECOY, DECOY_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, SYSTEM_NAMESPACE,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Live, must, text, until};

/// The operator's Deployment, and its Lease.
pub const OPERATOR: &str = OPERATOR_SERVICE_ACCOUNT;
/// What has the policy on pods refuse, which a test may set aside.
pub const PODS_BINDING: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/cloister-pods";
/// Where the operator's settings are.
const SETTINGS: &str = "/api/v1/namespaces/cloister-system/configmaps/cloister-settings";
/// Where a test writes down what the settings were.
const BEFORE: &str = "cloister.dev/interval-before-test";
/// How long a Deployment may take to stand.
const ROLLOUT: Duration = Duration::from_mins(3);

fn deployment_path(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

/// Whether every replica that is wanted, and no other, is there and ready.
fn stands(deployment: &Value) -> bool {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_u64);
    let wanted = number("/spec/replicas");
    let seen = number("/status/observedGeneration") == number("/metadata/generation");
    let all = ["replicas", "updatedReplicas", "availableReplicas"];
    let all = all.map(|kind| number(&format!("/status/{kind}")).unwrap_or(0));
    seen && all.into_iter().all(|count| Some(count) == wanted)
}

impl Live {
    /// What the operator is told by its `ConfigMap`.
    pub async fn settings(&self) -> Value {
        must(self.get(SETTINGS).await, "settings")["data"].take()
    }

    /// Pods of one of Cloister's Deployments, those that are going included.
    pub async fn pods_of(&self, component: &str) -> Vec<Value> {
        let selector = format!("labelSelector={COMPONENT_LABEL}%3D{component}");
        let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods?{selector}");
        self.list(&path).await
    }

    /// Sets the number of replicas; returns once there are so many, and ready.
    pub async fn scale(&self, name: &str, replicas: u32) {
        let path = deployment_path(SYSTEM_NAMESPACE, name);
        let change = json!({"spec": {"replicas": replicas}});
        self.change(&format!("{path}/scale"), &change).await;
        self.stands(SYSTEM_NAMESPACE, name).await;
        let check = async || {
            let count = self.pods_of(name).await.len();
            if count == replicas as usize {
                Ok(())
            } else {
                Err(format!("{count} pods"))
            }
        };
        until(&format!("{name} has {replicas} pods"), ROLLOUT, check).await;
    }

    /// Asks for replicas and does not wait.
    pub async fn ask_for(&self, name: &str, replicas: u32) {
        let path = deployment_path(SYSTEM_NAMESPACE, name);
        let change = json!({"spec": {"replicas": replicas}});
        self.change(&format!("{path}/scale"), &change).await;
    }

    /// Waits until a Deployment is as it is wanted.
    pub async fn stands(&self, namespace: &str, name: &str) {
        let path = deployment_path(namespace, name);
        let check = async || {
            let deployment = must(self.get(&path).await, name);
            if stands(&deployment) {
                Ok(())
            } else {
                Err(deployment["status"].to_string())
            }
        };
        until(&format!("{name} stands"), ROLLOUT, check).await;
    }

    /// Has every tenant probed this often, until the end of the test.
    pub async fn probe_every(&self, interval: &str) {
        let settings = must(self.get(SETTINGS).await, "settings");
        let before = text(&settings, "/data/CLOISTER_PROBE_INTERVAL");
        if before != interval {
            let note = json!({"annotations": {BEFORE: before}});
            self.set_interval(interval, &note).await;
        }
    }

    async fn set_interval(&self, interval: &str, metadata: &Value) {
        let data = json!({"CLOISTER_PROBE_INTERVAL": interval});
        self.change(SETTINGS, &json!({"metadata": metadata, "data": data}))
            .await;
        let fresh = json!({"metadata": {"annotations": {"cloister.dev/interval": interval}}});
        let path = deployment_path(SYSTEM_NAMESPACE, OPERATOR);
        self.change(&path, &json!({"spec": {"template": fresh}}))
            .await;
        self.stands(SYSTEM_NAMESPACE, OPERATOR).await;
    }

    /// Everything of Cloister as it was installed.
    pub(super) async fn restore_system(&self) {
        let binding = must(self.get(PODS_BINDING).await, "binding");
        if binding["spec"]["validationActions"] != json!(["Deny"]) {
            let deny = json!({"spec": {"validationActions": ["Deny"]}});
            self.change(PODS_BINDING, &deny).await;
        }
        for (name, replicas) in [(CANARY, 2), (OPERATOR, 3)] {
            let path = deployment_path(SYSTEM_NAMESPACE, name);
            let deployment = must(self.get(&path).await, name);
            if deployment["spec"]["replicas"] != replicas {
                self.ask_for(name, replicas).await;
            }
        }
        let settings = must(self.get(SETTINGS).await, "settings");
        let note = settings["metadata"]["annotations"][BEFORE].as_str();
        if let Some(before) = note {
            self.set_interval(before, &json!({"annotations": {BEFORE: null}}))
                .await;
        }
        self.stands(SYSTEM_NAMESPACE, CANARY).await;
        self.stands(SYSTEM_NAMESPACE, OPERATOR).await;
        self.stands(DECOY_NAMESPACE, DECOY).await;
    }

    /// Who leads, if anybody does; and since when, as the Lease says.
    pub async fn leader(&self) -> Option<String> {
        let path =
            format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/{OPERATOR}");
        let lease = self.get(&path).await.ok()?;
        let holder = text(&lease, "/spec/holderIdentity");
        (!holder.is_empty()).then_some(holder)
    }

    /// Waits until somebody leads for whom `accept` says yes.
    pub async fn until_led<F: Fn(&str) -> bool>(
        &self,
        limit: Duration,
        accept: F,
    ) -> (String, Duration) {
        let check = async || match self.leader().await {
            Some(leader) if accept(&leader) => Ok(leader),
            other => Err(format!("{other:?} leads")),
        };
        until("somebody leads", limit, check).await
    }

    /// Kills the process of a replica, at once and for good; the kubelet may start another.
    pub fn kill_process(&self, replica: &str) {
        // Only where the nodes are ours do their processes show here.
        let _ = self.nodes();
        let pid = process_of(replica);
        let killed = pid.map(|pid| kill_process(pid, Signal::KILL));
        assert_eq!(
            killed,
            Some(Ok(())),
            "no process of {replica} could be killed"
        );
    }
}

/// The process on one of this machine's nodes that was told that it is this pod.
pub fn process_of(pod: &str) -> Option<Pid> {
    let told = format!("POD_NAME={pod}");
    let all = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.find(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|one| one == told.as_bytes())
    });
    Pid::from_raw(found?)
}

/// What a replica answers on its port for health and metrics, asked through the API server:
/// status line, headers and all.
pub async fn served(replica: &str, path: &str) -> String {
    let client = must(Client::try_default().await, "client");
    let pods = Api::<Pod>::namespaced(client, SYSTEM_NAMESPACE);
    let mut forwarded = must(pods.portforward(replica, &[8080]).await, replica);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {replica}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    if let Some(mut stream) = forwarded.take_stream(8080) {
        must(stream.write_all(request.as_bytes()).await, "ask");
        must(stream.read_to_string(&mut answer).await, "listen");
    }
    answer
}
