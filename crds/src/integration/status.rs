//! What Cloister answers about an Integration.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed_list;

/// What Cloister makes of an Integration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions by type: `Ready`, `Warm`.
    #[serde(default)]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
}

closed_list! {
    /// Condition types of an Integration, all of positive polarity.
    IntegrationCondition {
        /// Executions of it can start.
        Ready,
        /// As many proven sandboxes are ready as `warm.min` asks for, or are in use.
        Warm,
    }
}

closed_list! {
    /// Reasons of an Integration's conditions.
    IntegrationReason {
        /// Executions of it can start.
        Accepted,
        /// By `spec.suspend` nothing new starts; or the tenant is not Active.
        Suspended,
        /// The spec contradicts itself or the tenant; the message names field and remedy.
        InvalidSpec,
        /// The namespace is not a tenant's. Create the Integration in a tenant's namespace.
        NoTenant,
        /// The tenant's isolation is not proven, and nothing starts on that. Look at the Tenant.
        IsolationUnverified,

        /// All that were asked for are ready or in use.
        Filled,
        /// None is asked for.
        NotRequested,
        /// Some are on their way.
        Filling,
        /// One proved to be less than it must be; the message names the check.
        SandboxUnproven,
        /// The API server refuses a sandbox, or no node takes it; the message holds the words.
        Blocked,
    }
}
