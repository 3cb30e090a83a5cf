//! How each kind is taken note of.

use std::sync::Arc;

use crds::{Integration, Worker, scalar::Amount, well_known};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{LimitRange, Namespace, Node, Pod, ResourceQuota, ServiceAccount},
    networking::v1::NetworkPolicy,
    node::v1::RuntimeClass,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
};
use kube::ResourceExt;

use super::{Observed, concerns, forget, keep_listed, note};
use crate::{
    names,
    world::{
        Concerns, Index,
        facts::{
            self, Child, Cluster, LiveChild, LiveIntegration, LiveNode, LivePod, LivePolicy,
            LiveWorker, LiveWorkload,
        },
    },
};

/// Which tenant a child lies with, and whether it is one that Cloister looks after or has
/// to know of.
pub(super) trait Placed: Child {
    fn tenant(&self) -> Option<String>;
}

macro_rules! placed {
    ($kind:ty, |$object:ident| $tenant:expr) => {
        impl Placed for $kind {
            fn tenant(&self) -> Option<String> {
                let $object = self;
                $tenant
            }
        }
    };
}

placed!(Namespace, |namespace| names::tenant_of_namespace(
    &namespace.name_any()
)
.map(ToOwned::to_owned));
placed!(ResourceQuota, |quota| Index::tenant_of(quota).filter(
    |_| [names::LIMITS, names::POD_LIMITS].contains(&&*quota.name_any())
));
placed!(LimitRange, |range| Index::tenant_of(range)
    .filter(|_| range.name_any() == names::LIMITS));
placed!(ServiceAccount, |account| Index::tenant_of(account).filter(
    |_| account.name_any() == well_known::SANDBOX_SERVICE_ACCOUNT
));
placed!(RoleBinding, |binding| Index::tenant_of(binding));
placed!(ClusterRole, |role| names::tenant_of_cluster_role(
    &role.name_any()
)
.map(ToOwned::to_owned));
placed!(ClusterRoleBinding, |binding| names::tenant_of_cluster_role(
    &binding.name_any()
)
.map(ToOwned::to_owned));
placed!(NetworkPolicy, |policy| Index::tenant_of(policy));
placed!(Deployment, |deployment| Index::tenant_of(deployment));
placed!(StatefulSet, |set| Index::tenant_of(set));
placed!(PodDisruptionBudget, |budget| Index::tenant_of(budget));

pub(super) fn child_seen<K: Placed>(object: &K, index: &mut Index, epoch: u32) -> Concerns {
    let Some(tenant) = object.tenant() else {
        return Concerns::Nobody;
    };
    let key = (K::KIND, index.names.share(object.name_any().into()));
    let stamp = (facts::version(object.meta()), epoch);
    let children = &mut index.around(&tenant).children;
    concerns(note(children, key, LiveChild::of(object), stamp), tenant)
}

pub(super) fn child_gone<K: Placed>(object: &K, index: &mut Index) -> Concerns {
    let Some(tenant) = object.tenant() else {
        return Concerns::Nobody;
    };
    let key = (K::KIND, object.name_any().into());
    let version = facts::version(object.meta());
    let changed = forget(&mut index.around(&tenant).children, &key, version);
    index.forget_empty(&tenant);
    concerns(changed, tenant)
}

fn children_swept<K: Placed>(index: &mut Index, epoch: u32) -> Concerns {
    index.sweep(|around| keep_listed(&mut around.children, epoch, |(kind, _)| *kind == K::KIND))
}

macro_rules! observed_as_child {
    ($($kind:ty),+) => { $(
        impl Observed for $kind {
            fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
                child_seen(self, index, epoch)
            }
            fn gone(&self, index: &mut Index) -> Concerns {
                child_gone(self, index)
            }
            fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
                children_swept::<Self>(index, epoch)
            }
        }
    )+ };
}

observed_as_child!(
    ResourceQuota,
    LimitRange,
    ServiceAccount,
    RoleBinding,
    ClusterRole,
    ClusterRoleBinding,
    PodDisruptionBudget
);

