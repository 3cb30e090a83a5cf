//! [`ValidWorker`] → its Deployment and its budget, complete. Pure and total.

pub mod budget;
pub mod config;
pub mod deployment;

use k8s_openapi::api::{apps::v1::Deployment, policy::v1::PodDisruptionBudget};

use super::validate::{Course, ValidWorker};

/// Everything a Worker has, as it must be.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Nothing while nothing new may start: then it is left as it is, there or not.
    pub deployment: Option<Deployment>,
    /// Only beside a Deployment.
    pub budget: Option<PodDisruptionBudget>,
    /// Fingerprint of what the pods are to be made from, now or once something may start.
    pub revision: String,
}

/// Plans.
///
/// The Deployment comes with the first word that something may start, and is written as long as
/// that holds, or to have none run. Otherwise nothing of it is touched: a change of its pods starts
/// new ones.
pub fn desired(valid: &ValidWorker) -> Desired {
    let whole = deployment::deployment(valid);
    let revision = deployment::revision(&whole).to_owned();
    let there = valid.deployment().is_some();
    let deployment = match &valid.course {
        Course::Keep => Some(whole),
        Course::Stop => there.then(|| deployment::with_replicas(whole, 0)),
        Course::Hold(..) => None,
    };
    let beside = there || deployment.is_some();
    Desired {
        deployment,
        budget: beside.then(|| budget::budget(valid)),
        revision,
    }
}
