//! Writes to one object that is there: its end, its finalizers, its status. Each names the
//! UID it means.

use std::fmt::Debug;

use crds::well_known::MANAGER;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{ScopeApi, api, failed, overwriting};
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
    end::<K>(client, meta, uid, grace_seconds).await.map(drop)
}

/// The same; says whether it is gone already. One with a finalizer is not.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn end<K>(
    client: &Client,
    meta: &ObjectMeta,
    uid: Uid,
    grace_seconds: Option<u32>,
) -> Result<bool, Error>
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
        Ok(answer) => Ok(answer.is_right()),
        // Gone, or another object by now: either way not the one we meant.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(true),
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

/// Writes the status of `object`, whole, if it is still the object with that UID, and, if that is to
/// be `exact`, of that version.
///
/// # Errors
/// [`Error::Write`] if the server refuses. An object that is gone needs no status.
pub async fn status<K>(
    client: &Client,
    object: &K,
    status: &impl Serialize,
    exact: bool,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let mut body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"uid": object.meta().uid},
        "status": status,
    });
    if exact {
        body["metadata"]["resourceVersion"] = json!(object.meta().resource_version);
    }
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

/// One object that a write means.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its identity: another one of that name is not meant.
    pub uid: Uid,
}

impl Target<'_> {
    fn meta(&self) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(self.namespace.to_owned()),
            name: Some(self.name.to_owned()),
            ..ObjectMeta::default()
        }
    }
}

/// Makes `after` of the status that was `before`, if the object still is at the version that
/// it was then. A merge, which costs the server a quarter less than an apply.
///
/// # Errors
/// [`Error::Write`] if the server refuses, also because the object has changed or is gone.
pub async fn status_at<K>(
    client: &Client,
    target: Target<'_>,
    version: u64,
    (before, after): (&impl Serialize, &impl Serialize),
) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let body = json!({
        "metadata": {"uid": target.uid.to_string(), "resourceVersion": version.to_string()},
        "status": overwriting(&json!(before), &json!(after)),
    });
    merge_status(client, target, &body).await
}

/// Writes a status of which every field is always there, whatever version the object has.
///
/// # Errors
/// [`Error::Write`] if the server refuses, also because the object is gone.
pub async fn status_of<K>(
    client: &Client,
    target: Target<'_>,
    status: &impl Serialize,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let body = json!({"metadata": {"uid": target.uid.to_string()}, "status": status});
    merge_status::<K>(client, target, &body).await.map(drop)
}

async fn merge_status<K>(
    client: &Client,
    target: Target<'_>,
    body: &serde_json::Value,
) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api::<K>(client, &target.meta())
        .patch_status(target.name, &parameters, &Patch::Merge(body))
        .await
        .map_err(|source| failed::<K>("write the status of", target.name, source))
}

/// Deletes one object, if it is still the one with this UID. One that is gone is fine.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn remove<K>(
    client: &Client,
    target: Target<'_>,
    grace_seconds: Option<u32>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    delete::<K>(client, &target.meta(), target.uid, grace_seconds).await
}

/// Asks a pod to end, if it is still the one with this UID, as a drain does: its disruption budget
/// may hold it. Says why it stays, if it does; one that is gone is fine.
///
/// # Errors
/// [`Error::Write`] if the server does not answer.
pub async fn evict(client: &Client, target: Target<'_>) -> Result<Option<String>, Error> {
    // Not by `Api::evict`: it misspells the field that the identity is in (kube 5.0.0).
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": target.meta(),
        "deleteOptions": {"preconditions": {"uid": target.uid.to_string()}},
    });
    let (pods, parameters) = (api::<Pod>(client, &target.meta()), PostParams::default());
    let asked = pods.create_subresource::<_, serde_json::Value>(
        "eviction",
        target.name,
        &parameters,
        &eviction,
    );
    match asked.await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(None),
        // The budget's, or admission's of a server that has not heard of the Drill yet.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 429) => {
            Ok(Some(status.message.clone()))
        }
        Err(source) => Err(failed::<Pod>("evict", target.name, source)),
    }
}

/// Creates an object. Nothing, if one of its name is there.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn create<K>(client: &Client, object: &K) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    match api::<K>(client, object.meta())
        .create(&as_us(), object)
        .await
    {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
        Err(source) => Err(failed::<K>("create", &object.name_any(), source)),
    }
}

/// Makes a sandbox.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn sandbox(client: &Client, pod: &Pod) -> Result<Pod, Error> {
    api::<Pod>(client, &pod.metadata)
        .create(&as_us(), pod)
        .await
        .map_err(|source| failed::<Pod>("create", &pod.name_any(), source))
}

pub(super) fn as_us() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}
