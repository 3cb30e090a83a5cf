//! How classes of storage are taken note of, and the volumes of tenants' claims.

use k8s_openapi::api::{core::v1::PersistentVolume, storage::v1::StorageClass};
use kube::ResourceExt;

use super::{Observed, concerns, forget, keep_listed, kinds::shared, note};
use crate::{
    names,
    world::{
        Concerns, Index,
        facts::{self, LiveClass, LiveVolume},
    },
};

impl Observed for StorageClass {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        index.listed::<Self>(&self.name_any(), epoch);
        shared(index, |cluster| {
            let class = LiveClass::of(self);
            cluster.storage_classes.insert(self.name_any(), class);
        })
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        index.unlist::<Self>(&self.name_any());
        shared(index, |cluster| {
            cluster.storage_classes.remove(&self.name_any());
        })
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        let gone = index.unlisted::<Self>(epoch);
        shared(index, |cluster| {
            cluster
                .storage_classes
                .retain(|name, _| !gone.contains(name));
        })
    }
}

/// A volume lies in no namespace, and is with the tenant whose claim has it.
fn tenant_of(volume: &PersistentVolume) -> Option<String> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let tenant = names::tenant_of_namespace(claim.namespace.as_deref()?)?;
    Some(tenant.to_owned())
}

/// What a volume does concerns the residency, and no Worker.
fn alone(changed: bool, tenant: String) -> Concerns {
    match concerns(changed, tenant) {
        Concerns::Tenant(tenant) => Concerns::TenantAlone(tenant),
        other => other,
    }
}

impl Observed for PersistentVolume {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        let (Some(tenant), Some(live)) = (tenant_of(self), LiveVolume::of(self)) else {
            return self.gone(index);
        };
        let key = self.name_any().into_boxed_str();
        let before = index.volumes.insert(key.clone(), tenant.clone());
        let moved = before.is_some_and(|before| before != tenant);
        if moved {
            index.sweep(|around| around.volumes.remove(&key).is_none());
        }
        let stamp = (facts::version(&self.metadata), epoch);
        let changed = note(&mut index.around(&tenant).volumes, key, live, stamp);
        if moved {
            // Given to another tenant: rare enough that all may look.
            return Concerns::Everyone;
        }
        alone(changed, tenant)
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        let key = self.name_any().into_boxed_str();
        let Some(tenant) = index.volumes.remove(&key) else {
            return Concerns::Nobody;
        };
        let version = facts::version(&self.metadata);
        let changed = forget(&mut index.around(&tenant).volumes, &key, version);
        index.forget_empty(&tenant);
        alone(changed, tenant)
    }

    fn swept(index: &mut Index, epoch: u32, _: Option<&str>) -> Concerns {
        let swept = index.sweep(|around| keep_listed(&mut around.volumes, epoch, |_| true));
        let Index {
            volumes, tenants, ..
        } = index;
        volumes.retain(|name, tenant| {
            let around = tenants.get(tenant);
            around.is_some_and(|around| around.volumes.contains_key(name))
        });
        swept
    }
}
