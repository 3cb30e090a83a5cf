//! What Cloister answers about a Drill.

use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{closed_list, condition::Condition, integration::ScheduleStatus};

/// Most results that are kept.
pub const MAX_RESULTS: usize = 10;
/// Most nodes of the lost zone that are listed.
pub const MAX_NODES: usize = 64;
/// Most Workers that a run measures: as many as a tenant may have.
pub const MAX_WORKERS: usize = 100;
/// Most Executions that a run follows one by one.
pub const MAX_FOLLOWED: usize = 500;

/// What became of a Drill's runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `spec.request` that was taken up last: to run, or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub request: Option<String>,
    /// How far `spec.schedule` has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleStatus>,
    /// Zone of the run in progress, or else of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub zone: Option<String>,
    /// The run in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<DrillRun>,
    /// What came of the last ones, the newest first, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub results: Vec<DrillResult>,
    /// Conditions by type: `Succeeded` (Unknown until a run has ended).
    #[serde(default)]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DrillPhase {
    /// It asks for the zone. Nothing is taken yet.
    Claiming,
    /// The zone is taken.
    Lost,
    /// The zone is being given back, and then what ran there is waited for.
    Returning,
}

/// A run in progress. Instants are by the operator's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillRun {
    /// How far it has come.
    pub phase: DrillPhase,
    /// The zone.
    #[schemars(length(max = 63))]
    pub zone: String,
    /// `spec.request` that started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub request: Option<String>,
    /// Time of the schedule that started it, if that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub scheduled: Option<Timestamp>,
    /// When it began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub begun: Timestamp,
    /// When the zone was taken: right before the first pod was asked to leave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub lost: Option<Timestamp>,
    /// From when on it was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub returned: Option<Timestamp>,
    /// Nodes that no pod of the tenant is placed on; the first 64 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub nodes: Vec<String>,
    /// Pods that were there when the zone was taken.
    #[serde(default)]
    pub pods: i32,
    /// How the Workers of the tenant fare, those that are suspended apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub workers: Vec<DrillWorker>,
    /// How many Executions ran there.
    #[serde(default)]
    pub running: i32,
    /// Those of them that are followed, at most 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub executions: Vec<DrillExecution>,
    /// Pods that were still there when the zone was given back: their budget held them.
    #[serde(default)]
    pub held: i32,
    /// Why it ends before its time, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<DrillCut>,
}

/// Why a run ends before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillCut {
    /// As in the condition.
    #[schemars(length(max = 32))]
    pub reason: String,
    /// For people.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How a Worker fares in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillWorker {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How many must be left.
    pub min_available: i32,
    /// How many were ready before.
    pub ready: i32,
    /// Whether any zone could have been lost by what was ready before.
    pub redundant: bool,
    /// When fewer than `minAvailable` were seen ready outside the zone, the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub below: Option<Timestamp>,
    /// Since when there are as many again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub enough: Option<Timestamp>,
    /// Since when, with the zone given back, it is as strong and as redundant as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub full: Option<Timestamp>,
}

/// An Execution that ran in the zone when it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillExecution {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its attempt then.
    pub attempt: i32,
}

/// What came of a run, or why there was none. Never changes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillResult {
    /// As in the condition.
    #[schemars(length(max = 32))]
    pub reason: String,
    /// For people.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The zone; nothing if none was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub zone: Option<String>,
    /// `spec.request` that started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub request: Option<String>,
    /// Time of the schedule that started it, if that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub scheduled: Option<Timestamp>,
    /// When it began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub begun: Timestamp,
    /// When the zone was taken; nothing if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub lost: Option<Timestamp>,
    /// From when on it was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub returned: Option<Timestamp>,
    /// When this was said.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ended: Timestamp,
    /// Pods that were there when the zone was taken.
    #[serde(default)]
    pub pods: i32,
    /// Those that were still there when it was given back: their budget held them.
    #[serde(default)]
    pub held: i32,
    /// The slowest of the Workers, and how many there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<DrillWorkers>,
    /// What became of the Executions that ran there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executions: Option<DrillExecutions>,
}

/// How the Workers fared. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillWorkers {
    /// How many there were.
    pub count: i32,
    /// From the loss until each had `minAvailable`, and kept it: 0 if none ever had fewer.
    /// Nothing if one had not when this was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub to_min_available_ms: Option<i64>,
    /// From the giving back until each was as strong and as redundant as before. Nothing if one
    /// was not when this was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub to_full_ms: Option<i64>,
    /// One by one, the slowest first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub slowest: Vec<DrillWorkerResult>,
}

/// How one Worker fared. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillWorkerResult {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How many had to be left.
    pub min_available: i32,
    /// From the loss until there were `minAvailable`, and stayed: 0 if there never were fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub to_min_available_ms: Option<i64>,
    /// From the giving back until it was as strong and as redundant as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub to_full_ms: Option<i64>,
}

/// What became of the Executions that ran in the zone when it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillExecutions {
    /// How many there were. The other counts are of the first 500.
    pub running: i32,
    /// A new attempt was made.
    pub retried: i32,
    /// They ended in another way than well.
    pub failed: i32,
    /// They ended well in the attempt that ran there.
    pub completed: i32,
    /// They still run in that attempt, or are gone, and nothing is known of their end.
    pub unknown: i32,
}

closed_list! {
    /// Condition types of a Drill, all of positive polarity.
    DrillCondition {
        /// What the last run showed. Unknown while one is in progress.
        Succeeded,
    }
}

closed_list! {
    /// Reasons of a Drill's condition.
    DrillReason {
        /// Every Worker had `minAvailable` before the zone was given back, and full strength after.
        Recovered,
        /// No run was asked for yet. Set `spec.request` or `spec.schedule`.
        NeverRun,
        /// A run begins: the zone is asked for.
        Starting,
        /// The zone is taken.
        ZoneLost,
        /// The zone is given back, and full strength is waited for.
        Restoring,

        /// A Worker had fewer than `minAvailable` when the zone was given back.
        BelowMinAvailable,
        /// A Worker was not back at full strength within `spec.timeout`.
        NotRestored,
        /// A disruption budget held pods in the zone until it was given back: it was not lost.
        EvictionRefused,
        /// By `spec.suspend` the run was cut short.
        Canceled,

        /// The Tenant does not allow it, or no more. Set its `spec.drills.allowed`.
        NotAllowed,
        /// The Tenant is not Active, or is being removed.
        TenantSuspended,
        /// By what is ready now the tenant could not stand the loss; the message says why.
        NotRedundant,
        /// Another run is in progress in the tenant. Ask again when it has ended.
        AnotherDrill,
        /// No node that the tenant may use is in the zone.
        UnknownZone,
        /// The zone could not be taken within a minute. Look at the Tenant.
        NotStarted,

        /// The spec does not go together; the message names field and remedy.
        InvalidSpec,
        /// The namespace is not a tenant's. Create the Drill in a tenant's namespace.
        NoTenant,
        /// The API server refused or did not answer; the message holds its words.
        ApiError,
    }
}

impl DrillReason {
    /// The value that the API shows as this, if any.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }
}
