//! The writes to a Secret of Cloister's own.
//!
//! Not applied server-side: what is in it is made of random numbers, so that two who made it
//! at once must not both believe that theirs stands. One of them is told no, and reads.

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Resource, ResourceExt};

use super::{api, failed, object::as_us};
use crate::error::Error;

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
