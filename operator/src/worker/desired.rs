//! [`ValidWorker`] → what makes its pods, and its budget, complete. Pure and total.

pub mod budget;
pub mod config;
mod deployment;
pub mod pod;
mod stateful_set;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::PodTemplateSpec,
    policy::v1::PodDisruptionBudget,
};

use super::validate::{Course, ValidWorker};
use crate::world::facts::REVISION_LABEL;

/// Versions that are kept to go back to: none is gone back to but by the spec.
const HISTORY: i32 = 2;

/// Everything a Worker has, as it must be.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Nothing while nothing new may start: then it is left as it is, there or not.
    pub workload: Option<Workload>,
    /// Only beside a workload.
    pub budget: Option<PodDisruptionBudget>,
    /// Fingerprint of what the pods are to be made from, now or once something may start.
    pub revision: String,
}

/// What makes the pods.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Of a Worker without volumes.
    Deployment(Box<Deployment>),
    /// Of one with volumes.
    StatefulSet(Box<StatefulSet>),
}

impl Workload {
    fn made(valid: &ValidWorker, api_servers: &[String]) -> Self {
        if valid.terms.volumes.is_empty() {
            Self::Deployment(Box::new(deployment::deployment(valid, api_servers)))
        } else {
            Self::StatefulSet(Box::new(stateful_set::stateful_set(valid, api_servers)))
        }
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        match self {
            Self::Deployment(made) => made.spec.as_ref().map(|spec| &spec.template),
            Self::StatefulSet(made) => made.spec.as_ref().map(|spec| &spec.template),
        }
    }

    /// Fingerprint of what its pods are made from.
    fn revision(&self) -> &str {
        let metadata = self.template().and_then(|one| one.metadata.as_ref());
        let labels = metadata.and_then(|one| one.labels.as_ref());
        let revision = labels.and_then(|labels| labels.get(REVISION_LABEL));
        revision.map(String::as_str).unwrap_or_default()
    }

    /// The same with another number of pods.
    fn with_replicas(mut self, replicas: i32) -> Self {
        let held = match &mut self {
            Self::Deployment(made) => made.spec.as_mut().map(|spec| &mut spec.replicas),
            Self::StatefulSet(made) => made.spec.as_mut().map(|spec| &mut spec.replicas),
        };
        if let Some(held) = held {
            *held = Some(replicas);
        }
        self
    }
}

/// Plans.
///
/// The workload comes with the first word that something may start, and is written as long as that
/// holds, or to have none run. Otherwise nothing of it is touched: a change of its pods starts new
/// ones.
pub fn desired(valid: &ValidWorker) -> Desired {
    let whole = workload(valid);
    let revision = whole.revision().to_owned();
    let there = valid.workload().is_some();
    let workload = match &valid.course {
        Course::Keep => Some(whole),
        Course::Stop => there.then(|| whole.with_replicas(0)),
        Course::Hold(..) => None,
    };
    let beside = there || workload.is_some();
    Desired {
        workload,
        budget: beside.then(|| budget::budget(valid)),
        revision,
    }
}

/// What makes the pods.
///
/// The addresses of the API server come and go, and pods that run need no other for it: what they
/// were told is kept while one of those is still there, and nothing else has changed.
fn workload(valid: &ValidWorker) -> Workload {
    let now = config::api_servers(&valid.cluster);
    let fresh = Workload::made(valid, &now);
    let Some(live) = valid.workload() else {
        return fresh;
    };
    let told = &live.api_servers;
    if *told == now || !told.iter().any(|one| valid.cluster.has_api_server(one)) {
        return fresh;
    }
    let kept = Workload::made(valid, told);
    if kept.revision() == &*live.revision {
        kept
    } else {
        fresh
    }
}
