//! How Drills are taken note of, and what a tenant's namespace says of them.

use std::collections::BTreeSet;

use crds::Drill;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::{Observed, concerns, forget, keep_listed, kinds, note};
use crate::{
    names,
    world::{
        Concerns, Index,
        facts::{self, Child, LiveDrill, Loss},
    },
};

impl Index {
    /// Zones that are taken from a tenant, by its namespace, as its Drills say now.
    fn tell_lost(&mut self, tenant: &str) {
        let around = self.tenants.get(tenant);
        let drills = around.iter().flat_map(|around| around.drills.values());
        let zones: BTreeSet<Box<str>> = drills
            .filter_map(|held| Some(held.fact.takes.as_ref()?.zone.clone()))
            .collect();
        let namespace = names::namespace(tenant);
        if self.lost.get(&namespace) == Some(&zones) {
            return;
        }
        let mut lost = (*self.lost).clone();
        let had = lost.remove(&namespace).is_some();
        if !zones.is_empty() {
            lost.insert(namespace, zones);
        } else if !had {
            return;
        }
        self.lost = lost.into();
    }
}

impl Observed for Drill {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        let Some(live) = LiveDrill::of(self) else {
            return self.gone(index);
        };
        let Some(tenant) = Index::tenant_of(self) else {
            return Concerns::Nobody;
        };
        let stamp = (facts::version(&self.metadata), epoch);
        let key = self.name_any().into_boxed_str();
        let changed = note(&mut index.around(&tenant).drills, key, live, stamp);
        index.tell_lost(&tenant);
        concerns(changed, tenant)
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        let Some(tenant) = Index::tenant_of(self) else {
            return Concerns::Nobody;
        };
        let key = self.name_any().into_boxed_str();
        let version = facts::version(&self.metadata);
        let changed = forget(&mut index.around(&tenant).drills, &key, version);
        index.tell_lost(&tenant);
        index.forget_empty(&tenant);
        concerns(changed, tenant)
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        let swept = index.sweep(|around| keep_listed(&mut around.drills, epoch, |_| true));
        let lost: Vec<String> = index.lost.keys().cloned().collect();
        for namespace in lost {
            if let Some(tenant) = names::tenant_of_namespace(&namespace) {
                index.tell_lost(tenant);
            }
        }
        swept
    }
}

/// A child of a Tenant, and what it says is lost.
impl Observed for Namespace {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        let name = self.name_any();
        let Some(tenant) = names::tenant_of_namespace(&name) else {
            return Concerns::Nobody;
        };
        let as_child = kinds::child_seen(self, index, epoch);
        let stamp = (facts::version(&self.metadata), epoch);
        let losses = &mut index.around(tenant).losses;
        note(losses, (), Loss::of(self), stamp);
        as_child
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        let name = self.name_any();
        let Some(tenant) = names::tenant_of_namespace(&name) else {
            return Concerns::Nobody;
        };
        let version = facts::version(&self.metadata);
        forget(&mut index.around(tenant).losses, &(), version);
        kinds::child_gone(self, index)
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        index.sweep(|around| {
            let kept = keep_listed(&mut around.children, epoch, |(kind, _)| {
                *kind == <Self as Child>::KIND
            });
            keep_listed(&mut around.losses, epoch, |()| true) && kept
        })
    }
}
