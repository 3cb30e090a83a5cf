//! What was planned and what became of it → the facts that a status is computed from. Pure.

use std::time::Duration;

use crds::{
    condition::{Finding, Verdict},
    tenant::{IsolationStatus, Residency, State, TenantCondition, TenantReason},
};
use jiff::Timestamp;

use super::{
    ValidTenant,
    apply::{Applied, Repair, Sent},
    isolation, validate,
};
use crate::{
    probe::plan::Step,
    world::facts::{ChildKind, Cluster, Reach},
};

/// The facts.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The tenant's namespace.
    pub namespace: String,
    /// Whether anything new may start.
    pub state: State,
    /// What of the spec the cluster cannot hold with, field and remedy.
    pub fault: Option<String>,
    /// What is known of the isolation by now.
    pub isolation: IsolationStatus,
    /// What is said of each condition but `Ready`.
    pub findings: Vec<Finding<TenantCondition, TenantReason>>,
    /// What had to be put back, or was made.
    pub repairs: Vec<Repair>,
    /// When to look again.
    pub wake: Timestamp,
}

/// Boils down. Everything is judged by what the server holds after the pass: a policy that
/// was put back is another policy (its UID or generation moved on), so what was proven of
/// the one before it counts no more.
pub fn observe(valid: ValidTenant, applied: Applied) -> Observed {
    let Applied {
        changes,
        around,
        probe,
    } = applied;
    let (sent, crowded, refused) = match probe {
        Sent::NotDue => (false, false, None),
        Sent::Yes => (true, false, None),
        Sent::Crowded => (false, true, None),
        Sent::Refused(words) => (false, false, Some(words)),
    };
    // What an Integration's policy says while somebody has made another one of it, holds for
    // others too, and leaves no trace in the boundary once it is put back.
    let found = isolation::fingerprint(&valid);
    let isolation = valid.isolation.filter(|known| known.boundary == found);
    let valid = ValidTenant {
        isolation,
        around,
        crowded: valid.crowded || crowded,
        refused,
        ..valid
    };
    let boundary = isolation::fingerprint(&valid);
    let isolation = isolation::collected(&valid, &boundary);
    let findings = vec![
        isolation::finding(&valid, &isolation),
        access(&valid),
        residency(&valid),
    ];
    let wake = wake(&valid, &isolation, sent);
    Observed {
        namespace: valid.namespace,
        state: valid.state,
        fault: valid.fault,
        isolation,
        findings,
        repairs: changes,
        wake,
    }
}

/// The earliest moment at which something changes by itself: a probe is due, what was proven
/// of a node gets too old, or a probe has not answered in time.
fn wake(valid: &ValidTenant, known: &IsolationStatus, probe_sent: bool) -> Timestamp {
    let tenant = valid.owner.uid;
    let mut pods = valid
        .around
        .pods
        .values()
        .filter_map(|held| held.fact.probe_of(tenant));
    let under_way = probe_sent || pods.next().is_some();
    let next = match isolation::step(valid, known, under_way) {
        Step::Wait { until } => until,
        Step::Launch { .. } | Step::Nowhere => valid.now + valid.probing.retry(),
    };
    let limit = valid.probing.evidence_limit();
    let ends = known.evidence.iter().map(|one| one.time + limit);
    let stale = ends.filter(|end| *end > valid.now).min();
    stale.map_or(next, |stale| stale.min(next))
}

/// When to look again: at the latest after ten minutes, because a watch can miss what it
/// was not told.
pub fn requeue(observed: &Observed, now: Timestamp) -> Duration {
    let pause = Duration::try_from(observed.wake.duration_since(now)).unwrap_or_default();
    pause.clamp(Duration::from_secs(1), Duration::from_mins(10))
}

