//! The quota that shows what Kubernetes counts.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{Client, ResourceExt};

use super::{api, failed, secret::as_us};
use crate::error::Error;

/// Makes `quota`, if there is none of its name.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn make_quota(client: &Client, quota: &ResourceQuota) -> Result<(), Error> {
    match api(client, &quota.metadata).create(&as_us(), quota).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(source) => Err(failed::<ResourceQuota>("create", &quota.name_any(), source)),
    }
}
