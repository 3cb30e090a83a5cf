//! Worker + Inputs → [`ValidWorker`], or the one reason why not. Pure.
//!
//! Admission has refused most of what is wrong; here it is refused again, because rules can be
//! missing from a cluster, and what admission cannot know is judged: the tenant, its residency,
//! the nodes. What is wrong with a spec keeps anything new from starting and ends nothing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use contract::work::TooLong;
use crds::{
    Worker, WorkerSpec,
    condition::Verdict,
    integration::EnvVar,
    scalar::Amount,
    tenant::{Residency, Runtime},
    worker::{MAX_REPLICAS, WorkerReason},
};
use kube::ResourceExt;

use super::{
    desired::config,
    gather::Inputs,
    volumes::{self, Volume},
};
use crate::{
    dispatch::{GRACE, Landlord, Shut, amount, span},
    egress::{self, Opening},
    error::Error,
    meta::Owner,
    names,
    probe::{Confinement, ProbeSettings, targets::Missing},
    world::{
        Surroundings,
        facts::{Child, ChildKind, Cluster, LiveWorkload, Uid},
    },
};

/// A Worker whose every field is read, with the moment it is looked at.
#[derive(Clone, Debug)]
pub struct ValidWorker {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: Uid,
    /// The tenant.
    pub tenant: Owner,
    /// The tenant's namespace.
    pub namespace: String,
    /// The spec, read.
    pub terms: Terms,
    /// How its pods are confined.
    pub confinement: Confinement,
    /// Where they may run; nothing means anywhere.
    pub residency: Option<Residency>,
    /// What is done with it now.
    pub course: Course,
    /// What of the spec the cluster does not have now, field and remedy. It may come to have it.
    pub lacking: Option<String>,
    /// What the tenant's status says of its isolation.
    pub isolation: (Verdict, String),
    /// What is in and about the namespace.
    pub around: Arc<Surroundings>,
    /// What every tenant shares.
    pub cluster: Arc<Cluster>,
    /// What supervisors dial.
    pub probing: ProbeSettings,
    /// Image of the supervisor.
    pub supervisor: String,
    /// Whether that comes by an image volume.
    pub by_image_volume: bool,
}

/// What is done with a Worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// It is kept as its spec says.
    Keep,
    /// None are to run: its own spec says so.
    Stop,
    /// Nothing new starts, for this reason. What runs goes on as it is.
    Hold(WorkerReason, String),
}

/// The spec of a Worker, every field read.
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
    /// How many run at once.
    pub replicas: i32,
    /// At least so many zones.
    pub zones: i32,
    /// These and no other; empty means any.
    pub zone_names: Vec<String>,
    /// How many must be left.
    pub min_available: i32,
    /// What they may reach outside, if the tenant allows it.
    pub egress: Vec<Opening>,
    /// Cores, bytes, bytes of each writable directory.
    pub resources: [Amount; 3],
    /// From the request to end to the kill.
    pub grace: Duration,
    /// How many more at a rollout.
    pub surge: i32,
    /// What each replica keeps.
    pub volumes: Vec<Volume>,
}

impl ValidWorker {
    /// What is known of what makes its pods.
    pub fn workload(&self) -> Option<&LiveWorkload> {
        let kind = if self.terms.volumes.is_empty() {
            ChildKind::Deployment
        } else {
            ChildKind::StatefulSet
        };
        let key = (kind, names::worker(&self.name).into());
        self.around.workloads.get(&key).map(|held| &held.fact)
    }

    /// Whose pods its policy concerns.
    pub fn holder(&self) -> egress::Of<'_> {
        egress::Of {
            tenant: &self.tenant,
            namespace: &self.namespace,
            holder: egress::Holder::Worker,
            name: &self.name,
            uid: self.uid,
        }
    }
}

/// Judges.
///
/// # Errors
/// [`Error::NoTenant`], or [`Error::Invalid`] naming the field and the remedy.
pub fn validate(object: &Worker, inputs: Inputs) -> Result<ValidWorker, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let Inputs {
        landlord,
        isolation,
        around,
        cluster,
        probing,
        supervisor,
        image_volumes,
    } = inputs;
    let Some(landlord) = landlord else {
        return Err(Error::NoTenant { namespace });
    };
    let terms = terms(&object.name_any(), &object.spec)?;
    let confinement = Confinement {
        runtime: object.spec.runtime.unwrap_or(landlord.runtime),
        user_namespace: probing.user_namespaces && runtime(object, &landlord) == Runtime::Hardened,
    };
    let mut valid = ValidWorker {
        name: object.name_any(),
        uid: Uid::of(&object.metadata),
        tenant: landlord.owner.clone(),
        namespace,
        lacking: lacking(&terms, landlord.residency.as_ref(), &cluster),
        terms,
        confinement,
        residency: landlord.residency.clone(),
        course: Course::Keep,
        isolation,
        around,
        cluster,
        by_image_volume: crate::supervised::by_image_volume(
            image_volumes,
            confinement.user_namespace,
        ),
        probing,
        supervisor,
    };
    valid.course = course(object, &landlord, &valid);
    Ok(valid)
}

