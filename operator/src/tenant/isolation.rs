//! What can be said of a tenant's isolation, and what to look at next. Pure.
//!
//! Two sources, neither of which is trusted alone: the self-check, which costs no packet
//! and sees every policy and every pod at once; and the probes, which see what really
//! happens, from one node at a time. A proof is about one boundary: a policy that was
//! changed and put back is another boundary (its generation or its UID moved on), and so
//! needs a new proof.

use std::collections::BTreeSet;

use crds::{
    condition::{Finding, Verdict},
    digest::{self, Fingerprint},
    tenant::{Evidence, IsolationStatus, Outcome, Runtime, TenantCondition, TenantReason},
};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use super::{
    ValidTenant,
    desired::{Boundary, egress},
    validate,
};
use crate::{
    names,
    probe::{
        self, judge,
        plan::{Situation, Step},
        pod::Probe,
        targets,
    },
    world::{
        Surroundings,
        facts::{Child, ChildKind, LivePolicy, Uid},
    },
};

/// Most names listed in one message.
const MAX_NAMED: usize = 5;

/// Fingerprint of the boundary that stands now: every policy, by identity and generation,
/// and the runtime. Not those that concern the pods of one Integration or Worker alone: no probe is
/// reached by them, so none says anything of them.
pub fn fingerprint(valid: &ValidTenant) -> String {
    let policies: Vec<_> = valid
        .around
        .policies
        .iter()
        .filter(|(_, held)| !held.fact.says.of_one_holder)
        .map(|(name, held)| json!([&**name, held.fact.uid.to_string(), held.fact.generation]))
        .collect();
    let whole = digest::of(&json!([
        policies,
        valid.runtime.as_str(),
        valid.probing.user_namespaces
    ]));
    whole[..16].to_owned()
}

/// What was known, and what the probe pods have said since.
pub fn collected(valid: &ValidTenant, boundary: &str) -> IsolationStatus {
    let pods = valid.around.pods.values().map(|held| &held.fact);
    let previous = valid.isolation.as_ref();
    let mut known = judge::collect(previous, boundary, pods, measure(valid));
    // What was seen from a node that no pod of the tenant can be on says nothing about
    // those where one can. What was amiss there may still be when it takes pods again.
    let (matters, returns) = (matters(valid), returns(valid));
    known
        .evidence
        .retain(|one| matters(&one.node) || one.outcome != Outcome::Proven && returns(&one.node));
    known
}

/// Whether a node is there that pods of the tenant may be on, now or when it takes pods again.
fn returns(valid: &ValidTenant) -> impl Fn(&str) -> bool {
    let allows = |node| validate::allows(valid.residency.as_ref(), node);
    move |node| valid.cluster.nodes.get(node).is_some_and(allows)
}

/// Whether pods of the tenant can be on a node, or are.
fn matters(valid: &ValidTenant) -> impl Fn(&str) -> bool {
    let in_use = in_use(valid);
    move |node| valid.nodes.contains_key(node) || in_use.contains(node)
}

/// Nodes that pods of the tenant are on, probes apart.
fn in_use(valid: &ValidTenant) -> BTreeSet<&str> {
    let pods = valid.around.pods.values().map(|held| &held.fact);
    let tenant = valid.owner.uid;
    let running = pods.filter(|pod| pod.probe_of(tenant).is_none() && !pod.finished);
    running.filter_map(|pod| pod.node.as_deref()).collect()
}

/// What the answers of this tenant's probes are held against.
fn measure(valid: &ValidTenant) -> judge::Measure {
    judge::Measure {
        tenant: valid.owner.uid,
        confinement: valid.confinement(),
        decoys: valid.cluster.decoys_version,
        now: valid.now,
    }
}

/// The probe to send now, if any, and the ones to clear away: those that have spoken, once
/// what they said is noted or if it is of no account.
pub fn probes(valid: &ValidTenant, desired: &Boundary) -> (Option<Pod>, Vec<(String, Uid)>) {
    let boundary = fingerprint(valid);
    let measure = measure(valid);
    let pods = valid.around.pods.iter().filter_map(|(name, held)| {
        let probe = held.fact.probe_of(measure.tenant)?;
        Some((name, &held.fact, probe))
    });
    let noted = valid.isolation.iter().flat_map(|known| &known.evidence);
    let noted: Vec<&str> = noted.map(|one| one.probe.as_str()).collect();
    let matters = matters(valid);
    let retired = pods
        .clone()
        .filter(|(_, pod, _)| pod.deleting.is_none())
        .filter(|(_, pod, probe)| {
            let judged = judge::of_pod(pod, probe, measure);
            let void = probe.boundary != boundary || !matters(&probe.node);
            judged.is_some() && (void || noted.contains(&pod.uid.to_string().as_str()))
        })
        .map(|(name, pod, _)| (name.to_string(), pod.uid))
        .collect();
    let possible = validate::has_runtime(valid.runtime, &valid.cluster);
    if !possible || !in_force(&valid.around, desired) {
        return (None, retired);
    }
    (next_probe(valid, boundary, pods.count() > 0), retired)
}

