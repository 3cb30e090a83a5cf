//! What is known of one tenant's namespace.

use std::sync::Arc;

use super::{
    Stamped,
    facts::{
        ChildKind, LiveChild, LiveDrill, LiveIntegration, LivePod, LivePolicy, LiveVolume,
        LiveWorker, LiveWorkload, Loss,
    },
    sorted::Sorted,
};

/// Everything in and about one tenant's namespace. Exists also for a namespace that only
/// looks like a tenant's, so that a name which is taken is seen before the first write. Names that most
/// tenants have are held once for all of them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Objects of the kinds that Cloister makes, ours or not.
    pub children: Sorted<(ChildKind, Arc<str>), Stamped<LiveChild>, 16>,
    /// Network policies, ours or not.
    pub policies: Sorted<Arc<str>, Stamped<LivePolicy>, 4>,
    /// Pods, whoever made them.
    pub pods: Sorted<Box<str>, Stamped<LivePod>>,
    /// Integrations that ask for egress.
    pub integrations: Sorted<Box<str>, Stamped<LiveIntegration>>,
    /// Workers.
    pub workers: Sorted<Box<str>, Stamped<LiveWorker>>,
    /// Their Deployments and `StatefulSets`.
    pub workloads: Sorted<(ChildKind, Box<str>), Stamped<LiveWorkload>>,
    /// Volumes that claims have, or had, and whoever's those are.
    pub volumes: Sorted<Box<str>, Stamped<LiveVolume>>,
    /// Drills.
    pub drills: Sorted<Box<str>, Stamped<LiveDrill>>,
    /// What the namespace says is lost, once it has been seen.
    pub losses: Sorted<(), Stamped<Loss>>,
}

impl Surroundings {
    /// What the namespace says is lost to the tenant.
    pub fn loss(&self) -> Loss {
        let said = self.losses.values().next();
        said.map(|held| held.fact.clone()).unwrap_or_default()
    }

    /// Whether nothing is known of it.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            children,
            policies,
            pods,
            integrations,
            workers,
            workloads,
            volumes,
            drills,
            losses,
        } = self;
        children.is_empty()
            && policies.is_empty()
            && pods.is_empty()
            && integrations.is_empty()
            && workers.is_empty()
            && workloads.is_empty()
            && volumes.is_empty()
            && drills.is_empty()
            && losses.is_empty()
    }
}
