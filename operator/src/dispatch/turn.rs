//! What to do next, for each line that something has happened to. Pure.
//!
//! In: the [`Book`], the shared cluster, now. Out: [`Act`]s; the book remembers what is under
//! way, so that nothing is done twice. First every line is set right ([`settle`](super::settle)),
//! then sandboxes are given out and made in rounds: in each round a tenant gets one, whatever
//! the others have waiting.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    act::{Act, Purpose},
    book::Book,
    line::{Key, Line},
    outcome::Outcome,
    pod::PROOF_INTERVAL_MS,
    queue::Held,
    reach::{NOT_IN_FORCE, Unmet},
    register::Twin,
    run::{Run, Stage},
    sandbox::{Sandbox, Seat},
    status,
    sweep::REMOVING,
    tenant::Shut,
};
use crate::{
    probe::ProbeSettings,
    world::{
        Lost,
        facts::{Cluster, Uid},
    },
};
use crds::execution::ExecutionReason;

/// Statuses that bind, under way at once, over all tenants.
const BINDING: usize = 32;
/// Lines that are looked at in one turn because a calm is over: not all at once.
const ROUSED: usize = 16;
/// A proof older than this many rounds counts for nothing.
const PROOF_ROUNDS: u32 = 3;
/// Age from which a proof counts for nothing.
pub const PROOF_LIMIT: Duration =
    Duration::from_millis(PROOF_INTERVAL_MS as u64 * PROOF_ROUNDS as u64);

/// What the decisions are made from, besides the book.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What all tenants share.
    pub cluster: &'a Cluster,
    /// Zones that Drills take from tenants.
    pub lost: &'a Lost,
    /// Whom probes dial.
    pub probing: &'a ProbeSettings,
    /// Now.
    pub now: Timestamp,
}

impl View<'_> {
    /// Whether nothing is known against the node of a sandbox: where its kubelet is not heard,
    /// nothing is started.
    pub fn is_up(&self, sandbox: &Sandbox) -> bool {
        let node = sandbox.pod.node.as_deref();
        let node = node.and_then(|node| self.cluster.nodes.get(node));
        node.is_none_or(|node| node.ready)
    }

    /// Whether a sandbox is in a zone that a Drill takes from its tenant.
    pub fn is_lost(&self, sandbox: &Sandbox) -> bool {
        if self.lost.is_empty() {
            return false;
        }
        let node = sandbox.pod.node.as_deref().unwrap_or_default();
        let node = self.cluster.nodes.get(node);
        let zones = self.lost.get(&*sandbox.pod.key.namespace);
        node.zip(zones)
            .is_some_and(|(node, zones)| zones.contains(node.zone.as_str()))
    }
}

impl Book {
    /// Everything that is to be done now.
    pub fn turns(&mut self, view: View<'_>) -> Vec<Act> {
        let mut acts = Vec::new();
        if !self.is_calm(view.now) {
            let rested = std::iter::from_fn(|| self.resting.pop_first());
            self.dirty.extend(rested.take(ROUSED));
        }
        loop {
            self.rouse();
            if self.dirty.is_empty() {
                return acts;
            }
            self.turn(view, &mut acts);
        }
    }

    /// Has as many of the lines that are held looked at as writes may begin. Each that is held again has
    /// found them begun.
    fn rouse(&mut self) {
        let binding = BINDING.saturating_sub(self.under_way.binding);
        let removing = REMOVING.saturating_sub(self.under_way.sweeping);
        let (making, ahead) = (self.makeable(false), self.makeable(true));
        let Held {
            bind,
            make,
            make_ahead,
            remove,
        } = &mut self.held;
        self.dirty.extend(bind.take(binding));
        self.dirty.extend(make.take(making));
        self.dirty.extend(make_ahead.take(ahead));
        self.dirty.extend(remove.take(removing));
    }

    fn turn(&mut self, view: View<'_>, acts: &mut Vec<Act>) {
        let keys = std::mem::take(&mut self.dirty);
        let ticked = std::mem::take(&mut self.ticked);
        if ticked {
            self.survey(view.cluster);
        }
        for key in &keys {
            self.settle(key, ticked, view, acts);
        }
        self.write_ends(view, acts);
        let mut tenants: BTreeMap<Arc<str>, Vec<Key>> = BTreeMap::new();
        for key in keys {
            tenants.entry(key.namespace.clone()).or_default().push(key);
        }
        self.rounds(tenants, view, acts);
        self.tell(view, acts);
    }

