//! An Integration as the dispatcher sees it: what was asked for, parsed once, and who waits,
//! runs and stands ready.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::Duration,
};

use crds::{
    Integration, IntegrationSpec, IntegrationStatus,
    integration::{ConcurrencyPolicy, EnvVar, Logs, MAX_EXEC},
    scalar::Amount,
    tenant::Runtime,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    demand::Arrivals, keep::Keep, reach::Reach, schedule::Schedule, setback::Setback,
    trigger::Timer,
};
use crate::{
    egress::{self, Opening},
    world::facts::{self, Uid},
};

/// What a timeout and a start deadline may be; the rules of the CRDs say the same of all of these.
const LIMIT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// What the time from the request to end to the kill may be.
pub const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(10);
/// How late a schedule's time may be taken up, and how long what has ended may be kept.
pub const MONTH: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(30 * 24);

/// How long before a run that is scheduled its sandbox is made, where one may be kept ready.
const LEAD: Duration = Duration::from_secs(20);

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// A key of these two.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a namespaced object.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self::new(&object.namespace().unwrap_or_default(), &object.name_any())
    }

    /// All keys of a namespace, whose name has no zero byte in it.
    pub fn all_of(namespace: &str) -> Range<Self> {
        Self::new(namespace, "")..Self::new(&format!("{namespace}\0"), "")
    }
}

/// The spec of an Integration, every field read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// As written.
    pub image: String,
    /// The program.
    pub command: String,
    /// What follows its name.
    pub arguments: Vec<String>,
    /// As written.
    pub environment: Vec<EnvVar>,
    /// What its runs may reach outside, if the tenant allows it.
    pub egress: Vec<Opening>,
    /// Stricter than the tenant's, or the tenant's.
    pub runtime: Option<Runtime>,
    /// Cores.
    pub cpu: Amount,
    /// Bytes.
    pub memory: Amount,
    /// Bytes of each writable directory.
    pub scratch: Amount,
    /// Of one attempt.
    pub timeout: Duration,
    /// From the request to end to the kill.
    pub grace: Duration,
    /// From creation to the first instruction.
    pub start_deadline: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// Runs at once.
    pub limit: usize,
    /// What becomes of one more.
    pub policy: ConcurrencyPolicy,
    /// Sandboxes kept ready, whatever comes.
    pub warm: usize,
    /// Sandboxes kept ready at most, where as many came at once.
    pub warm_most: usize,
    /// What becomes of what the command says.
    pub logs: Logs,
    /// When it runs by itself.
    pub schedule: Option<Schedule>,
}

impl Terms {
    /// Reads a spec. Admission has refused most of what is wrong; rules can be missing from a
    /// cluster, so it is refused here again.
    ///
    /// # Errors
    /// Field and problem, for people.
    pub fn of(object: &Integration) -> Result<Self, String> {
        let spec = &object.spec;
        let mut words = spec.command.iter().cloned();
        let command = words
            .next()
            .ok_or("spec.command: names no program; write at least one word")?;
        startable(spec)?;
        Keep::of(object)?;
        let limit = count("spec.concurrency.limit", spec.concurrency.limit)?;
        if limit == 0 {
            return Err("spec.concurrency.limit: must be at least 1".to_owned());
        }
        let warm = count("spec.warm.min", spec.warm.min)?;
        let warm_most = spec.warm.max.map(|max| count("spec.warm.max", max));
        let warm_most = warm_most.transpose()?.unwrap_or(warm);
        if warm_most < warm {
            return Err("spec.warm.max: must not be less than spec.warm.min".to_owned());
        }
        Ok(Self {
            image: spec.image.clone(),
            command,
            arguments: words.chain(spec.args.iter().cloned()).collect(),
            environment: spec.env.clone(),
            egress: egress::list(&spec.egress)?,
            runtime: spec.runtime,
            cpu: amount("spec.resources.cpu", &spec.resources.cpu)?,
            memory: amount("spec.resources.memory", &spec.resources.memory)?,
            scratch: amount("spec.resources.scratch", &spec.resources.scratch)?,
            timeout: span("spec.timeout", &spec.timeout, LIMIT)?,
            grace: span("spec.gracePeriod", &spec.grace_period, GRACE)?,
            start_deadline: span("spec.startDeadline", &spec.start_deadline, LIMIT)?,
            retries: u32::try_from(count("spec.retries", spec.retries)?).unwrap_or(u32::MAX),
            limit,
            policy: spec.concurrency.policy,
            warm,
            warm_most,
            logs: spec.logs,
            schedule: spec.schedule.as_ref().map(schedule).transpose()?,
        })
    }

    /// What one attempt may take in all, from its start to its kill.
    pub fn allowed(&self) -> Duration {
        self.timeout + self.grace
    }
}

/// Whether a process can be started with what the spec says. The rules of the CRD count characters,
/// and a sandbox bytes.
fn startable(spec: &IntegrationSpec) -> Result<(), String> {
    let words = || spec.command.iter().chain(&spec.args);
    let pairs = || spec.env.iter().flat_map(|one| [&one.name, &one.value]);
    let nul = |text: &String| text.contains('\0');
    for (field, found) in [
        ("spec.command", spec.command.iter().any(nul)),
        ("spec.args", spec.args.iter().any(nul)),
        ("spec.env", pairs().any(nul)),
    ] {
        if found {
            return Err(format!(
                "{field}: has a NUL character, which no program can be given; take it out"
            ));
        }
    }
    let bytes: usize = words().chain(pairs()).map(String::len).sum();
    if bytes > MAX_EXEC {
        return Err(format!(
            "spec.command, spec.args and spec.env have {bytes} bytes together, and {MAX_EXEC} is \
             the most; make them shorter, or have the command read the rest from its image or its \
             input"
        ));
    }
    Ok(())
}

