//! What Cloister answers about a Tenant: status, conditions and the closed list of reasons.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{closed_list, condition::Condition};

/// What Cloister last saw of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The tenant's namespace, once it is the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Conditions by type: `Ready`, `IsolationVerified`, `AccessEnforced`, `ResidencyCompliant`.
    #[serde(default)]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
    /// What the probes saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationStatus>,
}

/// What the probes of a tenant saw, the newest of each node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IsolationStatus {
    /// Digest of the policies and the runtime that the evidence is about. Evidence about
    /// another boundary than today's counts for nothing.
    pub boundary: String,
    /// The newest evidence of each node, newest first, at most 16.
    #[schemars(length(max = 16))]
    pub evidence: Vec<Evidence>,
    /// Everything the newest probe looked at.
    // Many tenants have the same: who holds thousands of them can hold it once.
    #[serde(deserialize_with = "shared", serialize_with = "each")]
    #[schemars(with = "Vec<CheckStatus>", length(max = 64))]
    pub checks: Arc<[CheckStatus]>,
}

fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[CheckStatus]>, D::Error> {
    Vec::deserialize(from).map(Into::into)
}

fn each<S: Serializer>(checks: &[CheckStatus], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(checks)
}

/// What one probe concluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Node the probe ran on, or should have.
    pub node: String,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// UID of the probe pod.
    pub probe: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The first thing that was not as it must be; empty when proven.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub fault: String,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Everything was as it must be.
    Proven,
    /// Something that must be shut was open.
    Breached,
    /// The probe could not tell.
    Inconclusive,
}

/// One thing that a probe looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// Which promise.
    pub check: String,
    /// What was dialled or looked at.
    pub target: String,
    /// What must be seen.
    pub expected: String,
    /// What was seen.
    pub saw: String,
}

closed_list! {
    /// Condition types of a Tenant, all of positive polarity.
    TenantCondition {
        /// The boundary is in place and nothing about it is known to be broken. True says
        /// nothing about proof: that is `IsolationVerified`.
        Ready,
        /// A probe has lately looked from inside and found everything shut that must be,
        /// with the network working.
        IsolationVerified,
        /// Exactly the members have rights in the namespace, by the roles of the spec.
        AccessEnforced,
        /// Every pod is on a node that the residency allows.
        ResidencyCompliant,
    }
}

closed_list! {
    /// Reasons of a Tenant's conditions.
    TenantReason {
        /// Everything is in place.
        Provisioned,
        /// In place, and by `spec.state` nothing new starts.
        Suspended,
        /// The spec contradicts itself or the cluster; the message names field and remedy.
        InvalidSpec,
        /// A namespace of the tenant's name exists and is not the tenant's. Rename one of them.
        NamespaceTaken,
        /// An object with a name that Cloister needs exists and is not Cloister's. Remove it.
        ForeignObject,
        /// The API server could not be asked or refused; the message holds its words. Retried.
        ApiError,
        /// The tenant is being removed; the message says what is left.
        Terminating,
        /// The Tenant is marked for deletion, but `deletionPolicy` is Retain. Set Purge.
        DeletionRefused,
        /// A condition below is False; look there.
        Degraded,

        /// A probe saw what it must, and nothing that it must not.
        Proven,
        /// No probe of today's boundary has reported yet. Wait.
        ProbePending,
        /// The last probe could not tell; the message says why.
        ProbeInconclusive,
        /// The last proof is older than its limit.
        EvidenceStale,
        /// A probe reached what it must not, or found itself less confined than it must be.
        Breached,
        /// A policy of Cloister's is not what it must be. It is being repaired.
        PolicyNotInForce,
        /// A pod of the namespace is not selected by the policy that denies by default.
        PodNotCovered,
        /// A pod runs on the node's kernel, where the spec asks for gVisor. Delete it.
        PodNotConfined,
        /// A policy that is not Cloister's lets something through. Remove it.
        WidenedByOthers,

        /// The bindings are those of the spec, and there are no others.
        BindingsInForce,
        /// A role binding in the namespace is not Cloister's. Remove it.
        ForeignBinding,

        /// Every pod is where it may be, and every volume, as far as it says.
        Compliant,
        /// The spec names no residency.
        Unrestricted,
        /// A pod is on a node outside the residency.
        PodOutside,
        /// A volume of a claim lies outside the residency, and no pod does.
        VolumeOutside,
        /// No node is where the residency says. Correct it, or add nodes.
        NoSuchPlace,
    }
}
