//! (object, outcome, now) → [`WorkerStatus`]. Pure, on every way out.
//!
//! An error says what it knows and leaves the counts as they were found last: an autoscaler reads
//! them.

use crds::{
    Worker, WorkerStatus,
    condition::{Condition, Finding, Verdict},
    worker::{WorkerCondition, WorkerReason},
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{desired::pod, observe::Observed, zones};
use crate::{
    conditions::{Stated, merge, stated},
    error::Error,
};

/// Computes.
pub fn status(object: &Worker, outcome: Result<&Observed, &Error>, now: Timestamp) -> WorkerStatus {
    let previous = object.status.clone().unwrap_or_default();
    let publish = |findings| publish(object, &previous.conditions, findings, now);
    match outcome {
        Ok(observed) => WorkerStatus {
            observed_generation: object.metadata.generation,
            replicas: observed.replicas,
            ready_replicas: observed.ready,
            updated_replicas: observed.updated,
            ready: format!("{}/{}", observed.ready, observed.wanted),
            spread: zones::spread(&observed.zones),
            selector: pod::selector_text(&object.name_any()),
            min_available: observed.min_available,
            zones: observed.zones.clone(),
            conditions: publish(observed.findings.clone()),
        },
        Err(error) => WorkerStatus {
            observed_generation: object.metadata.generation,
            conditions: publish(of_error(error)),
            selector: pod::selector_text(&object.name_any()),
            ..previous.clone()
        },
    }
}

fn of_error(error: &Error) -> Vec<Finding<WorkerCondition, WorkerReason>> {
    let (verdict, reason) = match error {
        Error::Invalid { .. } | Error::Unreadable { .. } => {
            (Verdict::False, WorkerReason::InvalidSpec)
        }
        Error::NoTenant { .. } | Error::NamespaceTaken { .. } => {
            (Verdict::False, WorkerReason::NoTenant)
        }
        Error::Foreign { .. } => (Verdict::False, WorkerReason::ForeignObject),
        Error::StillDeleting { .. }
        | Error::Unrepaired { .. }
        | Error::Unseen { .. }
        | Error::OutOfSight { .. }
        | Error::Write { .. } => (Verdict::Unknown, WorkerReason::ApiError),
    };
    let conditions = WorkerCondition::ALL.iter();
    conditions
        .map(|condition| match condition {
            WorkerCondition::Ready => Finding {
                condition: *condition,
                verdict,
                reason,
                message: error.to_string(),
            },
            WorkerCondition::ZoneRedundant | WorkerCondition::IsolationVerified => Finding {
                condition: *condition,
                verdict: Verdict::Unknown,
                reason,
                message: "could not be looked at; see Ready".to_owned(),
            },
        })
        .collect()
}

fn publish(
    object: &Worker,
    previous: &[Condition],
    findings: Vec<Finding<WorkerCondition, WorkerReason>>,
    now: Timestamp,
) -> Vec<Condition> {
    let spelled = findings
        .into_iter()
        .map(|finding| -> Stated { stated(finding, WorkerCondition::as_str, WorkerReason::as_str) })
        .collect();
    merge(previous, spelled, object.metadata.generation, now)
}
