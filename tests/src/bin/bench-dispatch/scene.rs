//! Where it happens: a tenant whose limits are in nobody's way, an Integration, and Executions of it.

use std::time::Duration;

use http::Method;
use kube::{
    Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, eventually, pause, send},
    measure::load::{Job, PART_LABEL, of_execution},
    stand_in::node::must,
};

use super::Anything;

/// The tenant.
const TENANT: &str = "bench";
/// Its namespace.
pub(crate) const NAMESPACE: &str = "tenant-bench";
/// What runs.
pub(crate) const INTEGRATION: &str = "run";
/// What runs without a warm sandbox.
pub(crate) const COLD: &str = "cold";
/// What the bare client's pods belong to. Nothing of it ever runs.
pub(crate) const FLOOR: &str = "floor";
/// Where its Executions are.
pub(crate) const EXECUTIONS: &str =
    "/apis/cloister.dev/v1alpha1/namespaces/tenant-bench/executions";
const INTEGRATIONS: &str = "/apis/cloister.dev/v1alpha1/namespaces/tenant-bench/integrations";

/// Kubernetes looks every 30 s which kinds a quota may count, and makes none of them until then.
const LIMIT: Duration = Duration::from_mins(4);

/// Makes the tenant, and waits until it is proven.
pub(crate) async fn tenant(plane: &ControlPlane) -> Result<(), Anything> {
    let tenant = json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": TENANT},
        "spec": {
            "members": [{"kind": "User", "name": "ada@example.com", "role": "Owner"}],
            "limits": {"pods": 5000, "executions": 100_000, "cpu": "10000", "memory": "100Ti"},
        },
    });
    must(plane.create(&tenant).await)?;
    let path = format!("/apis/cloister.dev/v1alpha1/tenants/{TENANT}");
    until_true(plane, &path, "IsolationVerified").await;
    Ok(())
}

/// Makes the Integrations, one with so many warm sandboxes; each keeps all that ends.
pub(crate) async fn integrations(plane: &ControlPlane, warm: usize) -> Result<(), Anything> {
    let each = [
        (INTEGRATION, warm, false),
        (COLD, 0, false),
        (FLOOR, 0, true),
    ];
    for (name, warm, suspend) in each {
        let integration = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "image": "localhost/cloister/examples:dev", "command": ["/hello"],
                "warm": {"min": warm}, "concurrency": {"limit": 1000}, "suspend": suspend,
                "resources": {"cpu": "10m", "memory": "32Mi", "scratch": "1Mi"},
                "ttl": "720h", "startDeadline": "24h",
            },
        });
        eventually(LIMIT, async || match plane.create(&integration).await {
            Err(refusal) if refusal.code != 409 => Err(refusal.message),
            _ => Ok(()),
        })
        .await;
    }
    Ok(())
}

/// UID of the Integration that the bare client's pods belong to.
pub(crate) async fn floor_uid(plane: &ControlPlane) -> Result<Value, Anything> {
    let object = must(plane.get(&format!("{INTEGRATIONS}/{FLOOR}")).await)?;
    Ok(object["metadata"]["uid"].clone())
}

/// Waits until as many sandboxes stand ready as are to.
pub(crate) async fn until_warm(plane: &ControlPlane) {
    until_true(plane, &format!("{INTEGRATIONS}/{INTEGRATION}"), "Warm").await;
}

async fn until_true(plane: &ControlPlane, path: &str, condition: &str) {
    eventually(LIMIT, async || {
        let object = plane.get(path).await.unwrap_or_default();
        let list = object["status"]["conditions"].as_array();
        let said = list
            .into_iter()
            .flatten()
            .find(|one| one["type"] == condition);
        match said {
            Some(said) if said["status"] == "True" => Ok(()),
            said => Err(format!("{path}: {condition} is not True: {said:?}")),
        }
    })
    .await;
}

/// An Execution, as it is asked for.
pub(crate) fn execution(integration: &str, part: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {PART_LABEL: part}},
        "spec": {"integration": integration},
    })
}

/// Creates at a path. Many at once outrun the quota's own bookkeeping, and are asked to come again.
pub(crate) async fn create(client: &Client, path: &str, object: &Value) -> Result<Value, Anything> {
    loop {
        match send(client, Method::POST, path, "application/json", object).await {
            Err(refusal) if refusal.code == 409 && refusal.message.contains("quota") => {
                pause(10).await;
            }
            answer => return must(answer),
        }
    }
}

/// Writes the status of an Execution, as the operator does.
pub(crate) async fn say(client: &Client, name: &str, status: &Value) -> Result<(), Anything> {
    let path = format!("{EXECUTIONS}/{name}/status");
    let content = "application/merge-patch+json";
    let change = json!({"status": status});
    must(send(client, Method::PATCH, &path, content, &change).await)?;
    Ok(())
}

/// What the closed loop makes: Executions of this Integration.
pub(crate) struct Executions(pub(crate) Client, pub(crate) &'static str);

impl Job for Executions {
    fn kind(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(
            "cloister.dev",
            "v1alpha1",
            "Execution",
        ))
    }

    fn namespace(&self) -> &str {
        NAMESPACE
    }

    async fn make(&self, part: &str, name: &str) -> Result<(), Anything> {
        create(&self.0, EXECUTIONS, &execution(self.1, part, name))
            .await
            .map(drop)
    }

    fn outcome(&self, object: &DynamicObject) -> Option<Result<Option<f64>, String>> {
        of_execution(object)
    }

    /// They are kept.
    async fn clear(&self, _: &str) -> Result<(), Anything> {
        Ok(())
    }
}
