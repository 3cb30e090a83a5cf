//! What Cloister answers about an Integration.

use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{closed_list, condition::Condition};

/// What Cloister makes of an Integration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions by type: `Ready`, `Warm`, `Scheduled`.
    #[serde(default)]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
    /// How far `spec.schedule` has come; nothing without one.
    // Written as null then, which takes it out.
    #[serde(default)]
    pub schedule: Option<ScheduleStatus>,
}

/// How far a schedule has come: what the next leader goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// The expression that the times are of. With another one, times count from that moment.
    #[schemars(length(max = 128))]
    pub cron: String,
    /// The time zone that the times are of.
    #[schemars(length(max = 64))]
    pub time_zone: String,
    /// Time of the last Execution that was created, as scheduled.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_schedule_time: Option<Timestamp>,
    /// Time of the next one. One that lies behind waits for whatever `Scheduled` says.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub next_schedule_time: Timestamp,
}

closed_list! {
    /// Condition types of an Integration, all of positive polarity.
    IntegrationCondition {
        /// Executions of it can start.
        Ready,
        /// As many proven sandboxes are ready as `warm.min` asks for, or are in use.
        Warm,
        /// What `schedule` asks for is created when it is due.
        Scheduled,
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
        /// What `spec.egress` names is not within the Tenant's `spec.isolation.egressCeiling`, or
        /// holds addresses of the cluster; the message names entry and remedy.
        EgressBeyondCeiling,
        /// The network policy of what `spec.egress` names is not what it must be, or one that it
        /// names no more is still there. It is being set right.
        PolicyNotInForce,
        /// The namespace is not a tenant's. Create the Integration in a tenant's namespace.
        NoTenant,
        /// The tenant's isolation is not proven, and nothing starts on that. Look at the Tenant.
        IsolationUnverified,

        /// All that were asked for are ready or in use.
        Filled,
        /// None is asked for: no warm sandbox, no schedule.
        NotRequested,
        /// Some are on their way.
        Filling,
        /// One proved to be less than it must be; the message names the check.
        SandboxUnproven,
        /// The API server refuses a sandbox or an Execution that is due, or no node takes the
        /// sandbox; the message holds the words.
        Blocked,

        /// Each is created when it is due.
        OnSchedule,
    }
}
