//! A control plane of a test's own: etcd, API server and controllers, and not a single node.
//!
//! In: the programs that the cluster tool builds. Out: a real API server on a free port of
//! the loopback, with RBAC and Cloister's install manifests, and its audit log. It is gone
//! when the last one who holds it lets go, also by a panic, and when the test's process
//! dies. Nothing here pretends but the nodes, which say so; nothing runs on them.
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a harness fails by panicking, at the place of its caller"
)]

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crds::well_known::{CANARY, DECOY, DECOY_NAMESPACE, SYSTEM_NAMESPACE};
use http::{Method, Request};
use kube::{Client, Config, config::AuthInfo};
use serde_json::{Value, json};

use self::programs::{ADMIN, NODE, OPERATOR, UNASKED};
use crate::cluster;

mod admission;
mod counts;
mod programs;

/// An address of nobody, which the API server says it is reached at.
pub const ADVERTISED: &str = "192.0.2.1";

/// A running control plane.
pub struct ControlPlane {
    directory: PathBuf,
    server: String,
    admin: Client,
    /// Lets the keeper know that nobody needs it any more.
    keeper: Option<(mpsc::Sender<()>, thread::JoinHandle<()>)>,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "control plane at {}", self.server)
    }
}

/// What the server said instead of doing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Its words.
    pub message: String,
}

/// The object as the server answered it, or its refusal.
pub type Answer = Result<Value, Refusal>;

impl ControlPlane {
    /// Starts one, with Cloister's manifests installed and no operator.
    pub async fn start() -> Self {
        let programs = match cluster::built(&["etcd", "kubernetes"]) {
            Ok(programs) => programs,
            Err(error) => panic!("the programs of a control plane cannot be had: {error}"),
        };
        let directory = programs::fresh_directory();
        let ports = programs::free_ports();
        programs::prepare(&directory, ports.api);
        let keeper = programs::keep(&programs, &directory, &ports);
        let server = format!("https://127.0.0.1:{}", ports.api);
        let plane = Self {
            admin: connect(&server, ADMIN),
            directory,
            server,
            keeper: Some(keeper),
        };
        plane.await_ready().await;
        plane.install().await;
        // Now that there are our kinds, which the controllers look for as they start: what they learn of
        // later, a quota counts minutes after.
        if let Some((sender, _)) = &plane.keeper {
            sender.send(()).ok();
        }
        plane.await_admission().await;
        plane.pretend_counts().await;
        plane
    }

    /// As somebody who may do everything.
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// As the operator: its service account, with the rights that the manifests give it.
    pub fn operator(&self) -> Client {
        connect(&self.server, OPERATOR)
    }

    /// As the operator, but with every right, so that nobody looks for a binding of its: for who fills a
    /// server with what an operator would have made.
    pub fn unasked_operator(&self) -> Client {
        connect(&self.server, UNASKED)
    }

    /// As a node, for whoever stands for a kubelet.
    pub fn node(&self) -> Client {
        connect(&self.server, NODE)
    }

