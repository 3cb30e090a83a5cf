//! Integrations and Executions of a test's tenant.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Live, Said, must, namespace_of, pause, said, text, until};

/// The image that every Integration of a test runs.
pub const IMAGE: &str = "localhost/cloister/examples:dev";

const API: &str = "/apis/cloister.dev/v1alpha1/namespaces";

/// Where the Integrations or Executions of a tenant are.
pub fn path(tenant: &str, plural: &str) -> String {
    format!("{API}/{}/{plural}", namespace_of(tenant))
}

/// Whether an Execution has ended, well or not.
pub fn is_over(execution: &Value) -> bool {
    matches!(&*said(execution, "Succeeded").status, "True" | "False")
}

/// A time of an Execution that has it.
#[track_caller]
pub fn time(execution: &Value, name: &str) -> Timestamp {
    let said = text(execution, &format!("/status/times/{name}"));
    must(said.parse(), &format!("{name} of {execution}"))
}

/// Whether its command ran, by the word of its sandbox.
pub fn has_started(execution: &Value) -> bool {
    !execution["status"]["times"]["started"].is_null()
}

/// Milliseconds from one time of an Execution to another.
#[track_caller]
pub fn between(execution: &Value, from: &str, to: &str) -> f64 {
    let span = time(execution, to) - time(execution, from);
    span.total(jiff::Unit::Millisecond).unwrap_or_default()
}

impl Live {
    /// Applies an Integration that runs `/hello` with these arguments; `spec` is merged over it.
    pub async fn integrate(&self, tenant: &str, name: &str, arguments: &[&str], spec: &Value) {
        let mut whole = json!({"image": IMAGE, "command": ["/hello"], "args": arguments,
            "gracePeriod": "2s"});
        for (key, value) in spec.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
            "metadata": {"name": name, "namespace": namespace_of(tenant)}, "spec": whole,
        });
        self.create_counted(&object).await;
    }

    /// Waits until its sandboxes are proven.
    pub async fn until_warm(&self, tenant: &str, name: &str, limit: Duration) -> Duration {
        let path = format!("{}/{name}", path(tenant, "integrations"));
        let check = async || match said(&must(self.get(&path).await, name), "Warm") {
            said if said.status == "True" => Ok(()),
            said => Err(format!("{said:?}")),
        };
        until(&format!("{name} is warm"), limit, check).await.1
    }

    /// Has an Integration `hello` in a tenant with one sandbox that is warm: the neighbour of
    /// whoever is greedy.
    pub async fn neighbour(&self, tenant: &str, limit: Duration) {
        let warm = json!({"warm": {"min": 1}});
        self.integrate(tenant, "hello", &["neighbour"], &warm).await;
        self.until_warm(tenant, "hello", limit).await;
    }

    /// Creates an Execution; gives its name.
    pub async fn execute(&self, tenant: &str, integration: &str, spec: &Value) -> String {
        let mut whole = json!({"integration": integration});
        for (key, value) in spec.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
            "metadata": {"generateName": format!("{integration}-"), "namespace": namespace_of(tenant)},
            "spec": whole,
        });
        loop {
            match self.admin.create(&object).await {
                // Many at once outrun the quota's own bookkeeping, and are asked to come again, or
                // find a server that had no time for it.
                Err(refusal)
                    if refusal.code == 409
                        || refusal.message.contains("quota evaluation timed out") =>
                {
                    pause(Duration::from_millis(20)).await;
                }
                made => return text(&must(made, "create the Execution"), "/metadata/name"),
            }
        }
    }

    /// An Execution, as it is now.
    pub async fn execution(&self, tenant: &str, name: &str) -> Value {
        let path = format!("{}/{name}", path(tenant, "executions"));
        must(self.get(&path).await, name)
    }

    /// Waits until one has ended; gives it whole, and how long that took.
    pub async fn until_over(&self, tenant: &str, name: &str, limit: Duration) -> (Value, Duration) {
        let check = async || {
            let object = self.execution(tenant, name).await;
            match said(&object, "Succeeded") {
                said if said.status == "True" || said.status == "False" => Ok(object),
                said => Err(format!("{said:?}")),
            }
        };
        until(&format!("{name} has ended"), limit, check).await
    }

    /// Waits until so many Executions of a tenant have ended; gives all that there are.
    pub async fn until_all_over(
        &self,
        tenant: &str,
        count: usize,
        limit: Duration,
    ) -> (Vec<Value>, Duration) {
        until("all have run", limit, async || {
            let objects = self.list(&path(tenant, "executions")).await;
            match objects.iter().filter(|one| is_over(one)).count() {
                over if over == count => Ok(objects),
                over => Err(format!("{over} of {count}")),
            }
        })
        .await
    }

    /// Waits until one is said to be so; gives it whole.
    pub async fn until_reason(
        &self,
        tenant: &str,
        name: &str,
        reason: &str,
        limit: Duration,
    ) -> Value {
        let check = async || {
            let object = self.execution(tenant, name).await;
            match said(&object, "Succeeded") {
                said if said.reason == reason => Ok(object),
                said => Err(format!("{said:?}")),
            }
        };
        until(&format!("{name} is {reason}"), limit, check).await.0
    }

    /// Runs an Integration once, to its end.
    pub async fn run_once(&self, tenant: &str, name: &str, limit: Duration) -> (Value, Said) {
        let execution = self.execute(tenant, name, &json!({})).await;
        let (object, _) = self.until_over(tenant, &execution, limit).await;
        let ended = said(&object, "Succeeded");
        (object, ended)
    }

    /// Sandboxes of an Integration that are there.
    pub async fn sandboxes(&self, tenant: &str, integration: &str) -> Vec<Value> {
        let namespace = namespace_of(tenant);
        let labels = format!("cloister.dev%2Fintegration%3D{integration}");
        self.list(&format!(
            "/api/v1/namespaces/{namespace}/pods?labelSelector={labels}"
        ))
        .await
    }

    /// Names of those that run, and are not on their way out. One that has been used is among them
    /// for a moment longer.
    pub async fn standing(&self, tenant: &str, integration: &str) -> Vec<String> {
        let pods = self.sandboxes(tenant, integration).await;
        let stands = |pod: &&Value| {
            text(pod, "/status/phase") == "Running"
                && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let standing = pods.iter().filter(stands);
        standing.map(|pod| text(pod, "/metadata/name")).collect()
    }

    /// What a pod has said so far.
    pub async fn log_of(&self, tenant: &str, pod: &str) -> String {
        let namespace = namespace_of(tenant);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
        self.admin.text(&path).await
    }
}
