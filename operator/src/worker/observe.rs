//! What was planned and what became of it → the facts that a status is computed from. Pure.

use crds::{
    condition::{Finding, Verdict},
    worker::{WorkerCondition, WorkerReason, ZoneStatus},
};

use super::{
    apply::Applied,
    ready::{Progress, ready},
    validate::{Course, ValidWorker},
    zones::{self, Pod},
};
use crate::world::facts::LivePod;

/// The facts.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Pods that have not ended.
    pub replicas: i32,
    /// Those that are ready.
    pub ready: i32,
    /// Those of the newest version.
    pub updated: i32,
    /// How many are asked for.
    pub wanted: i32,
    /// How many must be left.
    pub min_available: i32,
    /// What runs where.
    pub zones: Vec<ZoneStatus>,
    /// What is said of each condition.
    pub findings: Vec<Finding<WorkerCondition, WorkerReason>>,
}

/// Boils down. Everything is judged by what the server holds after the pass.
pub fn observe(valid: &ValidWorker, applied: &Applied) -> Observed {
    let valid = &ValidWorker {
        around: applied.around.clone(),
        ..valid.clone()
    };
    let revision = valid
        .workload()
        .map(|live| live.revision.clone())
        .unwrap_or_default();
    let pods: Vec<Pod<'_>> = valid
        .around
        .pods
        .values()
        .filter_map(|held| of_worker(&held.fact, &valid.name, &revision))
        .collect();
    let count = |which: fn(&Pod<'_>) -> bool| {
        let counted = pods.iter().filter(|pod| which(pod)).count();
        i32::try_from(counted).unwrap_or(i32::MAX)
    };
    let zones = zones::zones(valid, &pods);
    let progress = Progress {
        pods: &pods,
        revision: &applied.revision,
    };
    let findings = vec![
        finding(WorkerCondition::Ready, ready(valid, &progress)),
        finding(WorkerCondition::ZoneRedundant, redundant(valid, &zones)),
        finding(WorkerCondition::IsolationVerified, isolation(valid)),
    ];
    Observed {
        replicas: count(|_| true),
        ready: count(|pod| pod.ready),
        updated: count(|pod| pod.newest),
        wanted: if valid.course == Course::Stop {
            0
        } else {
            valid.terms.replicas
        },
        min_available: valid.terms.min_available,
        zones,
        findings,
    }
}

/// A pod of this Worker that has not ended.
fn of_worker<'a>(pod: &'a LivePod, worker: &str, revision: &str) -> Option<Pod<'a>> {
    let replica = pod.replica.as_ref()?;
    (*replica.worker == *worker && !pod.finished).then(|| Pod {
        live: pod,
        ready: replica.ready && pod.deleting.is_none(),
        newest: *replica.revision == *revision,
    })
}

fn redundant(valid: &ValidWorker, zones: &[ZoneStatus]) -> (Verdict, WorkerReason, String) {
    let bound = !valid.terms.volumes.is_empty();
    let (verdict, reason, message) = zones::redundancy(zones, valid.terms.min_available, bound);
    if valid.course == Course::Stop {
        let message = "by spec.suspend none are to run";
        return (Verdict::False, WorkerReason::NotRunning, message.to_owned());
    }
    (verdict, reason, message)
}

fn isolation(valid: &ValidWorker) -> (Verdict, WorkerReason, String) {
    let (verdict, message) = &valid.isolation;
    let reason = match verdict {
        Verdict::True => WorkerReason::Proven,
        Verdict::False | Verdict::Unknown => WorkerReason::IsolationUnverified,
    };
    (*verdict, reason, message.clone())
}

fn finding(
    condition: WorkerCondition,
    (verdict, reason, message): (Verdict, WorkerReason, String),
) -> Finding<WorkerCondition, WorkerReason> {
    Finding {
        condition,
        verdict,
        reason,
        message,
    }
}
