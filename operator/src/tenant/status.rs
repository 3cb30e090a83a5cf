//! (object, outcome, now) → [`TenantStatus`]. Pure, on every way out.
//!
//! An error says what it knows and leaves the rest as it was found last: what is bound
//! (namespace, evidence) is never cleared by a pass that could not look.

use crds::{
    Tenant, TenantStatus,
    condition::{Finding, Verdict},
    tenant::{State, TenantCondition, TenantReason},
};
use jiff::Timestamp;

use super::Observed;
use crate::{
    conditions::{Stated, merge, stated},
    error::Error,
};

/// Computes.
pub fn status(object: &Tenant, outcome: Result<&Observed, &Error>, now: Timestamp) -> TenantStatus {
    let previous = object.status.clone().unwrap_or_default();
    match outcome {
        Ok(observed) => {
            let mut findings = vec![refused(object).unwrap_or_else(|| ready(observed))];
            findings.extend(observed.findings.iter().cloned());
            TenantStatus {
                observed_generation: object.metadata.generation,
                namespace: Some(observed.namespace.clone()),
                conditions: publish(object, &previous, findings, now),
                isolation: Some(observed.isolation.clone()),
            }
        }
        Err(error) => {
            let (verdict, reason) = of_error(error);
            let ready = finding(TenantCondition::Ready, verdict, reason, error.to_string());
            with_ready(object, ready, now)
        }
    }
}

/// The previous status with another word on `Ready`, and Unknown for what nobody looked at.
pub fn with_ready(
    object: &Tenant,
    ready: Finding<TenantCondition, TenantReason>,
    now: Timestamp,
) -> TenantStatus {
    let previous = object.status.clone().unwrap_or_default();
    let reason = ready.reason;
    let mut findings = vec![ready];
    for condition in TenantCondition::ALL.iter().skip(1) {
        let message = "could not be looked at; see Ready".to_owned();
        findings.push(finding(*condition, Verdict::Unknown, reason, message));
    }
    TenantStatus {
        observed_generation: object.metadata.generation,
        conditions: publish(object, &previous, findings, now),
        ..previous
    }
}

/// One finding.
pub fn finding(
    condition: TenantCondition,
    verdict: Verdict,
    reason: TenantReason,
    message: String,
) -> Finding<TenantCondition, TenantReason> {
    Finding {
        condition,
        verdict,
        reason,
        message,
    }
}

fn publish(
    object: &Tenant,
    previous: &TenantStatus,
    findings: Vec<Finding<TenantCondition, TenantReason>>,
    now: Timestamp,
) -> Vec<crds::condition::Condition> {
    let spelled = findings
        .into_iter()
        .map(|finding| -> Stated { stated(finding, TenantCondition::as_str, TenantReason::as_str) })
        .collect();
    merge(
        &previous.conditions,
        spelled,
        object.metadata.generation,
        now,
    )
}

/// What is said where only `deletionPolicy` keeps the tenant: a pass over one that may go
/// does not come here.
fn refused(object: &Tenant) -> Option<Finding<TenantCondition, TenantReason>> {
    object.metadata.deletion_timestamp.as_ref()?;
    let message = "marked for deletion, but spec.deletionPolicy is Retain and nothing was removed; \
                   set it to Purge to remove the tenant with everything in it";
    let reason = TenantReason::DeletionRefused;
    Some(finding(
        TenantCondition::Ready,
        Verdict::False,
        reason,
        message.to_owned(),
    ))
}

/// Ready is False while something is known to be broken. Not yet proven is not broken:
/// the namespace can be filled, and what starts in it asks for the proof itself.
fn ready(observed: &Observed) -> Finding<TenantCondition, TenantReason> {
    let broken = observed
        .findings
        .iter()
        .find(|finding| finding.verdict == Verdict::False);
    let (verdict, reason, message) = match (&observed.fault, broken, observed.state) {
        (Some(fault), _, _) => (Verdict::False, TenantReason::InvalidSpec, fault.clone()),
        (None, Some(broken), _) => {
            let message = format!("{}: {}", broken.condition.as_str(), broken.message);
            (Verdict::False, TenantReason::Degraded, message)
        }
        (None, None, State::Suspended) => {
            let message = "suspended by spec.state: nothing new starts, members may look";
            (Verdict::True, TenantReason::Suspended, message.to_owned())
        }
        (None, None, State::Active) => {
            let message = "the boundary is in place; whether it holds, IsolationVerified says";
            (Verdict::True, TenantReason::Provisioned, message.to_owned())
        }
    };
    finding(TenantCondition::Ready, verdict, reason, message)
}

fn of_error(error: &Error) -> (Verdict, TenantReason) {
    match error {
        // A Tenant is in no namespace; the two are of other kinds.
        Error::Invalid { .. } | Error::Unreadable { .. } | Error::NoTenant { .. } => {
            (Verdict::False, TenantReason::InvalidSpec)
        }
        Error::NamespaceTaken { .. } => (Verdict::False, TenantReason::NamespaceTaken),
        Error::Foreign { .. } => (Verdict::False, TenantReason::ForeignObject),
        Error::StillDeleting { .. }
        | Error::Unrepaired { .. }
        | Error::Unseen { .. }
        | Error::OutOfSight { .. }
        | Error::Write { .. } => (Verdict::Unknown, TenantReason::ApiError),
    }
}
