//! An Execution as the dispatcher sees it.

use std::{sync::Arc, time::Duration};

use crds::{
    Execution, ExecutionStatus,
    condition::{self, Condition},
    execution::{Cancel, ExecutionCondition, ExecutionReason},
};
use jiff::Timestamp;

use super::{
    line::{Key, Terms},
    outcome::Outcome,
    output::Tail,
};
use crate::world::facts::{self, Uid};

/// What is kept of an Execution that has not ended.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
pub struct Run {
    /// Namespace and name.
    pub key: Key,
    /// Its identity.
    pub uid: Uid,
    /// Version of what is known; a status is written to this one or not at all.
    pub version: u64,
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// The Integration that it names.
    pub line: Key,
    /// From when on it waits: its creation, or the end of the pause after an attempt that failed.
    pub since: Timestamp,
    /// JSON text for the command.
    pub input: Option<Arc<str>>,
    /// Of all with the same, one runs.
    pub idempotency_key: Option<Arc<str>>,
    /// Somebody wants it to end.
    pub cancel: bool,
    /// As it was last published.
    pub status: ExecutionStatus,
    /// When this process saw it first.
    pub seen: Timestamp,
    /// Where it stands.
    pub stage: Stage,
    /// A status of it is being written.
    pub writing: bool,
    /// Writes are refused until then; something else was faster, or the server is in trouble.
    pub not_before: Option<Timestamp>,
    /// When the sandbox said that the command runs.
    pub started: Option<Timestamp>,
    /// What the command of its attempt has said.
    pub output: Tail,
    /// What came of it, once that is known and until it is written.
    pub outcome: Option<Outcome>,
    /// What its Integration said when it was given its sandbox, which is made for that. Not known by a
    /// leader that came after.
    pub terms: Option<Arc<Terms>>,
    /// What its attempt was given, from its start to its kill, as far as that is known.
    pub allowed: Option<Duration>,
    /// Since when its sandbox has had no session.
    pub silent_since: Option<Timestamp>,
    /// The sandbox has been told to end it.
    pub told_to_end: bool,
    /// It has to make room for another one.
    pub replaced: bool,
    /// The last write to bind it may have landed or not.
    pub doubtful: bool,
    /// For what its status last said that it waits, and when.
    pub said: Option<(ExecutionReason, Timestamp)>,
}

/// Where an Execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has no sandbox.
    Waiting,
    /// A sandbox is being written into its status; nothing has been sent to that.
    Binding(Uid),
    /// Its status names this pod, which may run it.
    Bound(Uid),
}

impl Run {
    /// Whether its status may be written now.
    pub fn is_writable(&self, now: Timestamp) -> bool {
        !self.writing && self.not_before.is_none_or(|at| at <= now)
    }
}

impl Ended {
    /// Its namespace and name.
    pub fn key(&self) -> Key {
        Key {
            namespace: self.line.namespace.clone(),
            name: (&*self.name).into(),
        }
    }
}

impl Stage {
    /// Whether it is this pod's, or is about to be.
    pub fn names(self, pod: Uid) -> bool {
        self.pod() == Some(pod)
    }

    /// The pod whose it is, or is about to be.
    pub const fn pod(self) -> Option<Uid> {
        match self {
            Self::Waiting => None,
            Self::Binding(pod) | Self::Bound(pod) => Some(pod),
        }
    }
}

/// What is kept of an Execution that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: Box<str>,
    /// Its Integration, in the same namespace: one text for the thousands that name it.
    pub line: Arc<Key>,
    /// When it ended.
    pub at: Timestamp,
    /// It went well.
    pub succeeded: bool,
    /// It stands for this key.
    pub idempotency_key: Option<Arc<str>>,
    /// It is being removed.
    pub removing: bool,
}

/// An Execution, as far as its status has come.
#[derive(Debug)]
pub enum Progress {
    /// Not at its end.
    Open(Box<Run>),
    /// At its end, for good.
    Over(Ended),
}

