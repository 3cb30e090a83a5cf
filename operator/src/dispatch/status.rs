//! What is said of an Execution and of an Integration. Pure.

use crds::{
    ExecutionStatus, IntegrationStatus,
    condition::{Finding, Verdict},
    execution::{Checks, ExecutionCondition, ExecutionReason, Sandbox as Place},
    integration::{IntegrationCondition, IntegrationReason, ScheduleStatus},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    line::Known,
    outcome::Outcome,
    run::Run,
    sandbox::{Facts, Proof},
};
use crate::conditions::{Stated, merge, stated};

/// Longest fault of a proof, in characters.
const MAX_FAULT: usize = 400;

type Word = (Verdict, ExecutionReason, String);

/// It waits, or an attempt of it goes on.
pub fn open(run: &Run, reason: ExecutionReason, message: &str, now: Timestamp) -> ExecutionStatus {
    let mut status = run.status.clone();
    status.times.seen = Some(run.seen);
    status.times.started = run.started.or(status.times.started);
    let succeeded = (Verdict::Unknown, reason, message.to_owned());
    conditions(&mut status, run, succeeded, None, now);
    status
}

/// This sandbox is the one that may run it.
pub fn bound(
    run: &Run,
    pod: &Facts,
    proof: &Proof,
    zone: Option<&str>,
    now: Timestamp,
) -> ExecutionStatus {
    let mut status = run.status.clone();
    status.attempt += 1;
    status.times.seen = Some(run.seen);
    status.times.claimed = Some(now);
    status.times.started = None;
    status.times.ended = None;
    status.exit_code = None;
    status.signal = None;
    status.output = None;
    status.sandbox = Some(Place {
        pod: pod.key.name.to_string(),
        uid: Some(pod.uid.to_string()),
        node: pod.node.as_deref().map(ToOwned::to_owned),
        zone: zone.map(ToOwned::to_owned),
        image_digest: pod.image_digest.as_deref().map(ToOwned::to_owned),
    });
    status.proof = checks(proof, now);
    let word = format!("attempt {} has its sandbox", status.attempt);
    let succeeded = (Verdict::Unknown, ExecutionReason::Starting, word);
    conditions(&mut status, run, succeeded, Some(proof), now);
    status
}

/// It has ended, for good.
pub fn ended(run: &Run, outcome: &Outcome, now: Timestamp) -> ExecutionStatus {
    let verdict = if outcome.reason == ExecutionReason::Completed {
        Verdict::True
    } else {
        Verdict::False
    };
    after(
        run,
        outcome,
        (verdict, outcome.reason, outcome.message.clone()),
        now,
    )
}

/// An attempt has ended, and there will be another.
pub fn retrying(run: &Run, outcome: &Outcome, now: Timestamp) -> ExecutionStatus {
    let message = format!(
        "attempt {} ended: {}: {}",
        run.status.attempt,
        outcome.reason.as_str(),
        outcome.message
    );
    let word = (Verdict::Unknown, ExecutionReason::Retrying, message);
    // It has no sandbox any more: whoever reads this later must not take it to be bound.
    ExecutionStatus {
        sandbox: None,
        ..after(run, outcome, word, now)
    }
}

fn after(run: &Run, outcome: &Outcome, succeeded: Word, now: Timestamp) -> ExecutionStatus {
    let mut status = run.status.clone();
    status.times.seen = Some(run.seen);
    status.times.started = run.started.or(status.times.started);
    status.times.ended = Some(now);
    status.exit_code = outcome.exit_code;
    status.signal = outcome.signal;
    status.result.clone_from(&outcome.result);
    // Of an attempt that has ended before, it stays.
    status.output = run.output.status().or(status.output);
    // Only of one that was never bound: what a bound one ran in was proven.
    let broken = (outcome.reason == ExecutionReason::SandboxUnproven && status.proof.is_none())
        .then(|| Proof::Broken {
            fault: outcome.message.clone(),
        });
    if broken.is_some() {
        status.proof = broken.as_ref().and_then(|proof| checks(proof, now));
    }
    conditions(&mut status, run, succeeded, broken.as_ref(), now);
    status
}