/// A policy is a child where it is ours, and evidence for or against isolation always.
impl Observed for NetworkPolicy {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        let Some(tenant) = self.tenant() else {
            return Concerns::Nobody;
        };
        let as_child = child_seen(self, index, epoch);
        let stamp = (facts::version(&self.metadata), epoch);
        let key = index.names.share(self.name_any().into());
        let mut policy = LivePolicy::of(self);
        policy.says = index.terms.share(policy.says);
        let changed = note(&mut index.around(&tenant).policies, key, policy, stamp);
        concerns(changed || as_child != Concerns::Nobody, tenant)
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        let Some(tenant) = self.tenant() else {
            return Concerns::Nobody;
        };
        let (key, version) = (self.name_any().into(), facts::version(&self.metadata));
        let changed = forget(&mut index.around(&tenant).policies, &key, version);
        let as_child = child_gone(self, index);
        concerns(changed || as_child != Concerns::Nobody, tenant)
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        index.sweep(|around| {
            let children = keep_listed(&mut around.children, epoch, |(kind, _)| {
                *kind == <Self as Child>::KIND
            });
            keep_listed(&mut around.policies, epoch, |_| true) && children
        })
    }
}

/// Children of a Worker, and how far its pods have come.
macro_rules! observed_as_workload {
    ($($kind:ty => $boil:path);+ $(;)?) => { $(
        impl Observed for $kind {
            fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
                let Some(tenant) = self.tenant() else {
                    return Concerns::Nobody;
                };
                let as_child = child_seen(self, index, epoch);
                let workloads = &mut index.around(&tenant).workloads;
                let stamp = (facts::version(&self.metadata), epoch);
                let key = (<Self as Child>::KIND, self.name_any().into_boxed_str());
                let changed = note(workloads, key, $boil(self), stamp);
                concerns(changed || as_child != Concerns::Nobody, tenant)
            }

            fn gone(&self, index: &mut Index) -> Concerns {
                let Some(tenant) = self.tenant() else {
                    return Concerns::Nobody;
                };
                let key = (<Self as Child>::KIND, self.name_any().into_boxed_str());
                let version = facts::version(&self.metadata);
                forget(&mut index.around(&tenant).workloads, &key, version);
                child_gone(self, index)
            }

            fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
                index.sweep(|around| {
                    let children = keep_listed(&mut around.children, epoch, |(kind, _)| {
                        *kind == <Self as Child>::KIND
                    });
                    keep_listed(&mut around.workloads, epoch, |(kind, _)| {
                        *kind == <Self as Child>::KIND
                    }) && children
                })
            }
        }
    )+ };
}

observed_as_workload!(
    Deployment => LiveWorkload::of_deployment;
    StatefulSet => LiveWorkload::of_stateful_set;
);

/// What a pod does that is no Worker's, concerns no Worker.
fn pod_concerns(changed: bool, tenant: String, of_worker: bool) -> Concerns {
    match concerns(changed, tenant) {
        Concerns::Tenant(tenant) if !of_worker => Concerns::TenantAlone(tenant),
        other => other,
    }
}

impl Observed for Pod {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        let Some(tenant) = Index::tenant_of(self) else {
            return Concerns::Nobody;
        };
        index.addresses.seen(self, &tenant, epoch);
        let stamp = (facts::version(&self.metadata), epoch);
        let key = self.name_any().into_boxed_str();
        let pods = &mut index.around(&tenant).pods;
        let live = LivePod::of(self);
        let of_worker = live.replica.is_some();
        let changed = note(pods, key.clone(), live, stamp);
        index.tally(tenant.clone(), key);
        pod_concerns(changed, tenant, of_worker)
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        let Some(tenant) = Index::tenant_of(self) else {
            return Concerns::Nobody;
        };
        let (key, version) = (
            self.name_any().into_boxed_str(),
            facts::version(&self.metadata),
        );
        index.addresses.gone(self);
        let pods = &mut index.around(&tenant).pods;
        let held = pods.get(&key);
        let of_worker = held.is_some_and(|held| held.fact.replica.is_some());
        let changed = forget(pods, &key, version);
        index.forget_empty(&tenant);
        index.tally(tenant.clone(), key);
        pod_concerns(changed, tenant, of_worker)
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        let concerns = index.sweep(|around| keep_listed(&mut around.pods, epoch, |_| true));
        index.tally_anew();
        index.addresses.swept(epoch);
        concerns
    }
}

