//! Tenant: one customer, and the boundary around everything that is theirs.
//!
//! In: what a platform engineer writes. Out: the types, the CEL rules that refuse what is
//! wrong at admission, and the closed lists of conditions and reasons.

mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::status::{
    CheckStatus, Evidence, IsolationStatus, Outcome, TenantCondition, TenantReason, TenantStatus,
};
use crate::{drill::Drills, reserved};

/// One customer: who its members are, where its pods may run and what they may reach.
/// Cloister keeps a namespace `tenant-<name>` with a boundary around it, and proves in
/// status, by looking from inside, that the boundary holds.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cloister.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "cloister",
    status = "TenantStatus",
    derive = "PartialEq",
    doc = "One customer: who its members are, where its pods may run and what they may reach. \
           Cloister keeps a namespace tenant-<name> with a boundary around it, and proves in \
           status, by looking from inside, that the boundary holds.",
    printcolumn(name = "Ready", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Isolation", type_ = "string",
        json_path = ".status.conditions[?(@.type=='IsolationVerified')].status"),
    printcolumn(name = "Isolation-Reason", type_ = "string",
        json_path = ".status.conditions[?(@.type=='IsolationVerified')].reason"),
    printcolumn(name = "Since", type_ = "date",
        json_path = ".status.conditions[?(@.type=='Ready')].lastTransitionTime"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".status.namespace", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("metadata.name: at most 40 characters, because other names are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name: only a-z, 0-9 and '-', because it becomes part of a namespace's name"),
)]
#[x_kube(
    validation = Rule::new(
        "!has(self.access) || size(self.access.allowedDomains) == 0 || self.members.all(m, \
         m.kind != 'User' || self.access.allowedDomains.exists(d, m.name.endsWith('@' + d)))")
        .message("a member of kind User is not in access.allowedDomains: \
                  remove the member or allow its domain")
        .field_path(".members"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// Who belongs to the tenant, and as what. At least one Owner, at most 256 members;
    /// for more, name a Group of your identity provider.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["kind".into(), "namespace".into(), "name".into()]),
        validation = Rule::new("self.exists(m, m.role == 'Owner')")
            .message("at least one member needs the role Owner"),
    )]
    pub members: Vec<Member>,

    /// Whom the tenant may name as a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// Where the tenant's pods may run. Anywhere, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Residency>,

    /// What separates the tenant's pods from everything else.
    #[serde(default)]
    pub isolation: Isolation,

    /// The most that the tenant may have at once, of everything together.
    #[serde(default)]
    pub limits: Limits,

    /// Which Drills may run in the tenant. None, if not given.
    #[serde(default)]
    pub drills: Drills,

    /// Whether anything new may start.
    #[serde(default)]
    pub state: State,

    /// What deleting the Tenant does to what is in it.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// One member: a subject of Kubernetes RBAC, and its role.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("(self.kind == 'ServiceAccount') == (self.namespace != '')")
        .message("a ServiceAccount needs its namespace, a User or Group has none")
        .field_path(".namespace"),
    validation = Rule::new("self.kind == 'ServiceAccount' || !self.name.startsWith('system:')")
        .message("names that begin with system: belong to Kubernetes itself and cannot be members")
        .field_path(".name"),
    validation = Rule::new("!(self.namespace in ['kube-system', 'cloister-system', 'cloister-decoy'])")
        .message("the service accounts of the cluster and of Cloister cannot be members")
        .field_path(".namespace"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// Kind of the subject.
    pub kind: SubjectKind,
    /// Name, as the API server's authenticator gives it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of a `ServiceAccount`; empty for the other kinds.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// What the member may do.
    pub role: Role,
}

/// Kinds of subject, as in `rbac.authorization.k8s.io`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SubjectKind {
    /// A person, as the identity provider names them.
    User,
    /// A group of the identity provider.
    Group,
    /// A service account, for automation.
    ServiceAccount,
}

/// What a member may do. Each role may do what the ones below it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Role {
    /// Everything an Admin may, and manage Owners.
    Owner,
    /// Manage members other than Owners, and what runs in the tenant.
    Admin,
    /// See what is in the tenant.
    User,
}

/// Whom a tenant may name as a member.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// Mail domains that a member of kind User must be in, such as `example.com`.
    /// Empty allows all. Groups and `ServiceAccounts` are not looked at.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        )
    )]
    pub allowed_domains: Vec<String>,
}

