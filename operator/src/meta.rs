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

/// Makes the object of this name and identity the controller of another one, which goes with
/// it, and blocks nothing: the permission to block an owner's deletion (`finalizers`
/// subresource) is one that we need not hold.
pub fn controller<K: Resource<DynamicType = ()>>(name: &str, uid: Uid) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: uid.to_string(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

impl Owner {
    /// Metadata of a child.
    pub fn child(&self, namespace: Option<&str>, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(ToOwned::to_owned),
            labels: Some(self.labels()),
            owner_references: Some(vec![controller::<Tenant>(&self.tenant, self.uid)]),
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