    /// What an operator in a process of its own is given as `$KUBECONFIG`.
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.directory.join(programs::OPERATOR_KUBECONFIG)
    }

    /// Where the audit log is; beside it, what was rotated out of it.
    pub fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// Every line of the audit log so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.audit_log()).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// What the server wrote last, for a failing test.
    fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    async fn await_ready(&self) {
        let begun = Instant::now();
        let mut said = String::new();
        while begun.elapsed() < Duration::from_secs(90) {
            let request = Request::get("/readyz").body(Vec::new()).unwrap_or_default();
            match self.admin.request_text(request).await {
                Ok(_) => return,
                Err(error) => said = error.to_string(),
            }
            pause(100).await;
        }
        let log = self.log("kube-apiserver.log");
        panic!("the API server is not ready: {said}\n{log}");
    }

    /// Applies what `manifests/install` holds. What needs another thing first is tried again.
    async fn install(&self) {
        // A test runs in the folder of its package, a benchmark at the top.
        let places = ["../manifests/install", "manifests/install"].map(Path::new);
        let Some(folder) = places.into_iter().find(|place| place.is_dir()) else {
            panic!("neither of {places:?} is here; run it where the repository is");
        };
        let list = read(&folder.join("kustomization.yaml"));
        let files = list["resources"].as_array().cloned().unwrap_or_default();
        for file in files.iter().filter_map(Value::as_str) {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            for object in documents(&text) {
                self.persist(&object).await;
            }
        }
    }

    async fn persist(&self, object: &Value) {
        let mut said = String::new();
        for _ in 0..100 {
            match self.apply(object).await {
                Ok(_) => return,
                Err(refusal) => said = refusal.message,
            }
            pause(100).await;
        }
        panic!("{} cannot be installed: {said}", path_of(object));
    }

    /// Server-side applies, as the admin, in the name of `kubectl`.
    pub async fn apply(&self, object: &Value) -> Answer {
        self.patch(object, "?fieldManager=kubectl&force=true", object)
            .await
    }

    /// The same under another field manager.
    pub async fn apply_as(&self, manager: &str, object: &Value) -> Answer {
        let query = format!("?fieldManager={manager}&force=true");
        self.patch(object, &query, object).await
    }

    async fn patch(&self, object: &Value, query: &str, body: &Value) -> Answer {
        let path = format!("{}{query}", path_of(object));
        let content = "application/apply-patch+yaml";
        counts::known(async || send(&self.admin, Method::PATCH, &path, content, body).await).await
    }

    /// Merges a change into the object at this path, under a field manager.
    pub async fn merge(&self, path: &str, manager: &str, change: &Value) -> Answer {
        let path = format!("{path}?fieldManager={manager}");
        let content = "application/merge-patch+json";
        send(&self.admin, Method::PATCH, &path, content, change).await
    }

    /// Creates, as the admin.
    pub async fn create(&self, object: &Value) -> Answer {
        let whole = path_of(object);
        let collection = whole.rsplit_once('/').map_or("", |(head, _)| head);
        self.post(collection, object).await
    }

    /// Creates at a path, such as a subresource.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(&self.admin, Method::POST, path, "application/json", body).await
    }

    /// Reads what is at this path, object or list.
    pub async fn get(&self, path: &str) -> Answer {
        let nothing = Value::Null;
        send(&self.admin, Method::GET, path, "application/json", &nothing).await
    }

    /// Deletes what is at this path, with options.
    pub async fn delete(&self, path: &str, options: &Value) -> Answer {
        let content = "application/json";
        send(&self.admin, Method::DELETE, path, content, options).await
    }

    /// A node that nothing runs on, ready by its own word.
    pub async fn pretend_node(&self, name: &str, zone: &str, address: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name,
                "topology.kubernetes.io/region": "local-1",
                "topology.kubernetes.io/zone": zone,
            }},
        });
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "Pretended"}],
            "addresses": [{"type": "InternalIP", "address": address}],
        }});
        let path = format!("/api/v1/nodes/{name}");
        self.persist(&node).await;
        // The server taints what is new until a controller, which there is none of, has looked.
        let untainted = json!({"spec": {"taints": null}});
        for (path, change) in [(format!("{path}/status"), &status), (path, &untainted)] {
            let changed = self.merge(&path, "pretender", change).await;
            changed.unwrap_or_else(|refusal| panic!("{path}: {}", refusal.message));
        }
    }

    /// A canary and a decoy, without which no probe is sent.
    pub async fn pretend_probing_targets(&self) {
        let canary = (SYSTEM_NAMESPACE, CANARY);
        for (namespace, service) in [canary, (DECOY_NAMESPACE, DECOY)] {
            self.pretend_endpoints(namespace, service, "198.51.100.7")
                .await;
        }
    }

    /// Endpoints of a Service whose pods nobody runs, so that the operator finds what
    /// every probe needs.
    async fn pretend_endpoints(&self, namespace: &str, service: &str, address: &str) {
        self.persist(&json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("{service}-pretended"), "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"port": 7001}],
        }))
        .await;
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.keeper.take() {
            drop(sender);
            thread.join().ok();
        }
        if std::env::var_os("KEEP").is_none() {
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

/// Any request. `Null` is no body.
pub async fn send(
    client: &Client,
    method: Method,
    path: &str,
    content: &str,
    body: &Value,
) -> Answer {
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(bytes)
        .unwrap_or_else(|error| panic!("{path} is no request: {error}"));
    match client.request::<Value>(request).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) => Err(Refusal {
            code: status.code,
            message: status.message.clone(),
        }),
        Err(error) => panic!("{path}: the server did not answer: {error}"),
    }
}

/// Where an object of this kind and name lies.
pub fn path_of(object: &Value) -> String {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (version, kind) = (text("/apiVersion"), text("/kind").to_lowercase());
    let root = if version.contains('/') { "apis" } else { "api" };
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    let name = text("/metadata/name");
    match text("/metadata/namespace") {
        "" => format!("/{root}/{version}/{plural}/{name}"),
        namespace => format!("/{root}/{version}/namespaces/{namespace}/{plural}/{name}"),
    }
}

/// The documents of a YAML file.
pub fn documents(text: &str) -> Vec<Value> {
    text.split("\n---")
        .filter_map(|document| serde_saphyr::from_str::<Value>(document).ok())
        .filter(Value::is_object)
        .collect()
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_default();
    documents(&text).into_iter().next().unwrap_or_default()
}

/// Lets the server work. Milliseconds.
pub async fn pause(milliseconds: u64) {
    #[expect(clippy::disallowed_methods, reason = "a test waits for the server")]
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Asks until the answer is as it must be, and says how long that took.
pub async fn eventually<F: AsyncFnMut() -> Result<(), String>>(
    limit: Duration,
    mut check: F,
) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = check().await;
        match answer {
            Ok(()) => return begun.elapsed(),
            Err(fault) if begun.elapsed() > limit => {
                panic!("{} s later still: {fault}", limit.as_secs())
            }
            Err(_) => pause(50).await,
        }
    }
}

/// A client with this token. The server's certificate is its own, made as it starts.
fn connect(server: &str, token: &str) -> Client {
    let url = server
        .parse()
        .unwrap_or_else(|error| panic!("{server}: {error}"));
    let mut config = Config::new(url);
    config.accept_invalid_certs = true;
    config.auth_info = AuthInfo {
        token: Some(token.to_owned().into()),
        ..AuthInfo::default()
    };
    match Client::try_from(config) {
        Ok(client) => client,
        Err(error) => panic!("no client for {server}: {error}"),
    }
}