fn runtime(object: &Worker, landlord: &Landlord) -> Runtime {
    object.spec.runtime.unwrap_or(landlord.runtime)
}

/// What is done with it: what its own spec ends, ends; otherwise the first reason to wait.
fn course(object: &Worker, landlord: &Landlord, valid: &ValidWorker) -> Course {
    if object.spec.suspend {
        return Course::Stop;
    }
    let held = inactive(landlord)
        .or_else(|| unfit(object, landlord, valid))
        .or_else(|| unproven(valid))
        .or_else(|| unopened(valid));
    held.map_or(Course::Keep, |(reason, message)| {
        Course::Hold(reason, message)
    })
}

type Held = (WorkerReason, String);

fn inactive(landlord: &Landlord) -> Option<Held> {
    if landlord.shut != Some(Shut::Suspended) {
        return None;
    }
    let message = if landlord.going {
        "the tenant is being removed"
    } else {
        "the tenant is not Active: nothing new starts, and what runs goes on; to start again, set \
         spec.state of the Tenant to Active"
    };
    Some((WorkerReason::TenantSuspended, message.to_owned()))
}

/// What of the spec does not go together with itself or the tenant.
fn unfit(object: &Worker, landlord: &Landlord, valid: &ValidWorker) -> Option<Held> {
    let terms = &valid.terms;
    let invalid = |message: String| (WorkerReason::InvalidSpec, message);
    if let Some(message) = landlord.misfit(object.spec.runtime, &valid.cluster) {
        return Some(invalid(message.to_owned()));
    }
    let misplaced = outside(terms, landlord);
    if let Some(message) = misplaced.or_else(|| volumes::unkept(landlord, valid)) {
        return Some(invalid(message));
    }
    let name = &landlord.owner.tenant;
    if let Some(message) = egress::fault(&terms.egress, &landlord.ceiling, name, &valid.cluster) {
        return Some((WorkerReason::EgressBeyondCeiling, message));
    }
    let TooLong(bytes) = config::argument(valid, &config::api_servers(&valid.cluster)).err()?;
    let most = contract::work::MAX_ARGUMENT_BYTES;
    Some(invalid(format!(
        "spec.command, spec.args and spec.env together are too long: with the rest of what a \
         supervisor is told they have {bytes} bytes, and {most} is the most; make them shorter"
    )))
}

/// Zones that the tenant's residency does not have.
fn outside(terms: &Terms, landlord: &Landlord) -> Option<String> {
    let zones = &landlord.residency.as_ref()?.zones;
    if zones.is_empty() {
        return None;
    }
    let name = &landlord.owner.tenant;
    let stranger = terms.zone_names.iter().find(|zone| !zones.contains(zone));
    if let Some(zone) = stranger {
        return Some(format!(
            "spec.zones.names: {zone} is not in spec.residency.zones of Tenant {name}; leave it \
             out, or have the residency hold it"
        ));
    }
    let many = usize::try_from(terms.zones).unwrap_or_default();
    (many > zones.len()).then(|| {
        format!(
            "spec.zones.minimum: more zones than spec.residency.zones of Tenant {name} has; lower \
             it, or have the residency hold more"
        )
    })
}

/// Nothing starts on what is not proven.
fn unproven(valid: &ValidWorker) -> Option<Held> {
    let unverified = WorkerReason::IsolationUnverified;
    let (verdict, message) = &valid.isolation;
    if *verdict != Verdict::True {
        return Some((unverified, format!("the tenant's isolation: {message}")));
    }
    // Without one no supervisor could prove anything, and nothing would start.
    let none = valid.cluster.api_servers.is_empty();
    none.then(|| (unverified, Missing::ApiServer.remedy().to_owned()))
}