/// Where pods may run, by the well-known labels of the nodes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Residency {
    /// Values of `topology.kubernetes.io/region`.
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 1, max = 63),
            regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
        )
    )]
    pub regions: Vec<String>,
    /// Values of `topology.kubernetes.io/zone`. Empty allows every zone of the regions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 63),
            regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
        )
    )]
    pub zones: Vec<String>,
}

/// What separates the tenant's pods from everything else.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// Kernel boundary of every pod.
    #[serde(default)]
    pub runtime: Runtime,
    /// The most that anything in the tenant may ever be allowed to reach outside its
    /// namespace; `spec.egress` of an Integration or a Worker opens parts of it. Opens nothing by itself.
    /// Empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub egress_ceiling: Vec<EgressRule>,
}

/// Kernel boundary of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Runtime {
    /// The node's kernel behind namespaces, seccomp and no privilege at all.
    #[default]
    Hardened,
    /// gVisor's kernel between the pod and the node's.
    GVisor,
}

impl Runtime {
    /// As in the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hardened => "Hardened",
            Self::GVisor => "GVisor",
        }
    }
}

/// Ports of a block of public addresses.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressRule {
    /// Block of public addresses. One that shares any address with a private, link-local,
    /// carrier-grade NAT, metadata or otherwise reserved range is refused.
    #[schemars(length(min = 3, max = 43))]
    #[x_kube(
        validation = Rule::new("isCIDR(self) && cidr(self) == cidr(self).masked()")
            .message("not a CIDR, or bits are set beyond its prefix; write for example 203.0.113.0/24"),
        validation = Rule::new(reserved::rule())
            .message("holds private, link-local, metadata or reserved addresses, which no tenant \
                      may reach; name blocks of public addresses only"),
    )]
    pub cidr: String,
    /// Ports of it. At least one.
    #[schemars(length(min = 1, max = 16))]
    pub ports: Vec<PortRange>,
}

/// One port, or a range of them.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.endPort) || self.endPort >= self.port")
        .message("endPort must not be below port").field_path(".endPort"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRange {
    /// First port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Last port. The first, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
    /// Transport.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Transport protocol, as Kubernetes spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// RFC 9293.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// RFC 768.
    #[serde(rename = "UDP")]
    Udp,
}

/// The most of everything that a tenant may have at once.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Pods. Probes of Cloister's do not count.
    #[serde(default = "Limits::default_pods")]
    #[schemars(range(min = 1, max = 10_000))]
    pub pods: i32,
    /// Execution objects in the namespace, finished ones that are still kept included.
    #[serde(default = "Limits::default_executions")]
    #[schemars(range(min = 1, max = 100_000))]
    pub executions: i32,
    /// Cores, summed over the limits of all pods: `500m`, `4`.
    #[serde(default = "Limits::default_cpu")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('10m')) >= 0 \
                                && quantity(self).compareTo(quantity('10000')) <= 0")
            .message("must be a quantity from 10m to 10000, such as 500m or 4"),
    )]
    pub cpu: String,
    /// Bytes, summed over the limits of all pods: `512Mi`, `16Gi`.
    #[serde(default = "Limits::default_memory")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('16Mi')) >= 0 \
                                && quantity(self).compareTo(quantity('1Pi')) <= 0")
            .message("must be a quantity from 16Mi to 1Pi, such as 512Mi or 16Gi"),
    )]
    pub memory: String,
    /// Bytes, summed over all volume claims: `100Gi`.
    #[serde(default = "Limits::default_storage")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('0')) >= 0 \
                                && quantity(self).compareTo(quantity('100Pi')) <= 0")
            .message("must be a quantity from 0 to 100Pi, such as 100Gi"),
    )]
    pub storage: String,
}

impl Limits {
    const fn default_pods() -> i32 {
        50
    }
    const fn default_executions() -> i32 {
        1000
    }
    fn default_cpu() -> String {
        "8".to_owned()
    }
    fn default_memory() -> String {
        "16Gi".to_owned()
    }
    fn default_storage() -> String {
        "100Gi".to_owned()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pods: Self::default_pods(),
            executions: Self::default_executions(),
            cpu: Self::default_cpu(),
            memory: Self::default_memory(),
            storage: Self::default_storage(),
        }
    }
}

/// Whether anything new may start in a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// Yes.
    #[default]
    Active,
    /// No. What runs goes on, and members may only look.
    Suspended,
}

impl State {
    /// As in the spec, and as in the label of the namespace.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Suspended => "Suspended",
        }
    }
}

/// What deleting a Tenant does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Deletion is refused.
    #[default]
    Retain,
    /// The namespace goes, with everything in it.
    Purge,
}
