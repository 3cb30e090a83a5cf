//! Writes to one object that is there: its end, its finalizers, its status. Each names the
//! UID it means.

use std::fmt::Debug;

use crds::well_known::MANAGER;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{ScopeApi, api, failed};
use crate::{error::Error, world::facts::Uid};

/// Deletes one object, if it is still the one with this UID. One that is gone is fine.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn delete<K>(
    client: &Client,
    meta: &ObjectMeta,
    uid: Uid,
    grace_seconds: Option<u32>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let name = meta.name.as_deref().unwrap_or_default();
    let parameters = DeleteParams {
        grace_period_seconds: grace_seconds,
        preconditions: Some(Preconditions {
            uid: Some(uid.to_string()),
            ..Preconditions::default()
        }),
        ..DeleteParams::background()
    };
    match api::<K>(client, meta).delete(name, &parameters).await {
        Ok(_) => Ok(()),
        // Gone, or another object by now: either way not the one we meant.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(failed::<K>("delete", name, source)),
    }
}

/// Takes the finalizers of others off a pod that will not go by itself.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn release_pod(client: &Client, meta: &ObjectMeta, uid: Uid) -> Result<(), Error> {
    let name = meta.name.as_deref().unwrap_or_default();
    let body = json!({"metadata": {"uid": uid.to_string(), "finalizers": null}});
    let patched = api::<Pod>(client, meta)
        .patch(name, &PatchParams::default(), &Patch::Merge(body))
        .await;
    match patched {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(failed::<Pod>("release", name, source)),
    }
}

/// Puts a finalizer on `object`, or takes it off, if nobody changed the list meanwhile.
///
/// # Errors
/// [`Error::Write`] if the server refuses, also because the list has changed.
pub async fn finalizer<K>(
    client: &Client,
    object: &K,
    finalizer: &str,
    present: bool,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let mut list = object.finalizers().to_vec();
    list.retain(|held| held != finalizer);
    if present {
        list.push(finalizer.to_owned());
    }
    let body = json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": list,
    }});
    let patched = api::<K>(client, meta)
        .patch(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(body),
        )
        .await;
    match patched {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() && !present => Ok(()),
        Err(source) => Err(failed::<K>(
            "change the finalizers of",
            &object.name_any(),
            source,
        )),
    }
}

/// Writes the status of `object`, whole, if it is still the object with that UID.
///
/// # Errors
/// [`Error::Write`] if the server refuses. An object that is gone needs no status.
pub async fn status<K>(client: &Client, object: &K, status: &impl Serialize) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"uid": object.meta().uid},
        "status": status,
    });
    let patched = api::<K>(client, object.meta())
        .patch_status(
            &object.name_any(),
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(body),
        )
        .await;
    match patched {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.is_not_found() => Ok(()),
        Err(source) => Err(failed::<K>(
            "write the status of",
            &object.name_any(),
            source,
        )),
    }
}