fn schedule(spec: &crds::integration::Schedule) -> Result<Schedule, String> {
    let field = "spec.schedule.startingDeadline";
    Schedule::of(spec, span(field, &spec.starting_deadline, MONTH)?)
}

/// Reads a number of things.
///
/// # Errors
/// Field and problem, for people.
pub fn count(field: &str, value: i32) -> Result<usize, String> {
    usize::try_from(value).map_err(|_| format!("{field}: must not be negative"))
}

/// Reads a quantity.
///
/// # Errors
/// Field and problem, for people.
pub fn amount(field: &str, text: &str) -> Result<Amount, String> {
    text.parse().map_err(|error| format!("{field}: {error}"))
}

/// Reads a duration.
///
/// # Errors
/// Field and problem, for people.
pub fn span(field: &str, text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let read: Result<SignedDuration, _> = text.parse();
    let span = read.map_err(|error| format!("{field}: \"{text}\" is no duration: {error}"))?;
    let span = Duration::try_from(span).map_err(|_| format!("{field}: must not be negative"))?;
    if !bounds.contains(&span) {
        let [least, most] = [bounds.start(), bounds.end()].map(|bound| {
            let bound = SignedDuration::try_from(*bound).unwrap_or(SignedDuration::MAX);
            format!("{bound:#}")
        });
        return Err(format!("{field}: must be from {least} to {most}"));
    }
    Ok(span)
}

/// Why no sandbox comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What an Execution ends with that has waited too long for this.
    pub reason: crds::execution::ExecutionReason,
    /// In the words of who refused.
    pub message: String,
}

/// One Integration, or what Executions take for one, and everything that hangs on it.
#[derive(Debug, Default)]
pub struct Line {
    /// The object, unless there is none.
    pub integration: Option<Known>,
    /// Who waits, by since when, and by UID. A retry waits from a moment to come; who only has to be closed
    /// does not wait.
    pub waiting: BTreeSet<(Timestamp, Uid)>,
    /// Those of them that nobody has looked at yet.
    pub fresh: BTreeSet<Uid>,
    /// Those that are to be told something, as of the last look at all of them.
    pub untold: VecDeque<Uid>,
    /// Executions that have a sandbox and have not ended.
    pub live: BTreeSet<Uid>,
    /// Executions of which it is known what became, and not yet written.
    pub closing: BTreeSet<Uid>,
    /// Every sandbox that is there.
    pub pods: BTreeSet<Uid>,
    /// Policies that open something to them.
    pub policies: BTreeSet<Key>,
    /// What they may reach, as last weighed.
    pub reach: Reach,
    /// Sandboxes that are being posted.
    pub posting: usize,
    /// Sandboxes that did not come about.
    pub setback: Setback,
    /// Which Execution stands for an idempotency key.
    pub keyed: BTreeMap<Arc<str>, Uid>,
    /// Fingerprint of what its sandboxes are made from, once it was needed.
    pub mold: Option<Arc<str>>,
    /// When Executions came, whatever became of them.
    pub arrivals: Arrivals,
    /// Since when there have been fewer good sandboxes than are kept ready.
    pub deficit: Option<Timestamp>,
    /// Since when nothing of it may start.
    pub shut: Option<Timestamp>,
    /// A status of the Integration is being written.
    pub writing: bool,
    /// None is written before.
    pub not_said_before: Option<Timestamp>,
    /// When one was last written.
    pub said: Option<Timestamp>,
    /// How far its schedule has come.
    pub timer: Timer,
}

/// What is kept of an Integration that exists.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its identity.
    pub uid: Uid,
    /// Version of what is known.
    pub version: u64,
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// The spec, or what is wrong with it.
    pub terms: Result<Arc<Terms>, String>,
    /// How much of what is finished is kept, and how long; nothing if the spec cannot be read there.
    pub keep: Option<Keep>,
    /// Nothing new starts.
    pub suspend: bool,
    /// As it was last published.
    pub status: IntegrationStatus,
    /// It is on its way out.
    pub deleting: bool,
}

impl Known {
    /// Boils an Integration down.
    pub fn of(object: &Integration) -> Self {
        Self {
            uid: Uid::of(&object.metadata),
            version: facts::version(&object.metadata),
            generation: object.metadata.generation,
            terms: Terms::of(object).map(Arc::new),
            keep: Keep::of(object).ok(),
            suspend: object.spec.suspend,
            status: object.status.clone().unwrap_or_default(),
            deleting: object.metadata.deletion_timestamp.is_some(),
        }
    }
}

impl Line {
    /// Whether nothing hangs on it any more.
    pub fn is_empty(&self) -> bool {
        self.integration.is_none()
            && self.waiting.is_empty()
            && self.live.is_empty()
            && self.closing.is_empty()
            && self.pods.is_empty()
            && self.policies.is_empty()
            && self.posting == 0
            && self.keyed.is_empty()
    }

    /// Sandboxes that are to be ready now for who may come.
    pub fn ready(&self, now: Timestamp) -> usize {
        let Some(terms) = self.terms() else { return 0 };
        let soon = usize::from(self.timer.comes_within(LEAD, now));
        let asked = self.arrivals.most(now).max(soon);
        asked.clamp(terms.warm, terms.warm_most)
    }

    /// The spec, if there is a good one.
    pub fn terms(&self) -> Option<&Arc<Terms>> {
        self.integration.as_ref()?.terms.as_ref().ok()
    }
}
