//! The policies of Integrations and Workers: which there must be, and which must go.
//!
//! They are no part of the boundary that a probe of the Tenant proves: each concerns the
//! pods of one Integration or Worker and no other pod, and every one of those proves itself. So
//! one that comes, changes or goes does not cost its tenant the proof.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;

use crate::{
    egress::{self, Of},
    names,
    tenant::ValidTenant,
    world::{
        Surroundings,
        facts::{Child, ChildKind, LivePolicy, Uid},
    },
};

/// One policy, and whose child it is.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Identity of the Integration or Worker.
    pub owner: Uid,
    /// The policy.
    pub policy: NetworkPolicy,
}

/// Every policy that there must be.
pub fn openings(valid: &ValidTenant) -> Vec<Opened> {
    let granted = valid.openings.iter();
    granted
        .map(|granted| Opened {
            owner: granted.uid,
            policy: egress::policy(
                Of {
                    tenant: &valid.owner,
                    namespace: &valid.namespace,
                    holder: granted.holder,
                    name: &granted.name,
                    uid: granted.uid,
                },
                &granted.list,
            ),
        })
        .collect()
}

/// Policies of Integrations and Workers that are not among these, or of another one than they must
/// be. One by the name of such a policy that is nobody's of these is somebody else's, and not ours
/// to remove.
pub fn withdrawn(around: &Surroundings, kept: &[Opened]) -> Vec<(String, Uid)> {
    let policies = around.policies.iter();
    policies
        .filter(|(name, held)| is_of_holder(name, &held.fact))
        .filter(|(name, held)| {
            let same = |one: &Opened| held.fact.owner == Some(one.owner);
            let mut kept = kept.iter().filter(|one| one.policy.name_any() == ***name);
            !kept.any(same)
        })
        .map(|(name, held)| (name.to_string(), held.fact.uid))
        .collect()
}

/// Whether a policy is one of an Integration's or a Worker's, by its name and by what it says of
/// its owner.
pub fn is_of_holder(name: &str, policy: &LivePolicy) -> bool {
    let prefixes = [names::EGRESS_PREFIX, names::WORKER_POLICY_PREFIX];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) && policy.says.of_holder
}

/// Whether a policy of this name stands exactly as one of these must.
pub fn stands(around: &Surroundings, openings: &[Opened], name: &str) -> bool {
    let Some(opened) = openings.iter().find(|one| one.policy.name_any() == name) else {
        return false;
    };
    let live = around
        .children
        .get(&(ChildKind::NetworkPolicy, name.into()));
    live.is_some_and(|held| {
        held.fact.owner == Some(opened.owner)
            && held.fact.fingerprint == opened.policy.fingerprint()
    })
}