fn access(valid: &ValidTenant) -> Finding<TenantCondition, TenantReason> {
    let foreign: Vec<&str> = valid
        .around
        .children
        .iter()
        .filter(|((kind, _), _)| *kind == ChildKind::RoleBinding)
        .filter(|(_, held)| held.fact.owner != Some(valid.owner.uid))
        .map(|((_, name), _)| &**name)
        .collect();
    let (verdict, reason, message) = if foreign.is_empty() {
        let message = "the members have the rights of their roles, and nobody else has any";
        (
            Verdict::True,
            TenantReason::BindingsInForce,
            message.to_owned(),
        )
    } else {
        let message = format!(
            "role bindings that are not Cloister's give rights in the namespace: {}; remove them, \
             or make their subjects members",
            isolation::listed(&foreign)
        );
        (Verdict::False, TenantReason::ForeignBinding, message)
    };
    Finding {
        condition: TenantCondition::AccessEnforced,
        verdict,
        reason,
        message,
    }
}

fn residency(valid: &ValidTenant) -> Finding<TenantCondition, TenantReason> {
    let (verdict, reason, message) = match &valid.residency {
        None => {
            let message = "spec.residency is not given: pods may run anywhere";
            (
                Verdict::True,
                TenantReason::Unrestricted,
                message.to_owned(),
            )
        }
        Some(residency) => {
            let pods = pods_outside(valid, residency);
            let reason = if pods.is_empty() {
                TenantReason::VolumeOutside
            } else {
                TenantReason::PodOutside
            };
            let outside = [pods, volumes_outside(valid, residency)].concat();
            if !outside.is_empty() {
                let message = format!("outside the residency: {}", outside.join(", "));
                (Verdict::False, reason, message)
            } else if !valid.nowhere.is_empty() {
                let message = format!(
                    "no node is in {}; correct spec.residency or label nodes",
                    valid.nowhere.join(", ")
                );
                (Verdict::False, TenantReason::NoSuchPlace, message)
            } else {
                let message = "every pod and every volume is where the residency allows";
                (Verdict::True, TenantReason::Compliant, message.to_owned())
            }
        }
    };
    Finding {
        condition: TenantCondition::ResidencyCompliant,
        verdict,
        reason,
        message,
    }
}

/// Pods on nodes that the residency does not allow, or that nobody knows.
fn pods_outside(valid: &ValidTenant, residency: &Residency) -> Vec<String> {
    let pods = valid
        .around
        .pods
        .iter()
        .filter(|(_, pod)| !pod.fact.finished);
    pods.filter_map(|(name, pod)| {
        let node = pod.fact.node.as_deref()?;
        let place = valid.cluster.nodes.get(node);
        let inside = place.is_some_and(|place| validate::allows(Some(residency), place));
        (!inside).then(|| format!("pod {name} on {node}"))
    })
    .collect()
}

/// Volumes of the tenant's claims that lie, as far as they say, where the residency does not allow.
fn volumes_outside(valid: &ValidTenant, residency: &Residency) -> Vec<String> {
    let volumes = valid.around.volumes.iter();
    let outside = volumes.filter(|(_, volume)| {
        let mut reach = volume.fact.reach.iter();
        reach.any(|reach| !holds(residency, reach, &valid.cluster))
    });
    outside
        .map(|(name, volume)| format!("volume {name} of claim {}", volume.fact.claim))
        .collect()
}

/// All that a volume can be reached from is inside: every node of it that there is, and what it names
/// itself. Where it names a node that is gone, nobody can tell, and it is not.
fn holds(residency: &Residency, reach: &Reach, cluster: &Cluster) -> bool {
    let mut nodes = cluster
        .nodes
        .values()
        .filter(|node| reach.holds(node))
        .peekable();
    let within = |named: Option<&[String]>, allowed: &[String]| {
        let mut named = named.unwrap_or_default().iter();
        allowed.is_empty() || named.all(|name| allowed.contains(name))
    };
    let known = nodes.peek().is_some() || reach.hosts.is_none();
    known
        && nodes.all(|node| validate::allows(Some(residency), node))
        && within(reach.zones.as_deref(), &residency.zones)
        && within(reach.regions.as_deref(), &residency.regions)
}
