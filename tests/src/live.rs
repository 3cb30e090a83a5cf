//! Cloister at work: what a test does to it, and what the status says over time.
//!
//! In: `$KUBECONFIG`, of a cluster that Cloister is installed in; control over its nodes
//! only where `CLOISTER_OWN_CLUSTER=1`. Out: tenants, pods, looks from inside pods, the
//! operator stopped and started, and measured waits. Whatever a test broke is put back
//! after it, and before the next one.
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a harness fails by panicking, at the place of its caller"
)]

pub mod audit;
pub mod cut;
pub mod executions;
pub mod pods;
pub mod processes;
pub mod system;
pub mod workers;

use std::time::{Duration, Instant};

use crds::well_known::NAMESPACE_PREFIX;
use futures::FutureExt as _;
use http::Method;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, topology::NODES},
    server::{Answer, Patch, Server, unique},
};

/// Label of whatever a test makes outside of a tenant, so that it can be put away.
pub const TEST_LABEL: &str = "cloister.dev/test";

/// Network policies that Cloister keeps in a tenant's namespace.
pub const POLICIES: [&str; 4] = [
    "cloister-deny-all",
    "cloister-allow-dns",
    "cloister-allow-canary",
    "cloister-allow-dispatch",
];

/// By then a quota counts what it is to count.
const COUNTED: Duration = Duration::from_mins(1);

/// A cluster with Cloister in it, as its admin.
#[derive(Debug)]
pub struct Live {
    /// The cluster admin.
    pub admin: Server,
    /// Control over the nodes, if they are ours.
    nodes: Option<Cluster>,
}