fn next_probe(valid: &ValidTenant, boundary: String, under_way: bool) -> Option<Pod> {
    let known = collected(valid, &boundary);
    let peers = targets::peers(&valid.cluster, valid.owner.uid).ok()?;
    let Step::Launch { node } = step(valid, &known, under_way) else {
        return None;
    };
    let place = valid.nodes.get(&node)?.clone();
    let request = targets::request(&valid.cluster, &valid.probing, peers, &place);
    Some(probe::pod::pod(&Probe {
        owner: valid.owner.clone(),
        boundary,
        node,
        place,
        decoys: valid.cluster.decoys_version,
        slot: valid.now.as_second(),
        request,
        image: valid.probing.image.clone(),
        confinement: valid.confinement(),
    }))
}

/// What to do about probing, given what is known.
pub fn step(valid: &ValidTenant, known: &IsolationStatus, under_way: bool) -> Step {
    let situation = Situation {
        tenant: valid.owner.uid,
        evidence: &known.evidence,
        nodes: &valid.nodes,
        under_way,
        crowded: valid.crowded,
        now: valid.now,
    };
    probe::plan::step(situation, &valid.probing)
}

/// Whether every policy of ours stands as it must, so that a probe is worth sending: of those of
/// Integrations and Workers, that each concerns nothing else than its pods.
fn in_force(around: &Surroundings, desired: &Boundary) -> bool {
    let live = |kind: ChildKind, name: String| around.children.get(&(kind, name.into()));
    let holds = |kind: ChildKind, name: String, fingerprint: Fingerprint| {
        live(kind, name).is_some_and(|held| held.fact.fingerprint == fingerprint)
    };
    let namespace = &desired.namespace;
    let mut policies = around.policies.iter();
    let astray = policies.any(|(name, held)| {
        egress::is_of_holder(name, &held.fact) && !held.fact.says.of_one_holder
    });
    !astray
        && holds(
            ChildKind::Namespace,
            namespace.name_any(),
            namespace.fingerprint(),
        )
        && desired.policies.iter().all(|policy| {
            holds(
                ChildKind::NetworkPolicy,
                policy.name_any(),
                policy.fingerprint(),
            )
        })
}

/// What is to be said, given what is known by now.
pub fn finding(
    valid: &ValidTenant,
    known: &IsolationStatus,
) -> Finding<TenantCondition, TenantReason> {
    let doubts = doubts(valid, known);
    let (verdict, reason, message) = self_check(valid)
        .or_else(|| on_the_nodes_kernel(valid))
        .or_else(|| breach(&doubts))
        .unwrap_or_else(|| proof(valid, known, &doubts));
    Finding {
        condition: TenantCondition::IsolationVerified,
        verdict,
        reason,
        message,
    }
}

type Said = (Verdict, TenantReason, String);

/// What the policies and pods themselves say, without a packet. What those of Cloister's say, is
/// kept; that they are there, is looked at here.
fn self_check(valid: &ValidTenant) -> Option<Said> {
    let (around, owner) = (&valid.around, valid.owner.uid);
    let ours = |name: &str| {
        around
            .policies
            .get(name)
            .filter(|p| p.fact.owner == Some(owner))
    };
    let missing: Vec<&str> = names::POLICIES
        .into_iter()
        .filter(|name| ours(name).is_none())
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "missing network policies: {}; being restored",
            listed(&missing)
        );
        return Some((Verdict::False, TenantReason::PolicyNotInForce, message));
    }
    let openings = egress::openings(valid);
    let widening: Vec<&str> = around
        .policies
        .iter()
        .filter(|(_, policy)| policy.fact.says.opens)
        .map(|(name, _)| &**name)
        // An owner reference alone makes none of ours: anybody can write one.
        .filter(|name| !names::POLICIES.contains(name) || ours(name).is_none())
        // Nor does a name: it has to say what its Integration may reach, and nothing else.
        .filter(|name| !egress::stands(around, &openings, name))
        .collect();
    if !widening.is_empty() {
        let message = format!(
            "network policies that are not Cloister's let something through: {}; remove them",
            listed(&widening)
        );
        return Some((Verdict::False, TenantReason::WidenedByOthers, message));
    }
    let denying: Vec<&LivePolicy> = around
        .policies
        .values()
        .map(|held| &held.fact)
        .filter(|policy| policy.denies())
        .collect();
    let uncovered: Vec<&str> = around
        .pods
        .iter()
        .filter(|(_, pod)| !pod.fact.finished)
        .filter(|(_, pod)| {
            !denying
                .iter()
                .any(|policy| policy.selects(&pod.fact.labels))
        })
        .map(|(name, _)| &**name)
        .collect();
    (!uncovered.is_empty()).then(|| {
        let message = format!("pods that no deny-all selects: {}", listed(&uncovered));
        (Verdict::False, TenantReason::PodNotCovered, message)
    })
}