/// What is kept of what tenants ask for, and where; what is not kept any more is gone.
macro_rules! observed_as_request {
    ($($kind:ty => $live:ty, $shelf:ident);+ $(;)?) => { $(
        impl Observed for $kind {
            fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
                let Some(live) = <$live>::of(self) else {
                    return self.gone(index);
                };
                let Some(tenant) = Index::tenant_of(self) else {
                    return Concerns::Nobody;
                };
                let stamp = (facts::version(&self.metadata), epoch);
                let key = self.name_any().into_boxed_str();
                let held = &mut index.around(&tenant).$shelf;
                concerns(note(held, key, live, stamp), tenant)
            }

            fn gone(&self, index: &mut Index) -> Concerns {
                let Some(tenant) = Index::tenant_of(self) else {
                    return Concerns::Nobody;
                };
                let (key, version) = (
                    self.name_any().into_boxed_str(),
                    facts::version(&self.metadata),
                );
                let changed = forget(&mut index.around(&tenant).$shelf, &key, version);
                index.forget_empty(&tenant);
                concerns(changed, tenant)
            }

            fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
                index.sweep(|around| keep_listed(&mut around.$shelf, epoch, |_| true))
            }
        }
    )+ };
}

observed_as_request!(
    // Only those that ask for egress are kept, for the policies that open it.
    Integration => LiveIntegration, integrations;
    // Each is kept, for its policy, and so that its tenant's changes reach it.
    Worker => LiveWorker, workers;
);

/// Changes what every tenant shares; wakes all of them only if it really changed.
pub(super) fn shared(index: &mut Index, change: impl FnOnce(&mut Cluster)) -> Concerns {
    let mut next = (*index.cluster).clone();
    change(&mut next);
    if next == *index.cluster {
        return Concerns::Nobody;
    }
    index.cluster = Arc::new(next);
    Concerns::Everyone
}

impl Observed for Node {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        index.listed::<Self>(&self.name_any(), epoch);
        shared(index, |cluster| {
            cluster.nodes.insert(self.name_any(), LiveNode::of(self));
        })
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        index.unlist::<Self>(&self.name_any());
        shared(index, |cluster| {
            cluster.nodes.remove(&self.name_any());
        })
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        let gone = index.unlisted::<Self>(epoch);
        shared(index, |cluster| {
            cluster.nodes.retain(|name, _| !gone.contains(name));
        })
    }
}

/// Bytes of memory that a class adds to what the containers of a pod may have.
fn beside(class: &RuntimeClass) -> u64 {
    let overhead = class
        .overhead
        .as_ref()
        .and_then(|one| one.pod_fixed.as_ref());
    let memory = overhead.and_then(|overhead| overhead.get("memory"));
    let amount = memory.and_then(|memory| memory.0.parse::<Amount>().ok());
    amount.map(Amount::bytes).unwrap_or_default()
}

impl Observed for RuntimeClass {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        let name = self.name_any();
        index.listed::<Self>(&name, epoch);
        shared(index, |cluster| {
            cluster.runtime_classes.insert(name, beside(self));
        })
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        index.unlist::<Self>(&self.name_any());
        shared(index, |cluster| {
            cluster.runtime_classes.remove(&self.name_any());
        })
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        let gone = index.unlisted::<Self>(epoch);
        shared(index, |cluster| {
            cluster
                .runtime_classes
                .retain(|name, _| !gone.contains(name));
        })
    }
}