/// One condition, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// True, False or Unknown.
    pub status: String,
    /// Of the closed list.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Live {
    /// Runs a test on whatever cluster there is.
    pub async fn run<T: AsyncFnOnce(&Self)>(test: T) {
        let begun = Instant::now();
        let nodes = owns_cluster().then(|| match Cluster::current() {
            Ok(cluster) => cluster,
            Err(error) => panic!("CLOISTER_OWN_CLUSTER=1, but: {error}"),
        });
        let live = Self {
            admin: Server::admin().await,
            nodes,
        };
        live.put_back().await;
        let outcome = std::panic::AssertUnwindSafe(test(&live))
            .catch_unwind()
            .await;
        if let Err(panic) = outcome {
            // What is in the way is of interest; what cannot be put back comes second.
            let _ = std::panic::AssertUnwindSafe(live.put_back())
                .catch_unwind()
                .await;
            std::panic::resume_unwind(panic);
        }
        let (took, over) = (begun.elapsed(), Instant::now());
        live.put_back().await;
        println!(
            "    {}: {:.0} s, and {:.0} s to put back",
            std::thread::current().name().unwrap_or("a test"),
            took.as_secs_f64(),
            over.elapsed().as_secs_f64()
        );
    }

    /// The same, but only where the nodes, and the installation, are ours to break.
    pub async fn run_on_own<T: AsyncFnOnce(&Self)>(name: &str, test: T) {
        if owns_cluster() {
            Self::run(test).await;
        } else {
            println!(
                "SKIPPED {name}: it breaks nodes or the installation, which only the cluster \
                 of `make cluster-up` is for (CLOISTER_OWN_CLUSTER=1)"
            );
        }
    }

    /// The nodes. Only for tests of [`Live::run_on_own`].
    pub fn nodes(&self) -> &Cluster {
        match &self.nodes {
            Some(cluster) => cluster,
            None => panic!("control over nodes is for tests that ask for it"),
        }
    }

    /// Creates what a quota counts. It lets none in of a kind that it has not counted yet: the operator is
    /// not ready before Kubernetes counts ours, but a tenant's own quota is younger than that.
    pub async fn create_counted(&self, object: &Value) {
        until(
            &format!("{} is created", object["kind"]),
            COUNTED,
            async || match self.admin.create(object).await {
                Err(refusal) if refusal.message.contains("status unknown for quota") => {
                    Err(refusal.to_string())
                }
                made => Ok(must(made, "create it")),
            },
        )
        .await;
    }

    /// Undoes whatever a test may have done. Nothing to do is quick.
    async fn put_back(&self) {
        if let Some(cluster) = &self.nodes {
            let status = cluster.status();
            if !status.is_healthy() {
                for node in &NODES {
                    for undo in [
                        Cluster::thaw,
                        Cluster::heal,
                        Cluster::start,
                        Cluster::cilium_start,
                    ] {
                        let _ = undo(cluster, node.name);
                    }
                }
            }
            for node in &NODES {
                let change =
                    json!({"metadata": {"labels": {"topology.kubernetes.io/zone": node.zone}}});
                let object =
                    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}});
                must(
                    self.admin.patch(&object, Patch::Merge, &change).await,
                    "label the node",
                );
            }
        }
        if self.nodes.is_some() {
            self.mend_cuts().await;
        }
        self.restore_system().await;
        for (kind, version) in [
            ("namespaces", "/api/v1"),
            ("tenants", "/apis/cloister.dev/v1alpha1"),
            ("storageclasses", "/apis/storage.k8s.io/v1"),
            ("persistentvolumes", "/api/v1"),
        ] {
            for object in self
                .list(&format!("{version}/{kind}?labelSelector={TEST_LABEL}"))
                .await
            {
                let name = text(&object, "/metadata/name");
                let path = format!("{version}/{kind}/{name}");
                let _ = self
                    .admin
                    .send(Method::DELETE, &path, "application/json", &Value::Null)
                    .await;
            }
        }
    }

    /// Everything that a path lists.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut all = must(self.get(path).await, path);
        match all["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    }

    /// Reads a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.admin
            .send(Method::GET, path, "application/json", &Value::Null)
            .await
    }

    /// Deletes what is at a path; that it is gone already is fine.
    pub async fn delete(&self, path: &str) {
        let answer = self
            .admin
            .send(Method::DELETE, path, "application/json", &Value::Null)
            .await;
        if let Err(refusal) = answer {
            assert_eq!(refusal.code, 404, "{path} cannot be deleted: {refusal}");
        }
    }

    /// Changes what is at a path, by merge patch.
    pub async fn change(&self, path: &str, change: &Value) -> Value {
        let content = "application/merge-patch+json";
        must(
            self.admin.send(Method::PATCH, path, content, change).await,
            path,
        )
    }

    /// Makes a Tenant that may be purged. `spec` is merged over the least there is.
    pub async fn make_tenant(&self, name: &str, spec: &Value) {
        must(self.admin.create(&tenant(name, spec)).await, "create");
    }

    /// A new tenant, once it is Ready and proven.
    pub async fn proven(&self, prefix: &str, spec: &Value) -> String {
        let name = unique(prefix);
        self.make_tenant(&name, spec).await;
        self.until_proven(&name, Duration::from_mins(1)).await;
        name
    }

    /// Waits until `IsolationVerified` is True; says how long it took.
    pub async fn until_proven(&self, name: &str, limit: Duration) -> Duration {
        let what = format!("{name} is proven");
        let check = async || match self.said(name, "IsolationVerified").await {
            said if said.status == "True" => Ok(()),
            said => Err(format!("{said:?}")),
        };
        until(&what, limit, check).await.1
    }

    /// Waits until a condition has this status and one of these reasons.
    pub async fn until_said(
        &self,
        name: &str,
        condition: &str,
        (status, reasons): (&str, &[&str]),
        limit: Duration,
    ) -> (Said, Duration) {
        let what = format!("{condition} of {name} is {status} for {reasons:?}");
        let check = async || {
            let said = self.said(name, condition).await;
            let wanted = said.status == status && reasons.contains(&said.reason.as_str());
            if wanted {
                Ok(said)
            } else {
                Err(format!("{said:?}"))
            }
        };
        until(&what, limit, check).await
    }

    /// The Tenant, as it is now.
    pub async fn tenant(&self, name: &str) -> Value {
        must(self.get(&tenant_path(name)).await, name)
    }

    /// What one of its conditions says now.
    pub async fn said(&self, name: &str, condition: &str) -> Said {
        said(&self.tenant(name).await, condition)
    }
}