/// Pods from before the spec asked for gVisor: a probe says nothing of them.
fn on_the_nodes_kernel(valid: &ValidTenant) -> Option<Said> {
    let pods = valid.around.pods.iter();
    let bare: Vec<&str> = pods
        .filter(|(_, pod)| pod.fact.probe_of(valid.owner.uid).is_none())
        .filter(|(_, pod)| !pod.fact.finished && !pod.fact.gvisor)
        .map(|(name, _)| &**name)
        .collect();
    let asked = valid.runtime == Runtime::GVisor;
    (asked && !bare.is_empty()).then(|| {
        let message = format!(
            "pods on the node's kernel, where spec.isolation.runtime asks for GVisor: {}; delete \
             them",
            listed(&bare)
        );
        (Verdict::False, TenantReason::PodNotConfined, message)
    })
}

/// What did not prove, of nodes that matter now.
fn doubts<'a>(valid: &ValidTenant, known: &'a IsolationStatus) -> Vec<&'a Evidence> {
    let matters = matters(valid);
    let unproven = known.evidence.iter();
    let unproven = unproven.filter(|one| one.outcome != Outcome::Proven);
    unproven.filter(|one| matters(&one.node)).collect()
}

fn breach(doubts: &[&Evidence]) -> Option<Said> {
    let breached = |one: &&&Evidence| one.outcome == Outcome::Breached;
    let Evidence { node, fault, .. } = doubts.iter().find(breached)?;
    let message = format!("seen from {node}: {fault}");
    Some((Verdict::False, TenantReason::Breached, message))
}

/// What the probes of today's boundary amount to, none of them having seen an opening.
fn proof(valid: &ValidTenant, known: &IsolationStatus, doubts: &[&Evidence]) -> Said {
    let unknown = |reason: TenantReason, message: String| (Verdict::Unknown, reason, message);
    // Nothing is started on a node that is lost: that no probe can tell anything there says nothing
    // of the others. One that is only cordoned has sandboxes that can be given a run.
    let is_lost = |node: &str| valid.cluster.nodes.get(node).is_none_or(|node| !node.ready);
    let failed = doubts.iter().find(|one| !is_lost(&one.node));
    if let Some(Evidence { node, fault, .. }) = failed {
        let message = format!("nothing on {node} counts as proven: {fault}");
        return unknown(TenantReason::ProbeInconclusive, message);
    }
    let limit = valid.probing.evidence_limit();
    let fresh = |one: &&Evidence| one.time + limit > valid.now;
    let proofs = known.evidence.iter();
    let proofs = proofs.filter(|one| one.outcome == Outcome::Proven);
    match proofs.clone().next() {
        Some(newest) if fresh(&newest) => {
            let proven = proofs.filter(fresh);
            let message = extent(valid, &proven.map(|one| &*one.node).collect());
            (Verdict::True, TenantReason::Proven, message)
        }
        None => unknown(TenantReason::ProbePending, hindrance(valid)),
        Some(_) => unknown(
            TenantReason::EvidenceStale,
            format!("the last proof is too old; {}", hindrance(valid)),
        ),
    }
}

/// What keeps the next probe from being sent, and what to do about it.
fn hindrance(valid: &ValidTenant) -> String {
    match targets::peers(&valid.cluster, valid.owner.uid) {
        Err(missing) => missing.remedy().to_owned(),
        Ok(_) if valid.nodes.is_empty() => "no node that the residency allows is ready".to_owned(),
        Ok(_) => {
            let waiting = || "waiting for a probe".to_owned();
            valid.refused.clone().unwrap_or_else(waiting)
        }
    }
}

/// Where the boundary is proven, and where it may matter and is not. One node is enough for
/// True: the policies are the same on each, and a round of all of them can take longer than a
/// proof counts. What is claimed of which node must therefore be said.
fn extent(valid: &ValidTenant, proven: &BTreeSet<&str>) -> String {
    let usable = valid.nodes.keys().map(String::as_str);
    let mut others: BTreeSet<&str> = usable.chain(in_use(valid)).collect();
    others.retain(|node| !proven.contains(node));
    let listed = |nodes: &BTreeSet<&str>| listed(&nodes.iter().copied().collect::<Vec<_>>());
    let message = format!("proven from inside, on {}", listed(proven));
    if others.is_empty() {
        return message;
    }
    format!("{message}; not lately proven on {}", listed(&others))
}

/// Names, the first few of them.
pub fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(MAX_NAMED)].join(", ");
    if names.len() <= MAX_NAMED {
        return shown;
    }
    format!("{shown} and others")
}
