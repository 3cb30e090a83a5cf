//! A look at the server itself, for the steps that cannot be taken back: a watch may not
//! have brought yet what this operator, or the leader before it, has just made.

use std::fmt::Debug;

use crds::Execution;
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

/// Executions of a namespace that one request may bring.
const AT_ONCE: u32 = 200;

/// What `take` makes of the Executions of a namespace, as the server has them now.
///
/// # Errors
/// [`Error::Write`] if the server does not answer.
pub async fn executions<T>(
    client: &Client,
    namespace: &str,
    take: impl Fn(&Execution) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let meta = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    let executions = api::<Execution>(client, &meta);
    let mut taken = Vec::new();
    let mut page = ListParams::default().limit(AT_ONCE);
    loop {
        let found = executions.list(&page).await;
        let found = found.map_err(|source| failed::<Execution>("look for", namespace, source))?;
        taken.extend(found.items.iter().filter_map(&take));
        match found.metadata.continue_ {
            Some(next) if !next.is_empty() => page = page.continue_token(&next),
            _ => return Ok(taken),
        }
    }
}