fn checks(proof: &Proof, now: Timestamp) -> Option<Checks> {
    let shortened = |fault: &str| fault.chars().take(MAX_FAULT).collect();
    match proof {
        Proof::Pending => None,
        Proof::Proven { at, passed } => Some(Checks {
            time: *at,
            passed: i32::try_from(*passed).unwrap_or(i32::MAX),
            fault: String::new(),
        }),
        Proof::Doubtful { fault } | Proof::Broken { fault } => Some(Checks {
            time: now,
            passed: 0,
            fault: shortened(fault),
        }),
    }
}

/// Both conditions; what is said of the sandbox stays, if there is nothing new to say.
fn conditions(
    status: &mut ExecutionStatus,
    run: &Run,
    succeeded: Word,
    proof: Option<&Proof>,
    now: Timestamp,
) {
    let (verdict, reason, message) = succeeded;
    let finding = |condition, verdict, reason, message| {
        stated(
            Finding {
                condition,
                verdict,
                reason,
                message,
            },
            ExecutionCondition::as_str,
            ExecutionReason::as_str,
        )
    };
    let mut next = vec![finding(
        ExecutionCondition::Succeeded,
        verdict,
        reason,
        message,
    )];
    let verified = ExecutionCondition::SandboxVerified;
    let before = crds::condition::find(&status.conditions, verified.as_str()).cloned();
    match (proof, &before) {
        (None, Some(_)) => {}
        (None | Some(Proof::Pending), _) => next.push(finding(
            verified,
            Verdict::Unknown,
            ExecutionReason::ProofPending,
            "no sandbox has reported for it yet".to_owned(),
        )),
        (Some(Proof::Proven { .. }), _) => next.push(finding(
            verified,
            Verdict::True,
            ExecutionReason::Proven,
            "the sandbox saw itself and the network from inside as they must be".to_owned(),
        )),
        (Some(Proof::Doubtful { fault }), _) => next.push(finding(
            verified,
            Verdict::Unknown,
            ExecutionReason::SandboxUnproven,
            fault.clone(),
        )),
        (Some(Proof::Broken { fault }), _) => next.push(finding(
            verified,
            Verdict::False,
            ExecutionReason::SandboxUnproven,
            fault.clone(),
        )),
    }
    let said_before = next.len() == 1;
    status.observed_generation = run.generation;
    status.conditions = merge(&status.conditions, next, run.generation, now);
    status.conditions.extend(before.filter(|_| said_before));
}

/// What is to be said of an Integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Condition `Ready`.
    pub ready: (Verdict, IntegrationReason, String),
    /// Condition `Warm`.
    pub warm: (Verdict, IntegrationReason, String),
    /// Condition `Scheduled`.
    pub scheduled: (Verdict, IntegrationReason, String),
}

/// The status of an Integration; `schedule` is how far that has come.
pub fn integration(
    known: &Known,
    findings: Findings,
    schedule: Option<ScheduleStatus>,
    now: Timestamp,
) -> IntegrationStatus {
    let Findings {
        ready,
        warm,
        scheduled,
    } = findings;
    let (previous, generation) = (&known.status, known.generation);
    let spelled = [
        (IntegrationCondition::Ready, ready),
        (IntegrationCondition::Warm, warm),
        (IntegrationCondition::Scheduled, scheduled),
    ];
    let spelled = spelled.map(|(condition, (verdict, reason, message))| -> Stated {
        stated(
            Finding {
                condition,
                verdict,
                reason,
                message,
            },
            IntegrationCondition::as_str,
            IntegrationReason::as_str,
        )
    });
    let conditions: Vec<Condition> = merge(&previous.conditions, spelled.into(), generation, now);
    IntegrationStatus {
        observed_generation: generation,
        conditions,
        schedule,
    }
}
