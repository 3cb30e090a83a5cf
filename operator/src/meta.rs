//! Labels and owner of everything that Cloister makes → `ObjectMeta`.

use std::collections::BTreeMap;

use crds::{Tenant, well_known};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::world::facts::Uid;

/// Whom an object is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the Tenant.
    pub tenant: String,
    /// Its UID.
    pub uid: Uid,
}

impl Owner {
    /// Metadata of a child. It goes with its owner, and blocks nothing: the permission to
    /// block an owner's deletion (`finalizers` subresource) is one that we need not hold.
    pub fn child(&self, namespace: Option<&str>, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(ToOwned::to_owned),
            labels: Some(self.labels()),
            owner_references: Some(vec![OwnerReference {
                api_version: Tenant::api_version(&()).into_owned(),
                kind: Tenant::kind(&()).into_owned(),
                name: self.tenant.clone(),
                uid: self.uid.to_string(),
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        }
    }

    /// Labels of everything of a tenant.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (well_known::MANAGED_BY_LABEL, well_known::MANAGER),
            (well_known::TENANT_LABEL, self.tenant.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}
