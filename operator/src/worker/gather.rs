//! What a Worker's pass looks at, read once from memory, so that all of it is one moment.

use std::sync::Arc;

use crds::{
    Tenant, Worker,
    condition::{Verdict, find},
    tenant::TenantCondition,
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    dispatch::Landlord,
    names,
    probe::ProbeSettings,
    room::Context,
    world::{Surroundings, facts::Cluster},
};

/// Read, not yet judged.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The tenant that the namespace is of, if it is.
    pub landlord: Option<Landlord>,
    /// What that one's status says of its isolation.
    pub isolation: (Verdict, String),
    /// What is in and about the namespace.
    pub around: Arc<Surroundings>,
    /// What every tenant shares.
    pub cluster: Arc<Cluster>,
    /// What supervisors dial.
    pub probing: ProbeSettings,
    /// Image of the supervisor.
    pub supervisor: String,
    /// Whether that comes by an image volume, where it can.
    pub image_volumes: bool,
}

/// Reads.
pub fn gather(context: &Context, object: &Worker) -> Inputs {
    let namespace = object.namespace().unwrap_or_default();
    let name = names::tenant_of_namespace(&namespace).unwrap_or_default();
    let tenant = context.world.tenants().get(&ObjectRef::new(name));
    let dispatching = &context.settings.dispatching;
    Inputs {
        landlord: tenant.as_deref().map(Landlord::of),
        isolation: isolation(tenant.as_deref()),
        around: context.world.surroundings(name),
        cluster: context.world.cluster(),
        probing: context.settings.probing.clone(),
        supervisor: dispatching.image.clone(),
        image_volumes: dispatching.image_volumes,
    }
}

/// What a Tenant says of its isolation. A word on an older spec counts for nothing.
fn isolation(tenant: Option<&Tenant>) -> (Verdict, String) {
    let condition = TenantCondition::IsolationVerified.as_str();
    let status = tenant.and_then(|tenant| tenant.status.as_ref());
    let Some(found) = status.and_then(|status| find(&status.conditions, condition)) else {
        return (Verdict::Unknown, "nothing is known of it yet".to_owned());
    };
    if found.observed_generation != tenant.and_then(|tenant| tenant.metadata.generation) {
        let message = "the Tenant has just been changed";
        return (Verdict::Unknown, message.to_owned());
    }
    let verdict = match found.status.as_str() {
        "True" => Verdict::True,
        "False" => Verdict::False,
        _ => Verdict::Unknown,
    };
    (verdict, found.message.to_string())
}
