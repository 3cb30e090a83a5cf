//! (object, outcome, now) → [`DrillStatus`]. Pure, on every way out.
//!
//! An error ends no run: how far it has come stands as it was written last.

use crds::{
    Drill, DrillStatus,
    condition::{Condition, Finding, Verdict},
    drill::{DrillCondition, DrillPhase, DrillReason, DrillRun},
};
use jiff::Timestamp;

use super::observe::Observed;
use crate::{
    conditions::{merge, stated},
    error::Error,
};

type Said = (Verdict, DrillReason, String);

/// Computes.
pub fn status(object: &Drill, outcome: Result<&Observed, &Error>, now: Timestamp) -> DrillStatus {
    let previous = object.status.clone().unwrap_or_default();
    let (mut status, said) = match outcome {
        Ok(observed) => (observed.status.clone(), Some(said(observed))),
        Err(error) => {
            let said = of_error(error, previous.run.is_some());
            (previous.clone(), said)
        }
    };
    status.observed_generation = object.metadata.generation;
    if let Some(said) = said {
        status.conditions = publish(object, &previous.conditions, said, now);
    }
    status
}

fn said(observed: &Observed) -> Said {
    let status = &observed.status;
    if let Some(run) = &status.run {
        return of_run(run, observed.given_back);
    }
    if let Some(fault) = &observed.fault {
        return (Verdict::False, DrillReason::InvalidSpec, fault.clone());
    }
    let Some(last) = status.results.first() else {
        let message = "none was asked for yet; set spec.request, or wait for spec.schedule";
        return (Verdict::Unknown, DrillReason::NeverRun, message.to_owned());
    };
    let reason = DrillReason::parse(&last.reason).unwrap_or(DrillReason::ApiError);
    let verdict = match reason {
        DrillReason::Recovered => Verdict::True,
        _ => Verdict::False,
    };
    (verdict, reason, last.message.clone())
}

fn of_run(run: &DrillRun, given_back: bool) -> Said {
    let zone = &run.zone;
    let (reason, message) = match run.phase {
        DrillPhase::Claiming => (
            DrillReason::Starting,
            format!("{zone} is being taken from the tenant"),
        ),
        DrillPhase::Lost => (
            DrillReason::ZoneLost,
            format!("{zone} is lost to the tenant; it is given back after spec.hold"),
        ),
        DrillPhase::Returning if given_back => {
            let weak = run.workers.iter().filter(|one| one.full.is_none());
            let names: Vec<&str> = weak.map(|one| one.name.as_str()).take(10).collect();
            let waits = match names.as_slice() {
                [] => String::new(),
                names => format!("; not at full strength yet: {}", names.join(", ")),
            };
            (
                DrillReason::Restoring,
                format!("{zone} is given back{waits}"),
            )
        }
        DrillPhase::Returning => (
            DrillReason::Restoring,
            format!("{zone} is being given back; if it takes long, look at Ready of the Tenant"),
        ),
    };
    (Verdict::Unknown, reason, message)
}

/// What an error says. What is known of the last run stays, where nothing runs.
fn of_error(error: &Error, running: bool) -> Option<Said> {
    match error {
        Error::NoTenant { .. } | Error::NamespaceTaken { .. } => {
            Some((Verdict::False, DrillReason::NoTenant, error.to_string()))
        }
        Error::Invalid { .. } | Error::Unreadable { .. } => {
            Some((Verdict::False, DrillReason::InvalidSpec, error.to_string()))
        }
        Error::Foreign { .. }
        | Error::StillDeleting { .. }
        | Error::Unrepaired { .. }
        | Error::Unseen { .. }
        | Error::OutOfSight { .. }
        | Error::Write { .. } => {
            running.then(|| (Verdict::Unknown, DrillReason::ApiError, error.to_string()))
        }
    }
}

fn publish(
    object: &Drill,
    previous: &[Condition],
    (verdict, reason, message): Said,
    now: Timestamp,
) -> Vec<Condition> {
    let finding = Finding {
        condition: DrillCondition::Succeeded,
        verdict,
        reason,
        message,
    };
    let spelled = stated(finding, DrillCondition::as_str, DrillReason::as_str);
    merge(previous, vec![spelled], object.metadata.generation, now)
}
