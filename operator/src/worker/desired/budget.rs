//! How many of a Worker whoever asks first (a drain, an upgrade) must leave.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::pod::{child, selector};
use crate::worker::validate::ValidWorker;

/// The budget: what is left when a zone is lost is what is left when somebody asks.
pub fn budget(valid: &ValidWorker) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: child(valid),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(valid.terms.min_available)),
            selector: Some(selector(valid)),
            // One that is not ready serves nobody, and must not hold up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            max_unavailable: None,
        }),
        status: None,
    }
}
