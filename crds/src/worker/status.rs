//! What Cloister answers about a Worker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{closed_list, condition::Condition};

/// What Cloister last saw of a Worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods that there are, ready or not; what an autoscaler reads.
    #[serde(default)]
    pub replicas: i32,
    /// Those of them that are ready: proven lately, with the command running.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Those of them that are of the newest version.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Ready and wanted, for people: `2/3`.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ready: String,
    /// Zones and how many are ready in each, for people: `zone-a:1,zone-b:1`.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub spread: String,
    /// Selects the pods, in the syntax of `kubectl get -l`; what an autoscaler reads.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub selector: String,
    /// How many must be left when a zone is lost: as in the spec, or by default.
    #[serde(default)]
    pub min_available: i32,
    /// What runs where, by zone; those that could hold some too, at most 64.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub zones: Vec<ZoneStatus>,
    /// Conditions by type: `Ready`, `ZoneRedundant`, `IsolationVerified`.
    #[serde(default)]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
}

/// What runs in one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneStatus {
    /// Value of `topology.kubernetes.io/zone`; empty for nodes without one.
    #[schemars(length(max = 63))]
    pub zone: String,
    /// Pods on its nodes that have not ended.
    pub running: i32,
    /// Those of them that are proven lately, with the command running.
    pub ready: i32,
    /// Nodes of it that could take one now.
    pub nodes: i32,
}

closed_list! {
    /// Condition types of a Worker, all of positive polarity.
    WorkerCondition {
        /// As many as were asked for are ready, all of the newest version.
        Ready,
        /// The loss of any one zone, as things are now, leaves `minAvailable`.
        ZoneRedundant,
        /// What the Tenant says of its isolation.
        IsolationVerified,
    }
}

closed_list! {
    /// Reasons of a Worker's conditions.
    WorkerReason {
        /// All are ready.
        Running,
        /// Some are on their way, and nothing is known to be in theirs.
        Progressing,
        /// A new version does not come up, and the old one serves on; the message holds the
        /// API's own words. Correct the spec.
        RolloutBlocked,
        /// Fewer are ready than were asked for; the message says what the API or the kubelet says.
        Unavailable,
        /// No node takes one: the message holds the scheduler's words.
        Unschedulable,
        /// By `spec.suspend` none run.
        Suspended,
        /// The Tenant is not Active: nothing new starts, and what runs goes on. Set its
        /// `spec.state` to Active.
        TenantSuspended,
        /// The spec contradicts itself, the tenant or the cluster; the message names field and
        /// remedy.
        InvalidSpec,
        /// What `spec.egress` names is not within the Tenant's `spec.isolation.egressCeiling`, or
        /// holds addresses of the cluster; the message names entry and remedy.
        EgressBeyondCeiling,
        /// The Worker's network policy is not what it must be. It is being set right.
        PolicyNotInForce,
        /// The namespace is not a tenant's. Create the Worker in a tenant's namespace.
        NoTenant,
        /// The tenant's isolation is not proven, and nothing starts on that. Look at the Tenant.
        IsolationUnverified,
        /// An object with a name that Cloister needs exists and is not Cloister's. Remove it.
        ForeignObject,
        /// The API server could not be asked or refused; the message holds its words. Retried.
        ApiError,

        /// Any one zone may be lost.
        Redundant,
        /// The zone that the message names may not be lost: too few are ready elsewhere.
        ZoneNeeded,
        /// The zone that the message names has no node that could take one. Add nodes there.
        NoCapacity,
        /// None is asked to run, or none is known of yet.
        NotRunning,

        /// A probe of the Tenant has lately seen what it must, and nothing that it must not.
        Proven,
    }
}