/// Nothing starts before its policy stands.
fn unopened(valid: &ValidWorker) -> Option<Held> {
    let wanted = egress::policy(valid.holder(), &valid.terms.egress);
    let key = (ChildKind::NetworkPolicy, wanted.name_any().into());
    let held = valid.around.children.get(&key);
    let stands = held.is_some_and(|held| held.fact.fingerprint == wanted.fingerprint());
    let message = "the network policy of the Worker is not in force, and is being set right";
    (!stands).then(|| (WorkerReason::PolicyNotInForce, message.to_owned()))
}

/// Zones that no node is in now: replicas wait for them.
fn lacking(terms: &Terms, residency: Option<&Residency>, cluster: &Cluster) -> Option<String> {
    let nodes = cluster.nodes.values();
    let inside = nodes.filter(|node| crate::tenant::allows(residency, node));
    let zones: BTreeSet<&str> = inside.map(|node| node.zone.as_str()).collect();
    let mut names = terms.zone_names.iter();
    if let Some(zone) = names.find(|zone| !zones.contains(zone.as_str())) {
        return Some(format!(
            "spec.zones.names: no node is in {zone}; correct the name, or add nodes there"
        ));
    }
    let many = usize::try_from(terms.zones).unwrap_or_default();
    (terms.zone_names.is_empty() && many > zones.len()).then(|| {
        "spec.zones.minimum: nodes are in fewer zones than that; lower it, or add nodes in other \
         zones"
            .to_owned()
    })
}

fn terms(name: &str, spec: &WorkerSpec) -> Result<Terms, Error> {
    let unreadable = |problem: String| Error::Unreadable { problem };
    let invalid = |problem: &str| unreadable(problem.to_owned());
    let mut words = spec.command.iter().cloned();
    let command = words
        .next()
        .ok_or_else(|| invalid("spec.command: names no program; write at least one word"))?;
    let replicas = spec.replicas;
    if !(1..=MAX_REPLICAS).contains(&replicas) {
        let problem = "spec.replicas: must be from 1 to 1000; to have none run, set suspend: true";
        return Err(invalid(problem));
    }
    let zone_names = spec.zones.names.clone().unwrap_or_default();
    let named = i32::try_from(zone_names.len()).unwrap_or(i32::MAX);
    // A default that asks for more zones than there are replicas asks for nothing wrong.
    let asked = spec.zones.minimum.unwrap_or_else(|| 2.min(replicas));
    let zones = if named > 0 { named } else { asked.max(1) };
    if spec.min_available.is_some_and(|left| left >= replicas) {
        let problem =
            "spec.minAvailable: must be less than spec.replicas, or no zone could ever be lost";
        return Err(invalid(problem));
    }
    let asked = &spec.resources;
    let resources = [
        amount("spec.resources.cpu", &asked.cpu).map_err(unreadable)?,
        amount("spec.resources.memory", &asked.memory).map_err(unreadable)?,
        amount("spec.resources.scratch", &asked.scratch).map_err(unreadable)?,
    ];
    let grace = span("spec.shutdownGrace", &spec.shutdown_grace, GRACE).map_err(unreadable)?;
    Ok(Terms {
        image: spec.image.clone(),
        command,
        arguments: words.chain(spec.args.iter().cloned()).collect(),
        environment: spec.env.clone(),
        replicas,
        zones,
        zone_names,
        min_available: spec
            .min_available
            .unwrap_or_else(|| left_over(replicas, zones)),
        egress: egress::list(&spec.egress).map_err(unreadable)?,
        resources,
        grace,
        surge: spec.surge.clamp(1, 100),
        volumes: volumes::list(name, &spec.volumes).map_err(unreadable)?,
    })
}

/// What is left of so many replicas, spread evenly over so many zones, when the fullest is lost;
/// at least 1, but never all of them: a budget that lets none go would hold up every drain.
fn left_over(replicas: i32, zones: i32) -> i32 {
    let fullest = replicas
        .unsigned_abs()
        .div_ceil(zones.max(1).unsigned_abs());
    let left = replicas.saturating_sub(i32::try_from(fullest).unwrap_or(i32::MAX));
    left.max(1).min(replicas - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_left_is_by_default_what_an_even_spread_leaves() {
        for (replicas, zones, left) in [
            (1, 2, 0),
            (2, 2, 1),
            (3, 2, 1),
            (3, 3, 2),
            (4, 2, 2),
            (7, 3, 4),
            (2, 1, 1),
            (1000, 3, 666),
        ] {
            assert_eq!(left_over(replicas, zones), left, "{replicas} in {zones}");
        }
    }
}
