//! The Secret that the authority is kept in: read, and made or rotated where that is due.
//!
//! Only the leader comes here. Whoever finds that another one wrote first reads again: there
//! is one authority, or none.

use crds::well_known::{DISPATCH, MANAGED_BY_LABEL, MANAGER, SYSTEM_NAMESPACE};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client};

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
/// [`Error::Read`], [`Error::Write`] if the server refuses, [`Error::Raced`] if others keep
/// writing.
pub async fn settle(client: &Client, now: Timestamp) -> Result<Content, Error> {
    let secrets = Api::<Secret>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    for _ in 0..ATTEMPTS {
        let found = secrets.get_opt(DISPATCH).await;
        let found = found.map_err(|error| Error::Read(Box::new(error)))?;
        let content = found.as_ref().and_then(content);
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

/// What a Secret holds. One that holds something else is written over: sandboxes that believed
/// in it cannot be answered anyway.
fn content(secret: &Secret) -> Option<Content> {
    let data = secret.data.as_ref()?;
    Content::read(data)
        .inspect_err(|error| tracing::warn!(%error, "Secret {DISPATCH} is made anew"))
        .ok()
}

async fn write(client: &Client, found: Option<Secret>, content: &Content) -> Result<bool, Error> {
    let data = Some(content.entries());
    let written = match found {
        Some(found) => apply::replace_secret(client, &Secret { data, ..found }).await,
        None => {
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
            apply::create_secret(client, &secret).await
        }
    };
    Ok(written?)
}
