//! What a Tenant's pass looks at, read once from memory, so that all of it is one moment.

use std::sync::Arc;

use crds::{Tenant, tenant::IsolationStatus};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    probe::ProbeSettings,
    room::Context,
    world::{Surroundings, facts::Cluster},
};

/// Read, not yet judged.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What is in and about the namespace.
    pub around: Arc<Surroundings>,
    /// What every tenant shares.
    pub cluster: Arc<Cluster>,
    /// What is known of the isolation so far.
    pub isolation: Option<IsolationStatus>,
    /// How probes are to be run.
    pub probing: ProbeSettings,
    /// As many probes as may run at once do.
    pub crowded: bool,
    /// Now.
    pub now: Timestamp,
}

/// Reads.
pub fn gather(context: &Context, object: &Tenant) -> Inputs {
    let probing = context.settings.probing.clone();
    let status = object.status.as_ref();
    Inputs {
        around: context.world.surroundings(&object.name_any()),
        cluster: context.world.cluster(),
        isolation: status.and_then(|status| status.isolation.clone()),
        crowded: context.world.probes_under_way() >= probing.at_once,
        probing,
        now: (context.now)(),
    }
}
