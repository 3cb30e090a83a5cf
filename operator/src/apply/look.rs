//! A look at the server itself, for the steps that cannot be taken back: a watch may not
//! have brought yet what this operator, or the leader before it, has just made.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::{ScopeApi, api, failed};
use crate::{
    error::Error,
    world::facts::{self, Uid},
};

/// Whether the server holds the object of this name with this controller. Asked as a list
/// of one, because the right to list is what the watches need anyway.
///
/// # Errors
/// [`Error::Write`] if the server does not answer.
pub async fn holds<K>(client: &Client, meta: &ObjectMeta, owner: Uid) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>> + Clone + Debug + DeserializeOwned,
{
    let name = meta.name.as_deref().unwrap_or_default();
    let this = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = api::<K>(client, meta).list_metadata(&this).await;
    let found = found.map_err(|source| failed::<K>("look for", name, source))?;
    let mut found = found.items.iter();
    Ok(found.any(|one| facts::controller(&one.metadata) == Some(owner)))
}
