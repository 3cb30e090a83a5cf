//! What is done with a Drill now. Pure.
//!
//! In: the spec, how far its run has come by status, the moment. Out: a [`Course`]. Every course can
//! be taken twice: what is done is done by what is written before.

use std::{collections::BTreeMap, time::Duration};

use crds::{
    condition::Verdict,
    drill::{DrillPhase, DrillReason, DrillRun, WhenNotRedundant},
    integration::ScheduleStatus,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    measure::{baseline, least},
    validate::ValidDrill,
};
use crate::{dispatch::Step, tenant, worker::redundancy, world::facts::LiveNode};

/// How long the Tenant room may take to take a zone away.
const CLAIM: Duration = Duration::from_mins(1);
/// Most bytes of the names of the nodes of a zone: an object's annotations may have 256 KiB.
const MOST_NAMES: usize = 128 * 1024;

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// Nothing: no run is in progress, and none is due.
    Rest,
    /// A run is due, and is refused.
    Refuse(Trigger, Refusal),
    /// A run begins: it asks for this zone.
    Claim(Trigger, String),
    /// It waits for the namespace to say that the zone is lost.
    Await,
    /// The namespace says so: from here on it is measured.
    Take,
    /// What is in the zone is asked to leave.
    Hold,
    /// The zone is given back; before its time, if there is a reason.
    Return(Option<Refusal>),
    /// What was there is waited for.
    Restore,
    /// All is said.
    Finish,
}

/// What a run is due by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// `spec.request`.
    pub request: Option<String>,
    /// Time of the schedule.
    pub scheduled: Option<Timestamp>,
    /// How far the schedule has come with it.
    pub record: Option<ScheduleStatus>,
}

/// Why a run does not begin, or ends before its time, in which words, and about which zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the closed list.
    pub reason: DrillReason,
    /// For people.
    pub message: String,
    /// The zone, if one was found.
    pub zone: Option<String>,
}

impl Refusal {
    fn new(reason: DrillReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            zone: None,
        }
    }
}

/// Decides.
pub fn course(valid: &ValidDrill) -> Course {
    match &valid.before.run {
        Some(run) => going_on(valid, run),
        None => due(valid).map_or(Course::Rest, |trigger| match admitted(valid) {
            Ok(zone) => Course::Claim(trigger, zone),
            Err(refusal) => Course::Refuse(trigger, refusal),
        }),
    }
}

fn going_on(valid: &ValidDrill, run: &DrillRun) -> Course {
    match run.phase {
        DrillPhase::Claiming => claiming(valid, run),
        DrillPhase::Lost => {
            let ends = run.lost.unwrap_or(run.begun) + valid.terms.hold;
            match stopped(valid) {
                Some(cut) => Course::Return(Some(cut)),
                None if ends <= valid.now => Course::Return(None),
                None => Course::Hold,
            }
        }
        DrillPhase::Returning if is_over(valid, run) => Course::Finish,
        DrillPhase::Returning => Course::Restore,
    }
}

fn claiming(valid: &ValidDrill, run: &DrillRun) -> Course {
    if let Some(cut) = stopped(valid) {
        return Course::Return(Some(cut));
    }
    let loss = valid.around.loss();
    let of_zone = |(name, _): &(&String, &LiveNode)| loss.nodes.contains(name.as_str());
    if loss.drill == Some(valid.uid) && in_zone(valid, &run.zone).all(|node| of_zone(&node)) {
        // Each pass that cannot do it leaves all as it was.
        return if valid.now < run.begun + 2 * CLAIM {
            Course::Take
        } else {
            let message = "the zone was taken, and what ran there could not be noted within a \
                           minute; look at the operator's log, and ask again";
            Course::Return(Some(Refusal::new(DrillReason::NotStarted, message)))
        };
    }
    let has_it = |uid| {
        let mut drills = valid.around.drills.values();
        drills.any(|held| held.fact.uid == uid && held.fact.takes.is_some())
    };
    if loss
        .drill
        .is_some_and(|uid| uid != valid.uid && has_it(uid))
    {
        return Course::Return(Some(another()));
    }
    if run.begun + CLAIM <= valid.now {
        let message = "the zone could not be taken within a minute; look at Ready of the Tenant, \
                       whose pass does it, and ask again";
        let late = Refusal::new(DrillReason::NotStarted, message);
        return Course::Return(Some(late));
    }
    Course::Await
}

/// Whether nothing more is waited for.
fn is_over(valid: &ValidDrill, run: &DrillRun) -> bool {
    if valid.around.loss().drill == Some(valid.uid) {
        return false;
    }
    let whole = || {
        let measured = super::measure::measured(valid, &run.workers, None);
        measured.iter().all(|worker| worker.full.is_some())
    };
    let until = run.returned.unwrap_or(run.begun) + valid.terms.timeout;
    run.cut.is_some() || whole() || until <= valid.now
}

/// Why a run may not go on.
fn stopped(valid: &ValidDrill) -> Option<Refusal> {
    if valid.terms.suspend {
        let message = "by spec.suspend the run was cut short";
        return Some(Refusal::new(DrillReason::Canceled, message));
    }
    forbidden(valid)
}

fn forbidden(valid: &ValidDrill) -> Option<Refusal> {
    let (tenant, kind) = (&valid.tenant, valid.terms.kind);
    let name = tenant.name_any();
    if !tenant::is_active(tenant) {
        let message = format!("Tenant {name} is not Active; set its spec.state to Active");
        return Some(Refusal::new(DrillReason::TenantSuspended, message));
    }
    (!tenant::allows_drill(tenant, kind)).then(|| {
        let message = format!(
            "spec.drills.allowed of Tenant {name} does not hold {}; who manages the platform can \
             add it",
            kind.as_str()
        );
        Refusal::new(DrillReason::NotAllowed, message)
    })
}

