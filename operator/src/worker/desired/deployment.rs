//! The Deployment of a Worker without volumes: how a new version takes over.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    HISTORY,
    pod::{child, selector, template},
};
use crate::worker::validate::ValidWorker;

/// How long a new version may take to come up, each replica from the last one on.
const PROGRESS_SECONDS: i32 = 120;

/// The Deployment, of pods that were told of these API servers.
pub fn deployment(valid: &ValidWorker, api_servers: &[String]) -> Deployment {
    let terms = &valid.terms;
    Deployment {
        metadata: child(valid),
        spec: Some(DeploymentSpec {
            progress_deadline_seconds: Some(PROGRESS_SECONDS),
            replicas: Some(terms.replicas),
            revision_history_limit: Some(HISTORY),
            selector: selector(valid),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(terms.surge)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template(valid, api_servers),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}
