//! The writes to a Secret of Cloister's own.
//!
//! Not applied server-side: what is in it is made of random numbers, so that two who made it
//! at once must not both believe that theirs stands. One of them is told no, and reads.

use crds::well_known::MANAGER;
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Resource, ResourceExt, api::PostParams};

use super::{api, failed};
use crate::error::Error;

/// Makes `secret`. Says whether it did: the name may be taken.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn create_secret(client: &Client, secret: &Secret) -> Result<bool, Error> {
    match api(client, secret.meta()).create(&as_us(), secret).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(source) => Err(failed::<Secret>("create", &secret.name_any(), source)),
    }
}

/// Writes `secret` over the one whose version it carries. Says whether it did: that one may
/// be gone, or changed.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn replace_secret(client: &Client, secret: &Secret) -> Result<bool, Error> {
    let name = secret.name_any();
    match api(client, secret.meta())
        .replace(&name, &as_us(), secret)
        .await
    {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(source) => Err(failed::<Secret>("replace", &name, source)),
    }
}

pub(super) fn as_us() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}
