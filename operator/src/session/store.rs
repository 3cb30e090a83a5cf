//! The Secret that the authority is kept in: read, and made or rotated where that is due.
//!
//! Only the leader comes here. Whoever finds that another one wrote first reads again: there
//! is one authority, or none.

use std::collections::BTreeMap;

use crds::well_known::{DISPATCH, MANAGED_BY_LABEL, MANAGER, SYSTEM_NAMESPACE};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, ResourceExt};

use super::{
    Error,
    content::{Content, Step, step},
};
use crate::apply;

/// How often somebody else may be first. It takes two leaders, which there are not.
const ATTEMPTS: usize = 3;

/// The authority as it is to be at this time, and as it is kept.
///
/// # Errors
/// [`Error::Read`] and [`Error::Keep`] if the server refuses, or if the Secret is somebody
/// else's; [`Error::Raced`] if others keep writing it.
pub async fn settle(client: &Client, now: Timestamp) -> Result<Content, Error> {
    let secrets = Api::<Secret>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    for _ in 0..ATTEMPTS {
        let found = secrets.get_opt(DISPATCH).await;
        let found = found.map_err(|error| Error::Read(Box::new(error)))?;
        let content = found.as_ref().map(content).transpose()?.flatten();
        let next = match (step(content.as_ref(), now), content) {
            (Step::Keep, Some(content)) => return Ok(content),
            (Step::Rotate, Some(content)) => content.rotated(now)?,
            (Step::Make, _) | (Step::Keep | Step::Rotate, None) => Content::new(now)?,
        };
        if write(client, found, &next).await? {
            tracing::info!(until = %next.authority.life.until, "new authority of sandbox sessions");
            return Ok(next);
        }
    }
    Err(Error::Raced)
}

/// What a Secret holds. One of ours that holds something else is written over: sandboxes that
/// believed in it cannot be answered anyway.
fn content(secret: &Secret) -> Result<Option<Content>, Error> {
    let nothing = BTreeMap::new();
    match Content::read(secret.data.as_ref().unwrap_or(&nothing)) {
        Ok(content) => Ok(Some(content)),
        Err(error)
            if secret
                .labels()
                .get(MANAGED_BY_LABEL)
                .is_some_and(|by| by == MANAGER) =>
        {
            tracing::warn!(%error, "Secret {DISPATCH} is made anew");
            Ok(None)
        }
        Err(_) => {
            let (kind, name) = ("Secret", DISPATCH.to_owned());
            Err(Error::Keep(crate::error::Error::Foreign { kind, name }))
        }
    }
}

async fn write(client: &Client, found: Option<Secret>, content: &Content) -> Result<bool, Error> {
    let data = Some(content.entries());
    if let Some(found) = found {
        return Ok(apply::replace_secret(client, &Secret { data, ..found }).await?);
    }
    let metadata = ObjectMeta {
        name: Some(DISPATCH.to_owned()),
        namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned())].into()),
        ..ObjectMeta::default()
    };
    let secret = Secret {
        metadata,
        data,
        ..Secret::default()
    };
    Ok(apply::create(client, &secret).await?.is_some())
}
