//! What is kept of each object that the watches bring, and nothing more.
//!
//! A tenant has some fifteen children, and there may be ten thousand tenants: whole
//! objects would fill the memory limit many times over. So each object is read once,
//! boiled down to the few facts a decision needs, and dropped.

mod drill;
mod integration;
mod node;
mod pod;
mod policy;
mod storage;
mod worker;
mod workload;

use std::{collections::BTreeMap, fmt, net::IpAddr, net::SocketAddr, num::NonZero};

use crds::{
    digest::{self, Fingerprint},
    well_known::MANAGER,
};
use k8s_openapi::{
    api::{
        core::v1::{LimitRange, Namespace, ResourceQuota, ServiceAccount},
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use self::{
    drill::{LiveDrill, Loss, Taking},
    integration::LiveIntegration,
    node::LiveNode,
    pod::{
        BOUNDARY_ANNOTATION, DECOYS_ANNOTATION, LivePod, LiveProbe, NODE_ANNOTATION, REQUEST_OPTION,
    },
    policy::{LivePolicy, PolicyTerms},
    storage::{LiveClass, LiveVolume, Reach},
    worker::{LiveReplica, LiveWorker, LiveWorkload, REVISION_LABEL, SUPERVISED, Trouble},
};

/// Identity of an object for ever: two objects never share one. A UUID, packed in two halves, of which
/// the lower begins with its variant (RFC 9562, 4.1) and is never zero, so that an optional one takes no
/// more memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(u64, NonZero<u64>);

impl Uid {
    /// The UID of this object; objects of the API server always have one.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::parse(meta.uid.as_deref().unwrap_or_default())
    }

    /// Reads a UUID. Any other text gets a fingerprint, so that it still equals only itself.
    pub fn parse(text: &str) -> Self {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let packed = |number| {
            let (high, low) = digest::halves(number);
            NonZero::new(low).map(|low| Self(high, low))
        };
        let number = u128::from_str_radix(&digits, 16).ok();
        number
            .and_then(packed)
            .or_else(|| packed(digest::number(&text)))
            .unwrap_or(Self(u64::MAX, NonZero::<u64>::MAX))
    }

    /// A number below `count` that is this object's for ever, evenly spread over objects.
    pub fn spread(self, count: usize) -> usize {
        let mixed = digest::number(&self.to_string()) >> 64;
        usize::try_from(mixed % count.max(1) as u128).unwrap_or_default()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:016x}{:016x}", self.0, self.1);
        let groups = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        formatter.write_str(&groups.join("-"))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The kinds that a tenant's boundary, and its Workers, are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    /// Cluster-scoped, named after the tenant.
    Namespace,
    /// In the tenant's namespace.
    NetworkPolicy,
    /// In the tenant's namespace.
    ResourceQuota,
    /// In the tenant's namespace.
    LimitRange,
    /// In the tenant's namespace.
    ServiceAccount,
    /// In the tenant's namespace.
    RoleBinding,
    /// Cluster-scoped, named after the tenant.
    ClusterRole,
    /// Cluster-scoped, named after the tenant.
    ClusterRoleBinding,
    /// In the tenant's namespace, of a Worker.
    Deployment,
    /// In the tenant's namespace, of a Worker with volumes.
    StatefulSet,
    /// In the tenant's namespace, of a Worker.
    PodDisruptionBudget,
}

impl ChildKind {
    /// As in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ResourceQuota => "ResourceQuota",
            Self::LimitRange => "LimitRange",
            Self::ServiceAccount => "ServiceAccount",
            Self::RoleBinding => "RoleBinding",
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
        }
    }
}

/// A kind that Cloister makes for a tenant and keeps as it made it.
pub trait Child:
    Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Serialize + Send + Sync
{
    /// Which of the kinds.
    const KIND: ChildKind;
    /// Fields at the top of the object that hold what [`Child::governed`] looks at.
    const CONTENT: &'static [&'static str];
    /// Fields that can never be changed back, of a kind that may be deleted and made again
    /// for them: for that moment there are fewer rights, or no quota. As the API server
    /// names them.
    const FIXED: &'static [&'static str] = &[];

    /// Everything about the object that must stay as Cloister wrote it, apart from labels,
    /// annotations and owner. Written in the server's own canonical form, so that what was
    /// written and what is read compare equal.
    fn governed(&self) -> Value;

    /// Nobody short of a cluster admin may change the object as it is now, and it may be
    /// deleted and made again.
    fn locked(&self) -> bool {
        false
    }

    /// Fingerprint of [`Child::governed`] and of the metadata that is Cloister's.
    fn fingerprint(&self) -> Fingerprint {
        let meta = self.meta();
        let ours = |map: &Option<BTreeMap<String, String>>| -> BTreeMap<String, String> {
            map.iter()
                .flatten()
                .filter(|(key, _)| is_ours(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        Fingerprint::of(&json!({
            "labels": ours(&meta.labels),
            "annotations": ours(&meta.annotations),
            "owner": controller(meta).map(|uid| uid.to_string()),
            "content": self.governed(),
        }))
    }
}

/// Whether a label or annotation is Cloister's to set.
pub fn is_ours(key: &str) -> bool {
    key.starts_with("cloister.dev/")
        || key.starts_with("pod-security.kubernetes.io/")
        || key == crds::well_known::MANAGED_BY_LABEL
}

impl Child for Namespace {
    const KIND: ChildKind = ChildKind::Namespace;
    const CONTENT: &'static [&'static str] = &[];
    fn governed(&self) -> Value {
        Value::Null
    }
}

impl Child for NetworkPolicy {
    const KIND: ChildKind = ChildKind::NetworkPolicy;
    const CONTENT: &'static [&'static str] = &["spec"];
    fn governed(&self) -> Value {
        json!(self.spec)
    }
}