    /// One for each tenant, then one more for each, beginning behind who was served last.
    fn rounds(
        &mut self,
        tenants: BTreeMap<Arc<str>, Vec<Key>>,
        view: View<'_>,
        acts: &mut Vec<Act>,
    ) {
        let mut order: Vec<(Arc<str>, Vec<Key>)> = tenants.into_iter().collect();
        let after = self.last.clone().unwrap_or_else(|| "".into());
        let start = order.partition_point(|(tenant, _)| *tenant <= after);
        order.rotate_left(start);
        let mut round = 0;
        while !order.is_empty() {
            order.retain(|(tenant, lines)| {
                let turn = (0..lines.len()).map(|step| &lines[(round + step) % lines.len()]);
                for key in turn {
                    if let Some(act) = self.serve(key, view) {
                        acts.push(act);
                        self.last = Some(tenant.clone());
                        return true;
                    }
                }
                false
            });
            round += 1;
        }
    }

    /// One thing for one line: a sandbox given out, or else one made, or an Execution created
    /// that is due, or one removed that has ended.
    fn serve(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        self.claim(key, view)
            .or_else(|| self.make(key, view))
            .or_else(|| self.create_due(key, view))
            .or_else(|| self.forget(key, view))
    }

    /// Gives the sandbox that proved itself longest ago to who waits longest.
    fn claim(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        if self.shut(key).is_some() {
            return None;
        }
        let line = self.lines.get(key)?;
        let limit = line.terms()?.limit;
        if self.occupied(line, view.now) >= limit {
            return None;
        }
        let uid = self.first_waiting(line, view.now)?;
        let mold = self.fingerprint(key)?;
        let pod = self.first_ready(key, &mold, view)?;
        if let Twin::Stands(outcome) = self.twin(key, uid) {
            // It was bound a moment ago. The next one in line is looked at in the next turn.
            self.conclude(uid, outcome);
            return None;
        }
        if self.under_way.binding >= BINDING {
            self.held.bind.hold(key);
            return None;
        }
        self.bind(uid, pod, view)
    }

    pub(super) fn first_waiting(&self, line: &Line, now: Timestamp) -> Option<Uid> {
        let due = line.waiting.iter().take_while(|(since, _)| *since <= now);
        // Of one whose twin is being bound it is known in a moment whether it is needed.
        let undecided = |run: &Run| matches!(self.twin(&run.line, run.uid), Twin::Undecided);
        let free = |run: &Run| run.is_writable(now) && !undecided(run);
        let mut due = due.map(|(_, uid)| *uid);
        due.find(|uid| self.runs.get(uid).is_some_and(free))
    }

    fn first_ready(&self, key: &Key, mold: &str, view: View<'_>) -> Option<Uid> {
        let line = self.lines.get(key)?;
        let oldest = view.now - PROOF_LIMIT;
        let ready = line.pods.iter().filter_map(|uid| {
            let sandbox = self.sandboxes.get(uid)?;
            let at = sandbox.ready(oldest)?;
            let usable = sandbox.pod.mold == mold && !view.is_lost(sandbox) && view.is_up(sandbox);
            usable.then_some((at, *uid))
        });
        ready.min().map(|(_, uid)| uid)
    }

    /// Writes this sandbox into the status of an Execution, which makes it its.
    pub(super) fn bind(&mut self, uid: Uid, pod: Uid, view: View<'_>) -> Option<Act> {
        let sandbox = self.sandboxes.get(&pod)?;
        let node = sandbox.pod.node.as_deref().unwrap_or_default();
        let zone = view.cluster.nodes.get(node).map(|node| node.zone.as_str());
        let run = self.runs.get(&uid)?;
        let status = status::bound(run, &sandbox.pod, &sandbox.proof, zone, view.now);
        let act = write(run, status, Purpose::Bind);
        let terms = self.lines.get(&run.line).and_then(Line::terms).cloned();
        let silent_since = self.silent_since(uid, Stage::Binding(pod), view.now);
        self.delist(uid);
        let run = self.runs.get_mut(&uid)?;
        // The same again is of the same terms.
        if run.stage != Stage::Binding(pod) {
            (run.stage, run.terms) = (Stage::Binding(pod), terms);
        }
        run.writing = true;
        run.silent_since = silent_since;
        self.under_way.binding += 1;
        self.given_out(view.now);
        self.enlist(uid);
        Some(act)
    }

