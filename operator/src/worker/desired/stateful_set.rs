//! The `StatefulSet` of a Worker with volumes: a claim for each replica, and how a new version takes
//! over.
//!
//! It names a Service, as it has to, and there is none of that name, nor may there be: nothing dials
//! a Worker. The controller asks for none, and the names that it would give are nobody's.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet,
            StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
            StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{
    HISTORY,
    pod::{child, selector, template},
};
use crate::{
    names,
    worker::{validate::ValidWorker, volumes::Volume},
};

/// The `StatefulSet`, of pods that were told of these API servers.
///
/// Replicas come and go together (`Parallel`): none waits for one whose zone is lost. A new version
/// takes over one by one, from the highest number down, each in its place once the one before is
/// ready. Claims go with the Worker, and stay when it is scaled down or suspended: what is in them is
/// the tenant's, and only it can say that it is not wanted any more.
pub fn stateful_set(valid: &ValidWorker, api_servers: &[String]) -> StatefulSet {
    let terms = &valid.terms;
    let kept = StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some("Delete".to_owned()),
        when_scaled: Some("Retain".to_owned()),
    };
    StatefulSet {
        metadata: child(valid),
        spec: Some(StatefulSetSpec {
            persistent_volume_claim_retention_policy: Some(kept),
            pod_management_policy: Some("Parallel".to_owned()),
            replicas: Some(terms.replicas),
            revision_history_limit: Some(HISTORY),
            selector: selector(valid),
            service_name: Some(names::worker(&valid.name)),
            template: template(valid, api_servers),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(0),
                    max_unavailable: None,
                }),
            }),
            volume_claim_templates: Some(terms.volumes.iter().map(claim).collect()),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// What each replica claims: a new volume, and nobody's old one.
fn claim(volume: &Volume) -> PersistentVolumeClaim {
    let size = Quantity(volume.size.to_string());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(volume.name.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                limits: None,
            }),
            storage_class_name: volume.class.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
