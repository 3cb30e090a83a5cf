//! What Kubernetes counts for quotas.

use std::time::{Duration, Instant};

use crds::well_known::{COUNTED, COUNTS, SYSTEM_NAMESPACE};
use serde_json::{Value, json};

use super::{Answer, ControlPlane, eventually, pause};

/// For a controller that has just been started to write the status of a quota for the first time, as long as
/// an API server has for its own start: beside other work some take half a minute.
const STARTS: Duration = Duration::from_secs(90);
/// For Kubernetes to learn of a kind.
const LEARNS: Duration = Duration::from_mins(1);

/// Asks again while Kubernetes has yet to learn of the kind, which it looks for every half minute.
pub(super) async fn known<F: AsyncFnMut() -> Answer>(mut ask: F) -> Answer {
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(refusal)
                if refusal.message.contains("status unknown for quota")
                    && begun.elapsed() < LEARNS =>
            {
                pause(200).await;
            }
            answer => return answer,
        }
    }
}

impl ControlPlane {
    /// The quota that shows the operator that its kinds are counted. Stands for the half minute that
    /// Kubernetes takes to learn of them, which each control plane would spend anew.
    pub(super) async fn pretend_counts(&self) {
        let none: Value = COUNTED
            .iter()
            .map(|kind| ((*kind).to_owned(), json!("0")))
            .collect();
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": COUNTS, "namespace": SYSTEM_NAMESPACE},
            "spec": {"hard": none},
        });
        let made = self.apply(&quota).await;
        made.unwrap_or_else(|refusal| panic!("{}", refusal.message));
        let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/resourcequotas/{COUNTS}");
        // The controller writes once, what it knows, and would write over this.
        eventually(STARTS, async || {
            let found = self.get(&path).await.map_err(|refusal| refusal.message)?;
            let status = &found["status"]["hard"];
            status
                .is_object()
                .then_some(())
                .ok_or_else(|| found.to_string())
        })
        .await;
        let status = json!({"status": {"used": none}});
        let path = format!("{path}/status");
        let told = self.merge(&path, "pretender", &status).await;
        told.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    }
}
