//! A real API server, asked as whoever a test wants to be.
//!
//! In: `$KUBECONFIG`, of a cluster that Cloister is installed in. Out: requests in plain
//! JSON, so that a test can also send what no typed client would, and refusals with the
//! server's own words. Called by every test that needs a server.
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a harness fails by panicking, at the place of its caller"
)]

use std::{
    fmt,
    process::id,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crds::well_known::{
    NAMESPACE_PREFIX, OPERATOR_SERVICE_ACCOUNT, POD_SECURITY_VERSION, REGIONS_ANNOTATION,
    RUNTIME_ANNOTATION, SANDBOX_SERVICE_ACCOUNT, STATE_LABEL, SYSTEM_NAMESPACE, TENANT_LABEL,
    ZONES_ANNOTATION,
};
use futures::FutureExt as _;
use http::Method;
use kube::{Client, Config};
use serde_json::{Value, json};

/// How a patch is meant.
#[derive(Clone, Copy, Debug)]
pub enum Patch {
    /// JSON merge patch.
    Merge,
    /// JSON patch.
    Json,
    /// Server-side apply, with force.
    Apply,
}

/// What the server said instead of doing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Its words.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.code, self.message)
    }
}

/// The object as the server answered it, or its refusal.
pub type Answer = Result<Value, Refusal>;

/// The API server, as one identity.
#[derive(Clone, Debug)]
pub struct Server {
    config: Config,
    client: Connection,
}

/// [`Client`] has no `Debug`.
#[derive(Clone)]
struct Connection(Client);

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connection")
    }
}

impl Server {
    /// As `$KUBECONFIG` says, which has to be a cluster admin.
    pub async fn admin() -> Self {
        match Config::infer().await {
            Ok(config) => Self::of(config),
            Err(error) => panic!(
                "this test needs a cluster with Cloister installed: set KUBECONFIG, or run \
                 `make cluster-up` first ({error})"
            ),
        }
    }

    fn of(config: Config) -> Self {
        match Client::try_from(config.clone()) {
            Ok(client) => Self {
                config,
                client: Connection(client),
            },
            Err(error) => panic!("no client for the cluster of KUBECONFIG: {error}"),
        }
    }

    /// As somebody else, by impersonation.
    #[must_use]
    pub fn user(&self, name: &str, groups: &[&str]) -> Self {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(name.to_owned());
        let groups = groups.iter().chain(&["system:authenticated"]);
        config.auth_info.impersonate_groups = Some(groups.map(|&group| group.to_owned()).collect());
        Self::of(config)
    }

    /// One that asks once, also where the server has no time.
    #[must_use]
    pub fn once(&self) -> Self {
        let mut config = self.config.clone();
        config.default_retry = false;
        Self::of(config)
    }

    /// As a service account.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> Self {
        self.user(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &[
                "system:serviceaccounts",
                &format!("system:serviceaccounts:{namespace}"),
            ],
        )
    }

    /// As the operator.
    #[must_use]
    pub fn operator(&self) -> Self {
        self.service_account(SYSTEM_NAMESPACE, OPERATOR_SERVICE_ACCOUNT)
    }

    /// Creates, with unknown fields refused, as `kubectl create` does.
    pub async fn create(&self, object: &Value) -> Answer {
        let path = format!("{}?fieldValidation=Strict", collection(object));
        self.send(Method::POST, &path, "application/json", object)
            .await
    }

    /// The same, and nothing is kept.
    pub async fn dry_run(&self, object: &Value) -> Answer {
        let path = format!("{}?fieldValidation=Strict&dryRun=All", collection(object));
        self.send(Method::POST, &path, "application/json", object)
            .await
    }

    /// Replaces.
    pub async fn update(&self, object: &Value) -> Answer {
        self.send(Method::PUT, &item(object), "application/json", object)
            .await
    }

    /// Changes the object of this kind and name.
    pub async fn patch(&self, object: &Value, how: Patch, change: &Value) -> Answer {
        self.patch_subresource(object, "", how, change).await
    }

    /// Changes a subresource, or the object itself where that is empty.
    pub async fn patch_subresource(
        &self,
        object: &Value,
        subresource: &str,
        how: Patch,
        change: &Value,
    ) -> Answer {
        let (content, query) = match how {
            Patch::Merge => ("application/merge-patch+json", ""),
            Patch::Json => ("application/json-patch+json", ""),
            Patch::Apply => (
                "application/apply-patch+yaml",
                "?fieldManager=cloister-test&force=true",
            ),
        };
        let slash = if subresource.is_empty() { "" } else { "/" };
        let path = format!("{}{slash}{subresource}{query}", item(object));
        self.send(Method::PATCH, &path, content, change).await
    }

    /// Reads.
    pub async fn get(&self, object: &Value) -> Answer {
        self.send(Method::GET, &item(object), "application/json", &Value::Null)
            .await
    }

    /// Deletes.
    pub async fn delete(&self, object: &Value) -> Answer {
        let at_once = json!({"gracePeriodSeconds": 0});
        self.send(Method::DELETE, &item(object), "application/json", &at_once)
            .await
    }

    /// Any request. `Null` is no body.
    pub async fn send(&self, method: Method, path: &str, content: &str, body: &Value) -> Answer {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content)
            .body(bytes)
            .unwrap_or_else(|error| panic!("{path} is no request: {error}"));
        match self.client.0.request::<Value>(request).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err(Refusal {
                code: status.code,
                message: status.message.clone(),
            }),
            Err(error) => panic!("{path}: the server did not answer: {error}"),
        }
    }
}

