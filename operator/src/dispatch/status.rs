//! What is said of an Execution and of an Integration. Pure.

use crds::{
    ExecutionStatus, IntegrationStatus,
    condition::{Condition, Finding, Verdict},
    execution::{Checks, ExecutionCondition, ExecutionReason, Sandbox as Place},
    integration::{IntegrationCondition, IntegrationReason, ScheduleStatus},
};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    line::Known,
    outcome::Outcome,
    run::Run,
    sandbox::{Facts, Proof},
};
use crate::conditions::{Stated, merge, stated};

/// Longest fault of a proof, in characters.
const MAX_FAULT: usize = 400;
/// Most bytes of the status of an Execution, as the API server writes it.
const MAX_STATUS: usize = 16 * 1024;
/// Most bytes of a message and of a fault in one that would have more: with a result of 8 KiB and the
/// names, which have 2 at the most, that is less.
const MAX_WORDS: [usize; 2] = [2 * 1024, 1024];

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
        fenced: pod.is_fenced(),
    });
    status.proof = checks(proof, now);
    let word = format!("attempt {} has its sandbox", status.attempt);
    let succeeded = (Verdict::Unknown, ExecutionReason::Starting, word);
    conditions(&mut status, run, succeeded, Some(proof), now);
    status
}

/// It has ended, for good. The kubelet may have told the digest of the image only after the sandbox
/// was bound; `pod` is that, if it is still there.
pub fn ended(run: &Run, outcome: &Outcome, pod: Option<&Facts>, now: Timestamp) -> ExecutionStatus {
    let verdict = if outcome.reason == ExecutionReason::Completed {
        Verdict::True
    } else {
        Verdict::False
    };
    let word = (verdict, outcome.reason, outcome.message.clone());
    let mut status = run.status.clone();
    let place = status.sandbox.as_mut().zip(pod);
    if let Some((place, pod)) = place.filter(|(place, _)| place.image_digest.is_none()) {
        place.image_digest = pod.image_digest.as_deref().map(ToOwned::to_owned);
    }
    after(status, run, outcome, word, now)
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
    let status = ExecutionStatus {
        sandbox: None,
        ..run.status.clone()
    };
    after(status, run, outcome, word, now)
}

fn after(
    mut status: ExecutionStatus,
    run: &Run,
    outcome: &Outcome,
    succeeded: Word,
    now: Timestamp,
) -> ExecutionStatus {
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
    let is_final = succeeded.0 != Verdict::Unknown;
    let verified = ExecutionCondition::SandboxVerified;
    let before = crds::condition::find(&status.conditions, verified.as_str()).cloned();
    let spell = |condition, word| {
        let finding = finding(condition, word);
        stated(finding, ExecutionCondition::as_str, ExecutionReason::as_str)
    };
    let mut next = vec![spell(ExecutionCondition::Succeeded, succeeded)];
    let of_sandbox = of_sandbox(proof, before.as_ref(), is_final);
    next.extend(of_sandbox.map(|word| spell(verified, word)));
    let said_before = next.len() == 1;
    status.observed_generation = run.generation;
    status.conditions = merge(&status.conditions, next, run.generation, now);
    status.conditions.extend(before.filter(|_| said_before));
    bound_size(status);
}

/// A condition, and what is said of it.
fn finding<C, R>(condition: C, (verdict, reason, message): (Verdict, R, String)) -> Finding<C, R> {
    Finding {
        condition,
        verdict,
        reason,
        message,
    }
}

/// What there is to say of the sandbox, if that is new.
fn of_sandbox(proof: Option<&Proof>, before: Option<&Condition>, is_final: bool) -> Option<Word> {
    use ExecutionReason::{NoSandbox, ProofPending, Proven, SandboxUnproven};
    let say = |verdict, reason, message: &str| Some((verdict, reason, message.to_owned()));
    let pending = |said: &Condition| said.reason == ProofPending.as_str();
    match proof {
        None if is_final && before.is_none_or(pending) => say(
            Verdict::Unknown,
            NoSandbox,
            "it ended before it had a sandbox",
        ),
        None if before.is_some() => None,
        None | Some(Proof::Pending) => say(
            Verdict::Unknown,
            ProofPending,
            "no sandbox has reported for it yet",
        ),
        Some(Proof::Proven { .. }) => say(
            Verdict::True,
            Proven,
            "the sandbox saw itself and the network from inside as they must be",
        ),
        Some(Proof::Doubtful { fault }) => say(Verdict::Unknown, SandboxUnproven, fault),
        Some(Proof::Broken { fault }) => say(Verdict::False, SandboxUnproven, fault),
    }
}

/// Bytes of a value in the API server's JSON: that (Go's `encoding/json`) also escapes what HTML and
/// JavaScript take for more than text.
pub(super) fn written(value: &(impl Serialize + ?Sized)) -> usize {
    let json = serde_json::to_string(value).unwrap_or_default();
    let longer = json.chars().map(|char| match char {
        '<' | '>' | '&' => 5,
        '\u{2028}' | '\u{2029}' => 3,
        _ => 0,
    });
    json.len() + longer.sum::<usize>()
}

/// Keeps a status within its bounds, whatever its texts are made of: output goes first, its oldest
/// first, and then what is too long of the words. The result is bounded itself.
fn bound_size(status: &mut ExecutionStatus) {
    for _ in 0..2 {
        let over = written(status).saturating_sub(MAX_STATUS);
        let Some(output) = status.output.as_mut().filter(|_| over > 0) else {
            break;
        };
        let both = [&mut output.stdout, &mut output.stderr];
        if let Some(longer) = both.into_iter().max_by_key(|one| written(&one.tail)) {
            // A character is written in 6 bytes at the most.
            longer.tail.drain(..prefix(&longer.tail, over + 6));
            longer.truncated = true;
        }
    }
    if written(status) <= MAX_STATUS {
        return;
    }
    let [message, fault] = MAX_WORDS;
    for condition in &mut status.conditions {
        if let Some(shorter) = shortened(&condition.message, message) {
            condition.message = shorter.into();
        }
    }
    if let Some(proof) = &mut status.proof
        && let Some(shorter) = shortened(&proof.fault, fault)
    {
        proof.fault = shorter;
    }
}

/// The beginning of a text that is too long.
fn shortened(text: &str, most: usize) -> Option<String> {
    const MARK: char = '\u{2026}';
    (written(text) > most).then(|| {
        let end = prefix(text, most.saturating_sub(written(&MARK)));
        format!("{}{MARK}", &text[..end])
    })
}

/// Where the longest beginning of a text ends that is written in so many bytes.
fn prefix(text: &str, most: usize) -> usize {
    let mut bytes = 0;
    let mut beyond = text.char_indices().skip_while(|(_, char)| {
        // The quotes are no part of it.
        bytes += written(char) - 2;
        bytes <= most
    });
    beyond.next().map_or(text.len(), |(start, _)| start)
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
    let spelled = spelled.map(|(condition, word)| -> Stated {
        let finding = finding(condition, word);
        stated(
            finding,
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
