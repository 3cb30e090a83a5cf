//! The operator in this process, and the node that pretends.

use std::{net::SocketAddr, sync::Arc};

use clap::Parser;
use futures::channel::oneshot;
use http::Method;
use kube::Client;
use operator::{
    cli::{Cli, Command, Settings},
    runtime::{self, Means},
};
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, pause, send},
    crash::Crash,
    stand_in::NOBODY,
};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::workers::pod_path;

/// A task that ends with its owner.
pub struct Task<T>(Option<JoinHandle<T>>);

impl<T: Send + 'static> Task<T> {
    pub fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        #[expect(clippy::disallowed_methods, reason = "stands for a process")]
        Self(Some(tokio::spawn(future)))
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Option<T> {
        self.0.take()?.await.ok()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// An operator that runs until it is dropped, which is a kill.
pub struct Operator {
    task: Task<Result<(), runtime::Error>>,
    stop: oneshot::Sender<()>,
    pub crash: Arc<Crash>,
    /// Whom it is shown, if not all.
    tenant: Option<String>,
    /// How it was started.
    settings: Settings,
}

impl Operator {
    /// Of all tenants.
    pub fn start(plane: &ControlPlane) -> Self {
        Self::run(plane, None, settings(&["--namespace", "cloister-system"]))
    }

    /// Of one tenant, with a lease of its own, beside others.
    pub fn of(plane: &ControlPlane, tenant: &str) -> Self {
        let settings = settings(&["--namespace", &lease_namespace(tenant)]);
        Self::run(plane, Some(tenant.to_owned()), settings)
    }

    /// Of all tenants, and sandboxes that are stand-ins find it at this address of the loopback.
    pub fn dispatching(plane: &ControlPlane, door: SocketAddr) -> Self {
        let door = door.to_string();
        let words = ["--namespace", "cloister-system", "--dispatch", &door];
        let words = words
            .into_iter()
            .chain(["--pod-ip", NOBODY, "--image-volumes", "false"]);
        Self::run(plane, None, settings(&words.collect::<Vec<_>>()))
    }

    fn run(plane: &ControlPlane, tenant: Option<String>, settings: Settings) -> Self {
        let crash = Arc::new(Crash::default());
        let client: Client = crash.around(plane.operator(), tenant.as_deref());
        let (stop, asked) = oneshot::channel();
        let typed = settings.clone();
        let task = Task::start(async move {
            let asked = async {
                let _ = asked.await;
            };
            let means = || {
                std::future::ready(Ok(Means {
                    client: client.clone(),
                    lease: (client.clone(), Handle::current()),
                }))
            };
            runtime::live_on(means, typed, asked).await
        });
        Self {
            task,
            stop,
            crash,
            tenant,
            settings,
        }
    }

    /// Another one in its place, as a kubelet would have it.
    pub async fn restart(&mut self, plane: &ControlPlane) {
        self.kill().await;
        *self = Self::run(plane, self.tenant.clone(), self.settings.clone());
    }

    /// Ends in the middle of whatever it does.
    pub async fn kill(&mut self) {
        if let Some(task) = self.task.0.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Ends as after a signal.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if let Some(ended) = self.task.end().await {
            ended.unwrap();
        }
    }
}

/// As typed, where a day goes by between two probes.
fn settings(more: &[&str]) -> Settings {
    // The same name each time: a pod that is started again keeps its lease.
    let typed = "cloister operator --name operator-0 --admin 127.0.0.1:0 --probe-interval 24h";
    let words = typed.split(' ').chain(more.iter().copied());
    let Command::Operator(arguments) = Cli::parse_from(words).command else {
        unreachable!("it is what was typed")
    };
    Settings::from(&*arguments)
}

fn lease_namespace(tenant: &str) -> String {
    format!("lease-{tenant}")
}

/// A place for the lease of [`Operator::of`].
pub async fn allow_lease(plane: &ControlPlane, tenant: &str) {
    let namespace = lease_namespace(tenant);
    let meta = json!({"name": "lease", "namespace": namespace});
    let rbac = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": meta, "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "lease"},
            "subjects": [{"kind": "ServiceAccount", "name": "cloister-operator",
                "namespace": "cloister-system"}]}),
    ] {
        plane.apply(&object).await.unwrap();
    }
}

/// Stands for the scheduler and the kubelet where a probe is concerned: each probe ends at
/// once and says that all is as it must be, and one that is to go goes. Nothing is looked at.
pub fn pretend_probes(plane: &ControlPlane) -> Task<()> {
    let admin = plane.admin();
    Task::start(async move {
        loop {
            let path = "/api/v1/pods?labelSelector=cloister.dev%2Frole%3Dprobe";
            let nothing = Value::Null;
            let pods = send(&admin, Method::GET, path, "application/json", &nothing).await;
            for pod in pods.unwrap()["items"].as_array().into_iter().flatten() {
                // A server whose client is killed in the middle of a deletion leaves a pod that is
                // marked, and a kubelet removes it.
                if pod["metadata"]["deletionTimestamp"].is_string() {
                    remove(&admin, pod).await;
                } else if pod["status"]["phase"] == "Pending" {
                    finish(&admin, pod).await;
                }
            }
            pause(50).await;
        }
    })
}

/// As a kubelet does once nothing of a pod runs any more.
pub async fn remove(admin: &Client, pod: &Value) {
    let path = pod_path(pod);
    let body = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}});
    // One that is gone by now need not be removed.
    let _ = send(admin, Method::DELETE, &path, "application/json", &body).await;
}

async fn finish(admin: &Client, pod: &Value) {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap();
    let request: Value = serde_json::from_str(text("/spec/containers/0/args/2")).unwrap();
    let targets = request["targets"].as_array().unwrap().iter();
    let checks: Vec<Value> = targets
        .map(|target| {
            let open = target["expect"] == "Reachable";
            let mut seen = target.clone();
            seen["saw"] = json!(if open { "Connected" } else { "Silence" });
            seen
        })
        .collect();
    let gvisor = pod["spec"]["runtimeClassName"] == "gvisor";
    let clean = json!({"count": 0, "first": ""});
    let report = json!({"version": request["version"], "checks": checks, "inside": {
        "runtime": if gvisor { "GVisor" } else { "Host" }, "uid": 65532, "gid": 65532,
        "noNewPrivs": true, "capabilities": 0, "seccomp": 2, "rootReadOnly": true,
        "userNamespace": true, "foreignMounts": clean, "unmasked": clean, "foreignDevices": clean,
        "tokens": clean, "memoryLimit": {"At": 1 << 20}, "processLimit": {"At": 1},
    }});
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [{
        "name": "probe", "image": "probe", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "message": report.to_string()}},
    }]}});
    let (path, name) = (pod_path(pod), text("/metadata/name"));
    // On the node that it was sent to, or what it says counts for nothing.
    let node = text("/metadata/annotations/cloister.dev~1node");
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    // One that is gone by now needs neither place nor status.
    for (method, end, content, body) in [
        (Method::POST, "binding", "application/json", binding),
        (
            Method::PATCH,
            "status",
            "application/merge-patch+json",
            status,
        ),
    ] {
        let _ = send(admin, method, &format!("{path}/{end}"), content, &body).await;
    }
}