fn another() -> Refusal {
    let message = "another run is in progress in the tenant; one at a time: ask again when it has \
                   ended, by another spec.request";
    Refusal::new(DrillReason::AnotherDrill, message)
}

/// What a run is due by, if one is.
fn due(valid: &ValidDrill) -> Option<Trigger> {
    if valid.terms.suspend || valid.fault.is_some() {
        return None;
    }
    let asked = valid.terms.request.as_ref();
    if let Some(request) = asked.filter(|asked| valid.before.request.as_ref() != Some(asked)) {
        return Some(Trigger {
            request: Some(request.clone()),
            ..Trigger::default()
        });
    }
    let schedule = valid.terms.schedule.as_ref()?;
    match schedule.step(valid.before.schedule.as_ref(), true, valid.now) {
        Step::Wait | Step::Keep(_) => None,
        Step::Create(due) => Some(Trigger {
            request: None,
            scheduled: Some(due),
            record: Some(schedule.record(due, Some(due))),
        }),
    }
}

/// A request that came while a run is in progress: it is refused, and the run goes on.
pub fn interjected(valid: &ValidDrill) -> Option<(Trigger, Refusal)> {
    let asked = valid.terms.request.clone()?;
    let new = valid.before.run.is_some() && valid.before.request.as_ref() != Some(&asked);
    let trigger = Trigger {
        request: Some(asked),
        ..Trigger::default()
    };
    new.then(|| (trigger, another()))
}

/// The zone that a run may take now.
fn admitted(valid: &ValidDrill) -> Result<String, Refusal> {
    if let Some(refusal) = forbidden(valid) {
        return Err(refusal);
    }
    let mut drills = valid.around.drills.values();
    let other = drills.any(|held| held.fact.uid != valid.uid && held.fact.running);
    let held = valid
        .around
        .loss()
        .drill
        .is_some_and(|uid| uid != valid.uid);
    if other || held {
        return Err(another());
    }
    let zone = zone(valid)?;
    let refused = match valid.terms.when_not_redundant {
        WhenNotRedundant::Run => None,
        WhenNotRedundant::Refuse => fragile(valid, &zone),
    };
    match refused {
        None => Ok(zone),
        Some(words) => Err(Refusal {
            reason: DrillReason::NotRedundant,
            message: format!("{words}. To run it all the same, set spec.whenNotRedundant to Run"),
            zone: Some(zone),
        }),
    }
}

fn in_zone<'a>(
    valid: &'a ValidDrill,
    zone: &'a str,
) -> impl Iterator<Item = (&'a String, &'a LiveNode)> {
    let nodes = valid.cluster.nodes.iter();
    nodes.filter(move |(_, node)| node.zone == zone)
}

fn is_inside(valid: &ValidDrill, node: &LiveNode) -> bool {
    tenant::allows(valid.tenant.spec.residency.as_ref(), node)
}

/// The zone that is asked for, or the one with most of the tenant's pods.
fn zone(valid: &ValidDrill) -> Result<String, Refusal> {
    let unknown = |message: String| Refusal::new(DrillReason::UnknownZone, message);
    let zone = match &valid.terms.zone {
        Some(zone) => zone.clone(),
        None => fullest(valid).ok_or_else(|| {
            unknown("no node that the tenant may use has a zone; label the nodes".to_owned())
        })?,
    };
    if !in_zone(valid, &zone).any(|(_, node)| is_inside(valid, node)) {
        let name = valid.tenant.name_any();
        return Err(unknown(format!(
            "spec.zone: no node that Tenant {name} may use is in {zone}; correct the name, or leave \
             it out"
        )));
    }
    let names: usize = in_zone(valid, &zone).map(|(name, _)| name.len() + 1).sum();
    if names > MOST_NAMES {
        return Err(Refusal {
            zone: Some(zone.clone()),
            ..unknown(format!("{zone} has more nodes than a namespace can name"))
        });
    }
    Ok(zone)
}

fn fullest(valid: &ValidDrill) -> Option<String> {
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for node in valid.cluster.nodes.values() {
        if is_inside(valid, node) && !node.zone.is_empty() {
            zones.entry(&node.zone).or_default();
        }
    }
    for (_, _, zone) in valid.pods() {
        zones.entry(zone).and_modify(|count| *count += 1);
    }
    // Of equals the first by name.
    let most = zones.values().max()?;
    let fullest = zones.iter().find(|(_, count)| *count == most);
    fullest.map(|(zone, _)| (*zone).to_owned())
}

/// Why the tenant could not stand the loss of a zone by what is ready now.
fn fragile(valid: &ValidDrill, zone: &str) -> Option<String> {
    let elsewhere = |node: &LiveNode| node.zone != zone && node.usable && is_inside(valid, node);
    if !valid.cluster.nodes.values().any(elsewhere) {
        return Some(format!(
            "no node outside {zone} takes pods of the tenant: all of it would be down"
        ));
    }
    let changed = valid.staff().find(|worker| least(worker).is_none());
    if let Some(worker) = changed {
        let name = worker.name_any();
        return Some(format!(
            "Worker {name} has just been changed, and is not judged yet"
        ));
    }
    let workers = baseline(valid).into_iter();
    let mut fragile = workers.filter(|worker| !worker.redundant);
    let worker = fragile.next()?;
    let mut held = valid.staff().filter(|one| !one.spec.volumes.is_empty());
    let bound = held.any(|one| one.name_any() == worker.name);
    let zones = valid.spread(&worker.name);
    let (verdict, _, words) = redundancy(&zones, worker.min_available, bound);
    (verdict != Verdict::True).then(|| format!("Worker {}: {words}", worker.name))
}