impl Child for ResourceQuota {
    const KIND: ChildKind = ChildKind::ResourceQuota;
    const CONTENT: &'static [&'static str] = &["spec"];
    /// The second is named where the object counts what no quota of that scope may, which stays when the
    /// scope is put back.
    const FIXED: &'static [&'static str] = &["spec.scopes", "spec.scopeSelector.matchExpressions"];
    fn governed(&self) -> Value {
        json!(self.spec)
    }
}

impl Child for LimitRange {
    const KIND: ChildKind = ChildKind::LimitRange;
    const CONTENT: &'static [&'static str] = &["spec"];
    fn governed(&self) -> Value {
        json!(self.spec)
    }
}

impl Child for ServiceAccount {
    const KIND: ChildKind = ChildKind::ServiceAccount;
    const CONTENT: &'static [&'static str] = &["automountServiceAccountToken"];
    fn governed(&self) -> Value {
        json!(self.automount_service_account_token)
    }
}

impl Child for RoleBinding {
    const KIND: ChildKind = ChildKind::RoleBinding;
    const CONTENT: &'static [&'static str] = &["subjects"];
    const FIXED: &'static [&'static str] = &["roleRef"];
    fn governed(&self) -> Value {
        json!([self.role_ref, self.subjects])
    }
}

impl Child for ClusterRole {
    const KIND: ChildKind = ChildKind::ClusterRole;
    const CONTENT: &'static [&'static str] = &["rules", "aggregationRule"];
    fn governed(&self) -> Value {
        json!([self.rules, self.aggregation_rule])
    }
    /// An aggregate can come to hold any right, so only who has all may write one.
    fn locked(&self) -> bool {
        self.aggregation_rule.is_some()
    }
}

impl Child for ClusterRoleBinding {
    const KIND: ChildKind = ChildKind::ClusterRoleBinding;
    const CONTENT: &'static [&'static str] = &["subjects"];
    const FIXED: &'static [&'static str] = &["roleRef"];
    fn governed(&self) -> Value {
        json!([self.role_ref, self.subjects])
    }
}

/// UID of the controller that an object names as its owner.
pub fn controller(meta: &ObjectMeta) -> Option<Uid> {
    let mut owners = meta.owner_references.iter().flatten();
    owners
        .find(|owner| owner.controller == Some(true))
        .map(|owner| Uid::parse(&owner.uid))
}

/// What is kept of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveChild {
    /// Its identity.
    pub uid: Uid,
    /// Whose it is.
    pub owner: Option<Uid>,
    /// What it says; see [`Child::fingerprint`].
    pub fingerprint: Fingerprint,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// It cannot be changed as it is; see [`Child::locked`].
    pub locked: bool,
    /// Field manager of the newest change that was not Cloister's.
    pub changed_by: Option<Box<str>>,
}

impl LiveChild {
    /// Boils an object down.
    pub fn of<K: Child>(object: &K) -> Self {
        let meta = object.meta();
        Self {
            uid: Uid::of(meta),
            owner: controller(meta),
            fingerprint: object.fingerprint(),
            deleting: meta.deletion_timestamp.is_some(),
            locked: object.locked(),
            changed_by: changed_by(meta),
        }
    }
}

/// `metadata.resourceVersion`, by which an older answer is told from a newer one: the number
/// it is on every API server with etcd (KEP-5504).
pub fn version(meta: &ObjectMeta) -> u64 {
    let version = meta.resource_version.as_deref().unwrap_or_default();
    version.parse().unwrap_or_default()
}

/// The newest foreign entry of `metadata.managedFields`, status aside.
fn changed_by(meta: &ObjectMeta) -> Option<Box<str>> {
    meta.managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.is_none())
        .filter(|entry| entry.manager.as_deref() != Some(MANAGER))
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
        .and_then(|entry| entry.manager.as_deref().map(Into::into))
}

/// What every tenant shares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// By name.
    pub nodes: BTreeMap<String, LiveNode>,
    /// Addresses the API server listens on.
    pub api_servers: Vec<SocketAddr>,
    /// Ready pods of the canary.
    pub canaries: Vec<IpAddr>,
    /// Ready pods of the decoy.
    pub decoys: Vec<IpAddr>,
    /// Fingerprint of the slices that say so, with their versions. While that is the same,
    /// nobody has seen one of the pods not ready.
    pub decoys_version: u64,
    /// The runtime classes, and the bytes of memory that each pod of one has beside its containers'.
    pub runtime_classes: BTreeMap<String, u64>,
    /// What volumes are made by, by name.
    pub storage_classes: BTreeMap<String, LiveClass>,
}

impl Cluster {
    /// Whether the API server listens on this `address:port`.
    pub fn has_api_server(&self, address: &str) -> bool {
        self.api_servers
            .iter()
            .any(|one| one.to_string() == address)
    }

    /// The class of a claim that names this one, or none: then the newest of the defaults, and of
    /// two that are as new the first by name, as the API server has it.
    pub fn storage_class(&self, name: Option<&str>) -> Option<(&str, &LiveClass)> {
        let classes = self.storage_classes.iter();
        let mut classes = classes.map(|(name, class)| (name.as_str(), class));
        match name {
            Some(name) => classes.find(|(held, _)| *held == name),
            None => classes
                .filter(|(_, class)| class.is_default)
                .min_by_key(|(name, class)| (std::cmp::Reverse(class.created), *name)),
        }
    }
}
