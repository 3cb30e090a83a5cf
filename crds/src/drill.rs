//! Drill: the rehearsal of a loss, and what it measured.
//!
//! In: what a member of the tenant writes. Out: the types, the CEL rules that refuse what is
//! wrong at admission, and the closed lists of conditions and reasons.

mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::status::{
    DrillCondition, DrillCut, DrillExecution, DrillExecutions, DrillPhase, DrillReason,
    DrillResult, DrillRun, DrillStatus, DrillWorker, DrillWorkerResult, DrillWorkers, MAX_FOLLOWED,
    MAX_NODES, MAX_RESULTS, MAX_WORKERS,
};
use crate::integration::Schedule;

/// The rehearsal of a loss: takes one zone away from the tenant for a while, measures how it
/// fares, and gives the zone back.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cloister.dev",
    version = "v1alpha1",
    kind = "Drill",
    plural = "drills",
    shortname = "dr",
    category = "cloister",
    namespaced,
    status = "DrillStatus",
    derive = "PartialEq",
    doc = "The rehearsal of a loss: takes one zone away from the tenant for a while, measures how \
           it fares, and gives the zone back.",
    printcolumn(name = "Succeeded", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Succeeded')].status"),
    printcolumn(name = "Reason", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Succeeded')].reason"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".status.zone"),
    printcolumn(name = "Since", type_ = "date",
        json_path = ".status.conditions[?(@.type=='Succeeded')].lastTransitionTime"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.results[0].ended"),
    printcolumn(name = "Next", type_ = "string",
        json_path = ".status.schedule.nextScheduleTime", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name: at most 63 characters"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillSpec {
    /// What is rehearsed. The Tenant has to allow it, in `spec.drills.allowed`.
    #[serde(rename = "type")]
    pub kind: DrillType,

    /// The zone that is taken: a value of `topology.kubernetes.io/zone`, within the tenant's
    /// residency. If not given, the one with most of the tenant's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub zone: Option<String>,

    /// Any text, such as a date or a ticket. One other than `status.request`, which was taken up last,
    /// starts one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?$")
    )]
    pub request: Option<String>,

    /// When a run starts by itself, beside those that are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// How long the zone stays taken, from `10s` to `1h`, counted from when the first pod is asked
    /// to leave it.
    #[serde(default = "DrillSpec::default_hold")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('10s') && \
         duration(self) <= duration('1h')")
        .message("must be from 10s to 1h in hours, minutes and seconds, such as 2m"))]
    pub hold: String,

    /// How long all may take to be at full strength again once the zone is given back, from `10s`
    /// to `1h`.
    #[serde(default = "DrillSpec::default_timeout")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('10s') && \
         duration(self) <= duration('1h')")
        .message("must be from 10s to 1h in hours, minutes and seconds, such as 10m"))]
    pub timeout: String,

    /// What becomes of a run when the tenant could not stand the loss by what is ready now.
    #[serde(default)]
    pub when_not_redundant: WhenNotRedundant,

    /// Whether nothing starts. A run in progress is cut short: the zone is given back at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

impl DrillSpec {
    fn default_hold() -> String {
        "2m".to_owned()
    }
    fn default_timeout() -> String {
        "10m".to_owned()
    }
}

/// What can be rehearsed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DrillType {
    /// One zone is taken from the tenant: its pods there are evicted, and none is placed there
    /// until it is given back.
    ZoneLoss,
}

impl DrillType {
    /// As in the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ZoneLoss => "ZoneLoss",
        }
    }
}

/// What becomes of a run on a tenant that is not redundant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WhenNotRedundant {
    /// It is refused: nothing is taken.
    #[default]
    Refuse,
    /// It runs all the same, and pods that a disruption budget holds are deleted after 30 s.
    /// Something will be down.
    Run,
}

/// Which rehearsals a tenant's members may have: a field of the Tenant.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drills {
    /// Types of Drill that run in the tenant. Empty: none. One that is taken out ends what runs of
    /// it: the zone is given back at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed: Vec<DrillType>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(field: &str, value: &Value) -> Option<String> {
        let mut spec = json!({"type": "ZoneLoss", "hold": "2m", "timeout": "10m",
            "whenNotRedundant": "Refuse"});
        spec[field] = value.clone();
        let found = kube::core::cel::validate_cel_schema::<DrillSpec>(&spec, None);
        found.err().map(|errors| format!("{errors:?}"))
    }

    #[test]
    fn a_zone_is_held_and_waited_for_within_bounds() {
        for field in ["hold", "timeout"] {
            for good in ["10s", "2m", "1m30s", "1h"] {
                assert_eq!(refusal(field, &json!(good)), None, "{field} {good}");
            }
            for bad in ["9s", "0s", "61m", "2h", "5 m", "PT5M"] {
                let said = refusal(field, &json!(bad)).unwrap_or_default();
                assert!(said.contains("from 10s to 1h"), "{field} {bad}: {said}");
            }
        }
    }

    #[test]
    fn the_schedule_is_that_of_integrations() {
        let schedule = |cron: &str, zone: &str| json!({"cron": cron, "timeZone": zone, "missed": "RunOnce", "startingDeadline": "1h"});
        assert_eq!(
            refusal("schedule", &schedule("0 3 1 * *", "Europe/Berlin")),
            None
        );
        for (cron, zone) in [("61 * * * *", "Etc/UTC"), ("0 3 1 * *", "no zone")] {
            assert!(
                refusal("schedule", &schedule(cron, zone)).is_some(),
                "{cron}"
            );
        }
    }

    #[test]
    fn unless_told_otherwise_nothing_is_taken_from_who_cannot_stand_it() {
        let spec: DrillSpec = serde_json::from_value(json!({"type": "ZoneLoss"})).unwrap();
        assert_eq!(spec.when_not_redundant, WhenNotRedundant::Refuse);
        assert!(Drills::default().allowed.is_empty());
    }
}
