//! What a Drill's pass looks at, read once from memory, so that all of it is one moment.

use std::sync::Arc;

use crds::{Drill, Tenant, Worker};
use jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    names,
    room::Context,
    world::{Surroundings, facts::Cluster},
};

/// Read, not yet judged.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The tenant that the namespace is of, if it is.
    pub tenant: Option<Arc<Tenant>>,
    /// The Workers of the namespace.
    pub workers: Vec<Arc<Worker>>,
    /// What is in and about the namespace.
    pub around: Arc<Surroundings>,
    /// What every tenant shares.
    pub cluster: Arc<Cluster>,
    /// Now.
    pub now: Timestamp,
}

/// Reads.
pub fn gather(context: &Context, object: &Drill) -> Inputs {
    let world = &context.world;
    let namespace = object.namespace().unwrap_or_default();
    let name = names::tenant_of_namespace(&namespace).unwrap_or_default();
    let around = world.surroundings(name);
    let workers = around.workers.keys();
    let workers =
        workers.filter_map(|one| world.workers().get(&ObjectRef::new(one).within(&namespace)));
    Inputs {
        tenant: world.tenants().get(&ObjectRef::new(name)),
        workers: workers.collect(),
        around: around.clone(),
        cluster: world.cluster(),
        now: (context.now)(),
    }
}
