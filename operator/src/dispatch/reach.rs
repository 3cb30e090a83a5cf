//! What the sandboxes of a line may reach, and whether exactly that is open. Pure.
//!
//! In: the Integration's list, the tenant's ceiling, the cluster's own addresses, and the policies
//! that stand. Out: why nothing of the line may start, if so. A sandbox is made, and proves itself,
//! under the policy that stands: while that is not what it must be, none is made and none is given
//! anything to run, and one that proved itself under another one is not used ([`Mold::policy`]).
//!
//! [`Mold::policy`]: super::pod::Mold::policy

use std::net::SocketAddr;

use contract::{Check, ProbeRequest};
use crds::{digest::Fingerprint, well_known::INTEGRATION_LABEL};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{ResourceExt, runtime::watcher};

use super::{
    book::Book,
    line::{Key, Line},
    sandbox::{Proof, Sandbox},
    turn::View,
};
use crate::{
    egress::{self, Holder, Of},
    names,
    world::facts::{self, Child, Cluster, LivePolicy, Uid},
};

/// Said while the policy of an Integration is not what it must be.
pub const NOT_IN_FORCE: &str = "the network policy of the Integration's spec.egress is not in force, \
                            and is being set right";

/// A policy that opens something to the sandboxes of a line, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    key: Key,
    /// Whose sandboxes, by its label.
    line: Option<Key>,
    uid: Uid,
    version: u64,
    generation: i64,
    /// What it says.
    fingerprint: Fingerprint,
}

impl Standing {
    /// Boils a policy down, if by its name it is of an Integration.
    pub fn of(policy: &NetworkPolicy) -> Option<Self> {
        let key = Key::of(policy);
        let integration = policy.labels().get(INTEGRATION_LABEL);
        key.name.starts_with(names::EGRESS_PREFIX).then(|| Self {
            line: integration.map(|name| Key::new(&key.namespace, name)),
            uid: Uid::of(&policy.metadata),
            version: facts::version(&policy.metadata),
            generation: policy.metadata.generation.unwrap_or_default(),
            fingerprint: policy.fingerprint(),
            key,
        })
    }
}

/// Whether an event of network policies is one for the desk: of an Integration's or of the one that
/// denies, by its name, or of a listing.
pub fn is_for_desk(event: &watcher::Event<NetworkPolicy>) -> bool {
    match event {
        watcher::Event::Apply(object)
        | watcher::Event::InitApply(object)
        | watcher::Event::Delete(object) => {
            let name = object.name_any();
            name.starts_with(names::EGRESS_PREFIX) || name == names::DENY_ALL
        }
        watcher::Event::Init | watcher::Event::InitDone => true,
    }
}

/// What the sandboxes of a line may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Not weighed since something changed.
    #[default]
    Unweighed,
    /// The tenant does not allow it: field and remedy.
    Beyond(String),
    /// No more than every sandbox.
    Closed,
    /// What the policy with this fingerprint opens.
    Open(Fingerprint),
}

/// Why nothing may start, by what a line asks for beside its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// Its tenant's pods cannot have that kernel boundary: field and remedy.
    Misfit(&'static str),
    /// The tenant does not allow it: field and remedy.
    Beyond(String),
    /// What stands is not what must.
    NotInForce,
}

impl Book {
    /// A policy, as it is now; of no account if it is of no Integration, nor the one that denies.
    pub fn policy_seen(&mut self, policy: &NetworkPolicy) {
        let key = Key::of(policy);
        if *key.name == *names::DENY_ALL {
            let uid = Uid::of(&policy.metadata);
            let policy = LivePolicy::of(policy);
            let all = policy.denies() && policy.selects_all();
            self.denies(&key, all.then_some(uid));
        }
        if let Some(standing) = Standing::of(policy) {
            self.policy(standing);
        }
    }

    /// The policy that denies, if it is as it must be. What a sandbox proved while it was counts for
    /// nothing while it is not, long before the Tenant says so: that is written once it is repaired.
    fn denies(&mut self, key: &Key, policy: Option<Uid>) {
        let before = match policy {
            Some(uid) => self.denied.insert(self.shared(&key.namespace), uid),
            None => self.denied.remove(&key.namespace),
        };
        if before.is_some() != policy.is_some() {
            let here = self.lines.range(Key::all_of(&key.namespace));
            self.dirty.extend(here.map(|(line, _)| line.clone()));
        }
    }

    /// A policy of an Integration, as it is now.
    pub fn policy(&mut self, mut policy: Standing) {
        if let Some(held) = self.policies.get(&policy.key) {
            if held.version > policy.version {
                return;
            }
            // Whose it was, it is; that its label went, is in its fingerprint.
            policy.line = policy.line.or_else(|| held.line.clone());
        }
        let same = |held: &Standing| {
            (held.uid, held.generation, held.fingerprint)
                == (policy.uid, policy.generation, policy.fingerprint)
        };
        if self.policies.get(&policy.key).is_some_and(same) {
            self.policies.insert(policy.key.clone(), policy);
            return;
        }
        self.policy_gone(&policy.key);
        if let Some(key) = policy.line.clone() {
            let line = self.line_or_new(&key);
            line.policies.insert(policy.key.clone());
            line.mold = None;
            self.doubt(&key);
            self.policies.insert(policy.key.clone(), policy);
        }
    }

