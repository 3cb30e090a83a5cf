//! Drill + Inputs → [`ValidDrill`], or the one reason why not. Pure.
//!
//! A spec that does not go together starts nothing; what runs is ended by it as it would have been:
//! so it is no error here.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use crds::{
    Drill, DrillStatus, Tenant, Worker,
    drill::{DrillType, WhenNotRedundant},
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    course::{self, Course},
    gather::Inputs,
};
use crate::{
    dispatch::{MONTH, Schedule, span},
    error::Error,
    world::{
        Surroundings,
        facts::{Cluster, Uid},
    },
};

/// How long a zone may be held, and its return be waited for; the rules of the CRD say the same.
const HELD: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(1);

/// A Drill whose every field is read, with the moment it is looked at.
#[derive(Clone, Debug)]
pub struct ValidDrill {
    /// Its identity.
    pub uid: Uid,
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// The tenant's namespace.
    pub namespace: String,
    /// The spec, read.
    pub terms: Terms,
    /// What of the spec cannot be read: nothing starts by it.
    pub fault: Option<String>,
    /// As it was last published.
    pub before: DrillStatus,
    /// The Workers of the tenant.
    pub workers: Vec<Arc<Worker>>,
    /// What is in and about the namespace.
    pub around: Arc<Surroundings>,
    /// What every tenant shares.
    pub cluster: Arc<Cluster>,
    /// Now, in whole milliseconds.
    pub now: Timestamp,
    /// What is done with it now.
    pub course: Course,
}

/// The spec of a Drill, every field read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is rehearsed.
    pub kind: DrillType,
    /// The zone, if it is given.
    pub zone: Option<String>,
    /// Who asks for a run.
    pub request: Option<String>,
    /// When one starts by itself.
    pub schedule: Option<Schedule>,
    /// How long the zone stays taken.
    pub hold: Duration,
    /// How long its return is waited for.
    pub timeout: Duration,
    /// What becomes of a run on a tenant that is not redundant.
    pub when_not_redundant: WhenNotRedundant,
    /// Nothing starts, and nothing goes on.
    pub suspend: bool,
}

/// Judges.
///
/// # Errors
/// [`Error::NoTenant`].
pub fn validate(object: &Drill, inputs: Inputs) -> Result<ValidDrill, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let Inputs {
        tenant,
        workers,
        around,
        cluster,
        now,
    } = inputs;
    let Some(tenant) = tenant else {
        return Err(Error::NoTenant { namespace });
    };
    let (terms, fault) = terms(object);
    let mut valid = ValidDrill {
        uid: Uid::of(&object.metadata),
        tenant,
        namespace,
        terms,
        fault,
        before: object.status.clone().unwrap_or_default(),
        workers,
        around,
        cluster,
        now: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
        course: Course::Rest,
    };
    valid.course = course::course(&valid);
    Ok(valid)
}

/// Reads the spec. What cannot be read is said, and counts as not there, or as the default.
fn terms(object: &Drill) -> (Terms, Option<String>) {
    let spec = &object.spec;
    let mut faults = Vec::new();
    let mut time = |field: &str, text: &str, default: u64| {
        span(field, text, HELD).unwrap_or_else(|fault| {
            faults.push(fault);
            Duration::from_mins(default)
        })
    };
    let hold = time("spec.hold", &spec.hold, 2);
    let timeout = time("spec.timeout", &spec.timeout, 10);
    let schedule = spec.schedule.as_ref().and_then(|schedule| {
        let late = span(
            "spec.schedule.startingDeadline",
            &schedule.starting_deadline,
            MONTH,
        );
        let read = late.and_then(|late| Schedule::of(schedule, late));
        read.map_err(|fault| faults.push(fault)).ok()
    });
    let terms = Terms {
        kind: spec.kind,
        zone: spec.zone.clone(),
        request: spec.request.clone(),
        schedule,
        hold,
        timeout,
        when_not_redundant: spec.when_not_redundant,
        suspend: spec.suspend,
    };
    (terms, faults.into_iter().next())
}