    /// Tells the sandbox of an Execution what to run, if it does not know yet.
    pub(super) fn assign(&mut self, pod: Uid, now: Timestamp) {
        let Some(sandbox) = self.sandboxes.get(&pod) else {
            return;
        };
        let run = sandbox.claimed.and_then(|uid| self.runs.get(&uid));
        let wanted =
            |run: &&Run| run.stage == Stage::Bound(pod) && !run.cancel && run.outcome.is_none();
        let Some(run) = run.filter(wanted) else {
            return;
        };
        let untold = |seat: &&Seat| !seat.is_told();
        let Some(seat) = sandbox.seat.as_ref().filter(untold) else {
            return;
        };
        // It was proven when it was chosen; a new leader, or a new session, asks again.
        if sandbox.proven(now - PROOF_LIMIT).is_none() || self.shut(&run.line).is_some() {
            return;
        }
        let terms = self.lines.get(&run.line).and_then(Line::terms);
        // The sandbox has the image of then, and so the command is that of then.
        let terms = run.terms.as_ref().or(terms);
        let (Some(terms), Some(confinement)) = (terms, self.confinement(&run.line)) else {
            return;
        };
        let allowed = terms.allowed();
        let contract = super::contract::contract(terms, confinement, run.input.as_deref());
        // A session that has just ended is told of by its end.
        let _ = seat
            .orders
            .send(super::orders::assign(run, &contract, allowed));
        let uid = run.uid;
        if let Some(run) = self.runs.get_mut(&uid) {
            run.allowed = Some(allowed);
        }
        let seat = self
            .sandboxes
            .get_mut(&pod)
            .and_then(|one| one.seat.as_mut());
        if let Some(seat) = seat {
            seat.assigned = Some(now);
        }
    }

    /// Sandboxes of a line that are at work, whether their Execution is still there, or known to be, or not.
    pub(super) fn occupied(&self, line: &Line, now: Timestamp) -> usize {
        let sandboxes = line.pods.iter().filter_map(|uid| self.sandboxes.get(uid));
        line.live.len()
            + sandboxes
                .filter(|sandbox| self.lingers(sandbox, now) || self.is_ahead(sandbox))
                .count()
    }

    /// Why nothing of a line may start now, and what an Execution ends with that waits for it
    /// too long. Limits and missing sandboxes aside.
    pub(super) fn shut(&self, key: &Key) -> Option<Outcome> {
        if let Some(fault) = self.refusal(key) {
            return Some(Outcome::new(ExecutionReason::Rejected, fault));
        }
        let no = |reason, message: String| Some(Outcome::new(reason, message));
        match &self.tenants.get(&key.namespace)?.shut {
            Some(Shut::Suspended) => {
                let message = "the tenant is not Active; set spec.state of the Tenant to Active";
                return no(ExecutionReason::TenantSuspended, message.to_owned());
            }
            Some(Shut::Unverified(said)) => {
                let message = format!("the tenant's isolation is not proven: {said}");
                return no(ExecutionReason::IsolationUnverified, message);
            }
            None if !self.denied.contains_key(&key.namespace) => {
                let message = "the network policy cloister-deny-all is not as it must be; the \
                               operator puts it back";
                return no(ExecutionReason::IsolationUnverified, message.to_owned());
            }
            None => {}
        }
        let deadline = ExecutionReason::StartDeadlineExceeded;
        if self.lines.get(key)?.integration.as_ref()?.suspend {
            let name = &key.name;
            let message = format!("Integration {name} is suspended by its spec.suspend");
            return no(deadline, message);
        }
        let unmet = self.unmet(key).is_some();
        unmet.then(|| Outcome::new(deadline, NOT_IN_FORCE))
    }

    /// What somebody has to mend before anything of a line starts: field and remedy.
    fn refusal(&self, key: &Key) -> Option<String> {
        let Key { namespace, name } = key;
        if !self.tenants.contains_key(namespace) {
            return Some(format!(
                "namespace {namespace} is not a tenant's; create it in one that is"
            ));
        }
        let line = self.lines.get(key);
        let Some(known) = line.and_then(|line| line.integration.as_ref()) else {
            return Some(format!(
                "spec.integration: there is no Integration {name} here; create it"
            ));
        };
        if let Err(fault) = &known.terms {
            return Some(format!("Integration {name} is not valid: {fault}"));
        }
        if known.deleting {
            return Some(format!("Integration {name} is being removed"));
        }
        match self.unmet(key)? {
            Unmet::Misfit(fault) => Some(format!(
                "Integration {name} does not fit its tenant: {fault}"
            )),
            Unmet::Beyond(fault) => Some(format!(
                "Integration {name}: more than its tenant allows: {fault}"
            )),
            Unmet::NotInForce => None,
        }
    }

    /// Why sandboxes of a line cannot have the kernel boundary that it asks for. Of the cluster as
    /// it was last surveyed: before the first look at it, it has none.
    pub(super) fn misfit(&self, key: &Key) -> Option<&'static str> {
        let landlord = self.tenants.get(&key.namespace)?;
        let terms = self.lines.get(key)?.terms()?;
        landlord.misfit(terms.runtime, &self.surveyed)
    }
}

/// The act that writes this status.
pub(super) fn write(run: &Run, status: crds::ExecutionStatus, purpose: Purpose) -> Act {
    Act::Status {
        run: run.uid,
        key: run.key.clone(),
        version: run.version,
        before: Box::new(run.status.clone()),
        status: Box::new(status),
        purpose,
    }
}