    /// A policy that is gone.
    pub fn policy_gone(&mut self, key: &Key) {
        if *key.name == *names::DENY_ALL {
            self.denies(key, None);
        }
        let held = self.policies.remove(key);
        if let Some(of) = held.and_then(|held| held.line) {
            let line = self.line_or_new(&of);
            line.policies.remove(key);
            line.mold = None;
            self.doubt(&of);
        }
    }

    /// What the sandboxes of a line may reach has changed: one that has been chosen and not told
    /// yet what to run has to prove itself again, as it does on its clock; the others are replaced.
    fn doubt(&mut self, key: &Key) {
        for uid in self.runs_of(key, |line| line.pods.iter().copied().collect()) {
            let sandbox = self.sandboxes.get_mut(&uid);
            let untold = |one: &&mut Sandbox| one.claimed.is_some() && one.is_untold();
            if let Some(sandbox) = sandbox.filter(untold) {
                sandbox.proof = Proof::Pending;
            }
        }
        self.touch(key);
    }

    /// Identities of all policies that are known, by name.
    pub fn policies(&self) -> Vec<(Key, Uid)> {
        let opening = self.policies.iter();
        let opening = opening.map(|(key, held)| (key.clone(), held.uid));
        let denying = self.denied.iter();
        let denying = denying.map(|(namespace, uid)| (Key::new(namespace, names::DENY_ALL), *uid));
        opening.chain(denying).collect()
    }

    /// Looks whether the cluster is as it was: a node may have come, with an address that some
    /// line may reach. Then every line is weighed again when it is next looked at.
    pub(super) fn survey(&mut self, cluster: &Cluster) {
        if self.surveyed == *cluster {
            return;
        }
        self.surveyed = cluster.clone();
        for line in self.lines.values_mut() {
            line.reach = Reach::Unweighed;
        }
    }

    /// Weighs what a line may reach, if something has changed since it last was.
    pub(super) fn weigh(&mut self, key: &Key, view: View<'_>) {
        let weighed = |line: &&Line| line.reach != Reach::Unweighed;
        if self.lines.get(key).as_ref().is_none_or(weighed) {
            return;
        }
        let reach = self.reach(key, view).unwrap_or_default();
        if let Some(line) = self.lines.get_mut(key) {
            (line.reach, line.mold) = (reach, None);
        }
    }

    fn reach(&self, key: &Key, view: View<'_>) -> Option<Reach> {
        let landlord = self.tenants.get(&key.namespace)?;
        let known = self.lines.get(key)?.integration.as_ref()?;
        let list = &known.terms.as_ref().ok()?.egress;
        if list.is_empty() {
            return Some(Reach::Closed);
        }
        let owner = &landlord.owner;
        let fault = egress::fault(list, &landlord.ceiling, &owner.tenant, view.cluster);
        Some(fault.map_or_else(
            || {
                let of = Of {
                    tenant: owner,
                    namespace: &key.namespace,
                    holder: Holder::Integration,
                    name: &key.name,
                    uid: known.uid,
                };
                Reach::Open(egress::policy(of, list).fingerprint())
            },
            Reach::Beyond,
        ))
    }

    /// Why nothing of a line may start, by what it asks for.
    pub(super) fn unmet(&self, key: &Key) -> Option<Unmet> {
        let line = self.lines.get(key)?;
        if let Some(fault) = self.misfit(key) {
            return Some(Unmet::Misfit(fault));
        }
        let mut standing = line
            .policies
            .iter()
            .filter_map(|name| self.policies.get(name));
        let met = match &line.reach {
            Reach::Beyond(fault) => return Some(Unmet::Beyond(fault.clone())),
            Reach::Unweighed => false,
            Reach::Closed => standing.next().is_none(),
            Reach::Open(wanted) => {
                let first = standing.next().map(|held| held.fingerprint);
                first == Some(*wanted) && standing.next().is_none()
            }
        };
        (!met).then_some(Unmet::NotInForce)
    }

    /// Identity and generation of the policy that stands, as long as that is what must.
    pub(super) fn policy_in_force(&self, key: &Key) -> Option<String> {
        let line = self.lines.get(key)?;
        let held = self.policies.get(line.policies.first()?)?;
        let Standing {
            uid, generation, ..
        } = held;
        self.unmet(key)
            .is_none()
            .then(|| format!("{uid}/{generation}"))
    }

    /// Leaves out of what a sandbox must find shut the one address that may be open to it: outside,
    /// where its Integration may reach that. No other target can lie in a list that is allowed.
    pub(super) fn spare_allowed(&self, key: &Key, probe: &mut ProbeRequest, view: View<'_>) {
        let terms = self.lines.get(key).and_then(Line::terms);
        let list = terms.map_or(&[][..], |terms| &terms.egress);
        let open = |address: SocketAddr| list.iter().any(|one| one.reaches(address));
        if view.probing.outside.is_some_and(open) {
            probe
                .targets
                .retain(|target| target.check != Check::Outside);
        }
    }
}