/// The condition `Succeeded`, as published.
pub fn succeeded(status: &ExecutionStatus) -> Option<&Condition> {
    condition::find(&status.conditions, ExecutionCondition::Succeeded.as_str())
}

/// Its reason.
pub fn reason(status: &ExecutionStatus) -> Option<&str> {
    succeeded(status).map(|found| found.reason.as_str())
}

/// Whether an attempt has failed, and the next one has not begun.
pub fn is_retrying(status: &ExecutionStatus) -> bool {
    reason(status) == Some(ExecutionReason::Retrying.as_str())
}

/// Whether an Execution with this status has ended.
pub fn is_over(status: &ExecutionStatus) -> bool {
    succeeded(status).is_some_and(|found| found.status != "Unknown")
}

/// Whether a command of an Execution with this status may have begun: one of which none has, stands for
/// nothing. Of what may end an attempt, these come before its start alone.
fn may_have_begun(status: &ExecutionStatus) -> bool {
    let unbegun = [
        ExecutionReason::IsolationUnverified,
        ExecutionReason::Rejected,
        ExecutionReason::SandboxUnproven,
        ExecutionReason::StartDeadlineExceeded,
        ExecutionReason::TenantSuspended,
    ];
    let is_unbegun = unbegun
        .iter()
        .any(|one| reason(status) == Some(one.as_str()));
    status.attempt > 1 || status.attempt == 1 && !is_unbegun
}

/// Key of the Integration that an Execution names.
pub fn line_of(object: &Execution) -> Key {
    let namespace = object.metadata.namespace.as_deref();
    Key::new(namespace.unwrap_or_default(), &object.spec.integration)
}

/// When an Execution was created: now, of one whose server does not say.
pub fn created(object: &Execution, now: Timestamp) -> Timestamp {
    let created = object.metadata.creation_timestamp.as_ref();
    created.map_or(now, |time| time.0)
}

/// Boils an Execution down.
pub fn of(object: &Execution, now: Timestamp) -> Progress {
    let (key, line) = (Key::of(object), line_of(object));
    let status = object.status.clone().unwrap_or_default();
    let created = created(object, now);
    let idempotency_key = object.spec.idempotency_key.as_deref().map(Arc::from);
    if is_over(&status) {
        let stands = may_have_begun(&status);
        return Progress::Over(Ended {
            name: (&*key.name).into(),
            line: Arc::new(line),
            at: status.times.ended.unwrap_or(created),
            succeeded: reason(&status) == Some(ExecutionReason::Completed.as_str()),
            idempotency_key: idempotency_key.filter(|_| stands),
            removing: false,
        });
    }
    let retrying = is_retrying(&status);
    let started = status.times.started.filter(|_| !retrying);
    let stage = status
        .sandbox
        .as_ref()
        .and_then(|sandbox| sandbox.uid.as_deref())
        .map_or(Stage::Waiting, |uid| Stage::Bound(Uid::parse(uid)));
    let since = if retrying {
        let failed = status.times.ended.unwrap_or(created);
        failed + pause(status.attempt)
    } else {
        created
    };
    Progress::Open(Box::new(Run {
        uid: Uid::of(&object.metadata),
        version: facts::version(&object.metadata),
        generation: object.metadata.generation,
        line,
        since,
        input: object.spec.input.as_deref().map(Arc::from),
        idempotency_key,
        cancel: object.spec.cancel == Cancel::Requested
            || object.metadata.deletion_timestamp.is_some(),
        seen: status.times.seen.unwrap_or(now),
        status,
        stage,
        key,
        writing: false,
        not_before: None,
        started,
        output: Tail::default(),
        outcome: None,
        terms: None,
        allowed: None,
        silent_since: None,
        told_to_end: false,
        replaced: false,
        doubtful: false,
        said: None,
    }))
}

/// How long after an attempt of this number the next one waits: 1 s, and twice as long each
/// time, a minute at most.
pub fn pause(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or_default();
    Duration::from_secs(2_u64.saturating_pow(doublings).min(60))
}
