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
    tenant::has_runtime,
    world::facts::{Cluster, Uid},
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

    /// Kernel boundary of pods whose spec asks for this one, or for none: never a laxer one than the
    /// tenant's, which then is refused.
    pub fn boundary(&self, asked: Option<Runtime>) -> Option<Runtime> {
        let laxer = asked == Some(Runtime::Hardened) && self.runtime == Runtime::GVisor;
        (!laxer).then(|| asked.unwrap_or(self.runtime))
    }

    /// Why pods cannot have the kernel boundary that the `spec.runtime` of what makes them asks for:
    /// field and remedy. Where that asks for none, the Tenant says what is wrong.
    pub fn misfit(&self, asked: Option<Runtime>, cluster: &Cluster) -> Option<&'static str> {
        if self.boundary(asked).is_none() {
            return Some(
                "spec.runtime: Hardened is laxer than spec.isolation.runtime of the Tenant, which \
                 is GVisor; leave it out",
            );
        }
        if has_runtime(asked?, cluster) {
            return None;
        }
        Some(match self.runtime {
            Runtime::Hardened => {
                "spec.runtime: the cluster has no RuntimeClass gvisor; install gVisor on the \
                 nodes, or say Hardened"
            }
            Runtime::GVisor => {
                "spec.runtime: the cluster has no RuntimeClass gvisor; install gVisor on the nodes"
            }
        })
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
    (found.status != "True").then(|| found.message.to_string())
}