impl Server {
    /// What is at a path, as text; empty if it is not to be had.
    pub async fn text(&self, path: &str) -> String {
        let request = http::Request::get(path)
            .body(Vec::new())
            .unwrap_or_else(|error| panic!("{path} is no request: {error}"));
        self.client
            .0
            .request_text(request)
            .await
            .unwrap_or_default()
    }
}

/// Where objects of this kind are created.
fn collection(object: &Value) -> String {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let version = text("/apiVersion");
    let root = if version.contains('/') { "apis" } else { "api" };
    let plural = match text("/kind") {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        "StorageClass" => "storageclasses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    match text("/metadata/namespace") {
        "" => format!("/{root}/{version}/{plural}"),
        namespace => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
    }
}

fn item(object: &Value) -> String {
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!("{}/{name}", collection(object))
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}-{:x}-{:x}",
        id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A namespace as the operator makes it for a tenant, with no Tenant behind it, so that a
/// test sees admission alone whether or not an operator runs.
#[derive(Debug)]
pub struct Scratch {
    /// The cluster admin.
    pub admin: Server,
    /// Name of the tenant that there is not.
    pub tenant: String,
    /// The namespace.
    pub namespace: String,
}

impl Scratch {
    /// Runs a test in a namespace of its own, which goes afterwards, also when the test fails.
    pub async fn run<T: AsyncFnOnce(&Self)>(test: T) {
        let admin = Server::admin().await;
        let tenant = unique("t");
        let namespace = format!("{NAMESPACE_PREFIX}{tenant}");
        let scratch = Self {
            admin,
            tenant,
            namespace,
        };
        scratch.make().await;
        let outcome = std::panic::AssertUnwindSafe(test(&scratch))
            .catch_unwind()
            .await;
        let gone = scratch
            .admin
            .operator()
            .delete(&scratch.namespace_object())
            .await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        gone.unwrap_or_else(|refusal| panic!("the namespace stays: {refusal}"));
    }

    /// The namespace, as the operator writes it.
    pub fn namespace_object(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {
                    TENANT_LABEL: self.tenant,
                    STATE_LABEL: "Active",
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/enforce-version": POD_SECURITY_VERSION,
                },
                "annotations": {
                    RUNTIME_ANNOTATION: "Hardened",
                    REGIONS_ANNOTATION: "*",
                    ZONES_ANNOTATION: "*",
                },
            },
        })
    }

    async fn make(&self) {
        let operator = self.admin.operator();
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": SANDBOX_SERVICE_ACCOUNT, "namespace": self.namespace},
            "automountServiceAccountToken": false,
        });
        for object in [self.namespace_object(), account] {
            operator.create(&object).await.unwrap_or_else(|refusal| {
                panic!("the operator may not create {object}: {refusal}")
            });
        }
    }

    /// Changes the namespace as the operator would.
    pub async fn annotate(&self, key: &str, value: &str) {
        let change = json!({"metadata": {"annotations": {key: value}}});
        self.change(&change).await;
    }

    /// Changes the state that the namespace says.
    pub async fn label(&self, key: &str, value: &str) {
        let change = json!({"metadata": {"labels": {key: value}}});
        self.change(&change).await;
    }

    async fn change(&self, change: &Value) {
        let operator = self.admin.operator();
        let changed = operator
            .patch(&self.namespace_object(), Patch::Merge, change)
            .await;
        changed.unwrap_or_else(|refusal| panic!("the operator may not change: {refusal}"));
    }
}

/// Asks until the answer is as it must be: admission reads namespaces and rights from
/// caches, which follow within moments. Ten seconds at most.
pub async fn eventually<F: AsyncFnMut() -> Result<(), String>>(mut check: F) {
    for _ in 0..100 {
        if check().await.is_ok() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "a test waits for the server")]
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if let Err(fault) = check().await {
        panic!("ten seconds later still: {fault}");
    }
}

/// Fails unless the request was refused with all of these words.
#[track_caller]
pub fn assert_refused(answer: &Answer, words: &[&str]) {
    match answer {
        Ok(object) => panic!("must be refused, but was accepted: {object}"),
        Err(refusal) => {
            for word in words {
                let said = refusal.message.contains(word);
                assert!(said, "the refusal must say {word:?}, but says: {refusal}");
            }
        }
    }
}

/// Fails unless the request went through.
#[track_caller]
pub fn assert_accepted(answer: &Answer) {
    if let Err(refusal) = answer {
        panic!("must be accepted, but was refused: {refusal}");
    }
}