/// Whether the nodes of the cluster are ours to break.
pub fn owns_cluster() -> bool {
    std::env::var_os("CLOISTER_OWN_CLUSTER").is_some_and(|value| value == "1")
}

/// A Tenant that a test may purge.
pub fn tenant(name: &str, spec: &Value) -> Value {
    let mut whole = json!({
        "members": [{"kind": "User", "name": "owner@example.com", "role": "Owner"}],
        "deletionPolicy": "Purge",
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name, "labels": {TEST_LABEL: "true"}},
        "spec": whole,
    })
}

/// Where a Tenant is.
pub fn tenant_path(name: &str) -> String {
    format!("/apis/cloister.dev/v1alpha1/tenants/{name}")
}

/// The namespace of a tenant.
pub fn namespace_of(tenant: &str) -> String {
    format!("{NAMESPACE_PREFIX}{tenant}")
}

/// Where a tenant's network policies are.
pub fn policies_path(tenant: &str) -> String {
    let namespace = namespace_of(tenant);
    format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")
}

/// What a condition of this Tenant says.
pub fn said(tenant: &Value, condition: &str) -> Said {
    let conditions = tenant["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|one| one["type"] == condition);
    found.map_or_else(Said::default, |one| Said {
        status: text(one, "/status"),
        reason: text(one, "/reason"),
        message: text(one, "/message"),
    })
}

/// UIDs of the probes that the evidence of this Tenant comes from.
pub fn probes_of(tenant: &Value) -> Vec<String> {
    let evidence = tenant["status"]["isolation"]["evidence"].as_array();
    let evidence = evidence.into_iter().flatten();
    evidence.map(|one| text(one, "/probe")).collect()
}

/// Fingerprint of the boundary that the evidence is about.
pub fn boundary_of(tenant: &Value) -> String {
    text(tenant, "/status/isolation/boundary")
}

/// A string in an object; empty if there is none.
pub fn text(object: &Value, pointer: &str) -> String {
    let value = object.pointer(pointer).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

/// What came of it, which must not be a failure.
#[track_caller]
pub fn must<T, E: std::fmt::Display>(outcome: Result<T, E>, what: &str) -> T {
    match outcome {
        Ok(value) => value,
        Err(fault) => panic!("{what}: {fault}"),
    }
}

/// Asks every 25 ms, and less often after a second, until the answer is as it must be; says how long that took.
pub async fn until<V, F: AsyncFnMut() -> Result<V, String>>(
    what: &str,
    limit: Duration,
    mut check: F,
) -> (V, Duration) {
    let begun = Instant::now();
    loop {
        match check().await {
            Ok(value) => return (value, begun.elapsed()),
            Err(fault) => assert!(
                begun.elapsed() < limit,
                "{what}: not within {limit:?}; now {fault}"
            ),
        }
        // A fiftieth of what it took so far is precise enough, and who asks for hundreds of objects
        // all the time is a load of his own.
        let soon = begun.elapsed() / 50;
        pause(soon.clamp(Duration::from_millis(25), Duration::from_millis(500))).await;
    }
}

/// Lets the cluster go on for a while.
pub async fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a test waits for the cluster")]
    tokio::time::sleep(time).await;
}

/// Prints one measured figure, with what it must not exceed, and holds it to that.
#[track_caller]
pub fn within(what: &str, took: Duration, limit: Duration) {
    println!(
        "    {what}: {:.2} s (limit {} s)",
        took.as_secs_f64(),
        limit.as_secs_f64()
    );
    assert!(took <= limit, "{what}: took {took:?}, more than {limit:?}");
}
