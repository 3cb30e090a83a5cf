//! Workers of a test's tenant.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Live, Said,
    executions::{IMAGE, path},
    must, namespace_of, said, text, until,
};

/// Where a Worker is.
pub fn worker_path(tenant: &str, name: &str) -> String {
    format!("{}/{name}", path(tenant, "workers"))
}

impl Live {
    /// Applies a Worker that runs `/hello` with these arguments; `spec` is merged over it.
    pub async fn employ(&self, tenant: &str, name: &str, arguments: &[&str], spec: &Value) {
        let mut whole = json!({"image": IMAGE, "command": ["/hello"], "args": arguments,
            "shutdownGrace": "2s", "resources": {"cpu": "100m", "memory": "64Mi", "scratch": "1Mi"}});
        for (key, value) in spec.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Worker",
            "metadata": {"name": name, "namespace": namespace_of(tenant)}, "spec": whole,
        });
        self.create_counted(&object).await;
    }

    /// A Worker, as it is now.
    pub async fn worker(&self, tenant: &str, name: &str) -> Value {
        must(self.get(&worker_path(tenant, name)).await, name)
    }

    /// Waits until a condition of a Worker says this about its spec as it is; gives what it says,
    /// and how long that took.
    pub async fn until_worker(
        &self,
        (tenant, name): (&str, &str),
        condition: &str,
        (status, reason): (&str, &str),
        limit: Duration,
    ) -> (Said, Duration) {
        let check = async || {
            let object = self.worker(tenant, name).await;
            let current =
                object["status"]["observedGeneration"] == object["metadata"]["generation"];
            match said(&object, condition) {
                said if current && said.status == status && said.reason == reason => Ok(said),
                said => Err(format!("{said:?}: {}", object["status"])),
            }
        };
        let what = format!("{condition} of {name} is {status}, {reason}");
        until(&what, limit, check).await
    }

    /// Pods of a Worker that are not on their way out.
    pub async fn replicas(&self, tenant: &str, name: &str) -> Vec<Value> {
        let namespace = namespace_of(tenant);
        let labels = format!("cloister.dev%2Fworker%3D{name}");
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={labels}");
        let all = self.list(&path).await.into_iter();
        all.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect()
    }
}

/// Name of a pod and of its node.
pub fn placed(pod: &Value) -> (String, String) {
    (text(pod, "/metadata/name"), text(pod, "/spec/nodeName"))
}
