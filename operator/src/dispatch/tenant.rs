//! A Tenant as the dispatcher sees it: whether anything may start in it, and how.

use crds::{
    Tenant,
    condition::find,
    scalar::Amount,
    tenant::{Residency, Runtime, State, TenantCondition},
};
use kube::ResourceExt;

use crate::{
    egress::{self, Opening},
    meta::Owner,
    world::facts::Uid,
};

/// What is kept of a Tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landlord {
    /// Name and identity.
    pub owner: Owner,
    /// It is being removed, with everything in it.
    pub going: bool,
    /// Why nothing may start, if so.
    pub shut: Option<Shut>,
    /// Kernel boundary of its pods, at the least.
    pub runtime: Runtime,
    /// Where its pods may run.
    pub residency: Option<Residency>,
    /// The most that its Integrations may reach.
    pub ceiling: Vec<Opening>,
    /// The most that its claims may hold together; nothing, if it cannot be read.
    pub storage: Option<Amount>,
}

/// Why nothing may start in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shut {
    /// By its state, or because it is being removed.
    Suspended,
    /// Its isolation is not proven; what status says of it.
    Unverified(String),
}

impl Landlord {
    /// Boils a Tenant down.
    pub fn of(object: &Tenant) -> Self {
        let going = object.metadata.deletion_timestamp.is_some();
        let shut = if object.spec.state != State::Active || going {
            Some(Shut::Suspended)
        } else {
            unverified(object).map(Shut::Unverified)
        };
        Self {
            owner: Owner {
                tenant: object.name_any(),
                uid: Uid::of(&object.metadata),
            },
            going,
            shut,
            runtime: object.spec.isolation.runtime,
            residency: object.spec.residency.clone(),
            ceiling: egress::ceiling(&object.spec.isolation.egress_ceiling),
            storage: object.spec.limits.storage.parse().ok(),
        }
    }
}

/// Why isolation does not count as proven. A word on an older spec counts for nothing.
fn unverified(object: &Tenant) -> Option<String> {
    let condition = TenantCondition::IsolationVerified.as_str();
    let conditions = object.status.as_ref().map(|status| &status.conditions[..]);
    let Some(found) = conditions.and_then(|list| find(list, condition)) else {
        return Some("nothing is known of it yet".to_owned());
    };
    if found.observed_generation != object.metadata.generation {
        return Some("the Tenant has just been changed".to_owned());
    }
    (found.status != "True").then(|| found.message.clone())
}
