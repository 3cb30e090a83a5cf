//! Integration: an image and a command that run once for each Execution.
//!
//! In: what an integrator writes. Out: the types, the CEL rules that refuse what is wrong at
//! admission, and the closed lists of conditions and reasons.

mod schedule;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    schedule::{MissedRuns, Schedule},
    status::{IntegrationCondition, IntegrationReason, IntegrationStatus, ScheduleStatus},
};
use crate::tenant::{EgressRule, Runtime};

/// Longest name of an Integration: it becomes the value of a label.
pub const MAX_NAME: usize = 63;

/// Most characters of command, arguments and environment together: whoever runs them holds those of
/// every Integration and Worker there is.
pub const MAX_EXEC: usize = 65536;
/// The rule for that. What a member writes is counted by characters, as CEL does.
pub(crate) const EXEC_RULE: &str = "self.command.map(text, size(text)).sum() + \
     (has(self.args) ? self.args.map(text, size(text)).sum() : 0) + \
     (has(self.env) ? self.env.map(one, size(one.name) + \
     (has(one.value) ? size(one.value) : 0)).sum() : 0) <= 65536";
pub(crate) const EXEC_MESSAGE: &str = "command, args and env: at most 65536 characters together; \
     have the command read the rest from its image or its input";

/// What runs once for each Execution that names it, in a single-use sandbox that has proven
/// itself from inside before one instruction of the command ran.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cloister.dev",
    version = "v1alpha1",
    kind = "Integration",
    plural = "integrations",
    shortname = "intg",
    category = "cloister",
    namespaced,
    status = "IntegrationStatus",
    derive = "PartialEq",
    doc = "What runs once for each Execution that names it, in a single-use sandbox that has \
           proven itself from inside before one instruction of the command ran.",
    printcolumn(name = "Ready", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Min-Warm", type_ = "integer", json_path = ".spec.warm.min"),
    printcolumn(name = "Warm-Reason", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Warm')].reason"),
    printcolumn(name = "Since", type_ = "date",
        json_path = ".status.conditions[?(@.type=='Ready')].lastTransitionTime"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule.cron", priority = 1),
    printcolumn(name = "Last-Schedule", type_ = "date",
        json_path = ".status.schedule.lastScheduleTime", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name: at most 63 characters, because it becomes a label"),
)]
#[x_kube(validation = Rule::new(EXEC_RULE).message(EXEC_MESSAGE))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntegrationSpec {
    /// Image that the command is in, by tag or by digest.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")
    )]
    pub image: String,

    /// Path of the program, or a name that is looked for in `PATH`; what follows are its first
    /// arguments. Never a shell by itself. With `args` and `env` at most 65536 bytes in all.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 4096), regex(pattern = r"^[^\x00]*$"))
    )]
    pub command: Vec<String>,

    /// Arguments that follow those of `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 4096), regex(pattern = r"^[^\x00]*$"))
    )]
    pub args: Vec<String>,

    /// The command's environment. Values are plain text that every member may read: nothing
    /// secret belongs here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,

    /// Kernel boundary: the tenant's, if not given. It may be stricter, never laxer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,

    /// What its runs may reach outside the cluster: blocks of public addresses and their ports,
    /// each within one entry of the Tenant's `spec.isolation.egressCeiling`. Empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub egress: Vec<EgressRule>,

    /// What one run may use.
    #[serde(default)]
    pub resources: Resources,

    /// How long one attempt may take, from `1s` to `24h`. Then it is asked to end.
    #[serde(default = "IntegrationSpec::default_timeout")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1s') && \
         duration(self) <= duration('24h')")
        .message("must be from 1s to 24h in hours, minutes and seconds, such as 90s or 1h30m"))]
    pub timeout: String,

    /// How long a command that was asked to end may take to do so, from `0s` to `10m`. Then it is killed.
    #[serde(default = "IntegrationSpec::default_grace_period")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) <= duration('10m')")
        .message("must be from 0s to 10m in minutes and seconds, such as 10s"))]
    pub grace_period: String,

    /// How long an Execution may wait for its start, from `1s` to `24h`. Then it ends with what
    /// it waited for.
    #[serde(default = "IntegrationSpec::default_start_deadline")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) >= duration('1s') && \
         duration(self) <= duration('24h')")
        .message("must be from 1s to 24h in hours, minutes and seconds, such as 5m"))]
    pub start_deadline: String,

    /// How often an attempt that failed is made again. What was canceled, was refused or ran
    /// out of time is not.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub retries: i32,

    /// How many run at once, and what becomes of one more.
    #[serde(default)]
    pub concurrency: Concurrency,

    /// Sandboxes that are ready before anyone asks.
    #[serde(default)]
    pub warm: Warm,

    /// Whether what the command says is in the log of its pod, and the end of it in the status of
    /// its Execution.
    #[serde(default)]
    pub logs: Logs,

    /// How long a finished Execution is kept, from `0s` to `720h`.
    #[serde(default = "IntegrationSpec::default_ttl")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) <= duration('720h')")
        .message("must be from 0s to 720h in hours, minutes and seconds, such as 1h"))]
    pub ttl: String,

    /// How many finished Executions are kept at most, besides `ttl`. The oldest go first.
    #[serde(default)]
    pub history: History,

    /// When an Execution is created by itself. Never, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// Whether nothing new starts. What runs goes on, what is created waits, and `schedule`
    /// creates nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

impl IntegrationSpec {
    fn default_timeout() -> String {
        "15m".to_owned()
    }
    fn default_grace_period() -> String {
        "10s".to_owned()
    }
    fn default_start_deadline() -> String {
        "5m".to_owned()
    }
    fn default_ttl() -> String {
        "1h".to_owned()
    }
}

/// A name and a plain value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Name.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$")
    )]
    pub name: String,
    /// Value.
    #[serde(default)]
    #[schemars(length(max = 4096), regex(pattern = r"^[^\x00]*$"))]
    pub value: String,
}

/// What one run may use: limits, and what is set aside for it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Cores: `500m`, `2`.
    #[serde(default = "Resources::default_cpu")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('10m')) >= 0 \
                                && quantity(self).compareTo(quantity('64')) <= 0")
            .message("must be a quantity from 10m to 64, such as 500m or 2"),
    )]
    pub cpu: String,
    /// Bytes: `256Mi`, `2Gi`. The supervisor needs some of them.
    #[serde(default = "Resources::default_memory")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('32Mi')) >= 0 \
                                && quantity(self).compareTo(quantity('256Gi')) <= 0")
            .message("must be a quantity from 32Mi to 256Gi, such as 256Mi or 2Gi"),
    )]
    pub memory: String,
    /// Bytes below `/work`, and as many again below `/tmp`: `64Mi`, `4Gi`.
    #[serde(default = "Resources::default_scratch")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1Mi')) >= 0 \
                                && quantity(self).compareTo(quantity('1Ti')) <= 0")
            .message("must be a quantity from 1Mi to 1Ti, such as 64Mi or 4Gi"),
    )]
    pub scratch: String,
}

impl Resources {
    fn default_cpu() -> String {
        "500m".to_owned()
    }
    fn default_memory() -> String {
        "256Mi".to_owned()
    }
    fn default_scratch() -> String {
        "64Mi".to_owned()
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: Self::default_cpu(),
            memory: Self::default_memory(),
            scratch: Self::default_scratch(),
        }
    }
}

/// How many Executions of an Integration run at once.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Concurrency {
    /// The most at once, never exceeded.
    #[serde(default = "Concurrency::default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: i32,
    /// What becomes of one more.
    #[serde(default)]
    pub policy: ConcurrencyPolicy,
}

impl Concurrency {
    const fn default_limit() -> i32 {
        10
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            limit: Self::default_limit(),
            policy: ConcurrencyPolicy::default(),
        }
    }
}

/// What becomes of an Execution that would be one too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It waits.
    #[default]
    Queue,
    /// It ends at once, as `Rejected`.
    Skip,
    /// The one that runs longest is canceled for it.
    Replace,
}

/// What becomes of what a command says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Logs {
    /// It is in the log of its pod, as long as that is there, and the end of it in `status.output`.
    #[default]
    Kept,
    /// It is counted and dropped.
    Off,
}

/// Sandboxes that are ready before anyone asks. Each is a pod, and counts as one.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.max) || self.max >= self.min")
    .message("max must not be less than min"))]
pub struct Warm {
    /// How many are kept ready.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub min: i32,
    /// How many may be kept ready where that many came at once within the last hour: `min`, if not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max: Option<i32>,
}

/// How many finished Executions are kept at most. Without a number, `ttl` alone says.
///
/// Two numbers and not one, so that a thousand that went well do not push out the one that did
/// not, and is still to be looked at.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct History {
    /// Of those that ended as `Completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub succeeded: Option<i32>,
    /// Of those that ended in any other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub failed: Option<i32>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(field: &str, value: &Value) -> bool {
        let mut spec = json!({"image": "hello", "command": ["/hello"], "timeout": "15m",
            "gracePeriod": "10s", "startDeadline": "5m", "ttl": "1h",
            "resources": {"cpu": "500m", "memory": "256Mi", "scratch": "64Mi"}});
        match field.split_once('.') {
            Some((group, field)) => spec[group][field] = value.clone(),
            None => spec[field] = value.clone(),
        }
        kube::core::cel::validate_cel_schema::<IntegrationSpec>(&spec, None).is_err()
    }

    fn bounds(field: &str, inside: &[&str], outside: &[&str]) {
        for value in inside {
            assert!(!refused(field, &json!(value)), "{field}: {value}");
        }
        for value in outside {
            assert!(refused(field, &json!(value)), "{field}: {value}");
        }
    }

    #[test]
    fn durations_have_bounds_and_one_spelling() {
        bounds("timeout", &["1s", "90s", "1h30m", "24h"], &["0s", "24h1s"]);
        bounds("gracePeriod", &["0s", "1m30s", "10m"], &["601s", "1h"]);
        bounds("startDeadline", &["1s", "5m", "24h"], &["0m", "25h"]);
        bounds("ttl", &["0s", "24h", "720h"], &["721h", "720h1s"]);
        for field in ["timeout", "gracePeriod", "startDeadline", "ttl"] {
            bounds(field, &[], &["5 m", "-5m", "1d", "1.5h", "PT5M", "5m1h"]);
        }
    }

    #[test]
    fn egress_is_of_public_addresses_and_named_ports() {
        let rule = |cidr: &str, ports: Value| json!([{"cidr": cidr, "ports": ports}]);
        let https = json!([{"port": 443, "protocol": "TCP"}]);
        for good in [
            json!([]),
            rule("203.0.113.0/24", https.clone()),
            rule(
                "2600:1f00::/24",
                json!([{"port": 8000, "endPort": 8100, "protocol": "UDP"}]),
            ),
        ] {
            assert!(!refused("egress", &good), "{good}");
        }
        for bad in [
            rule("10.0.0.0/8", https.clone()),
            rule("0.0.0.0/0", https.clone()),
            rule("100.64.0.0/10", https.clone()),
            rule("169.254.169.254/32", https.clone()),
            rule("::ffff:203.0.113.0/120", https.clone()),
            rule("fd00:ec2::254/128", https.clone()),
            rule("203.0.113.1/24", https),
            rule(
                "203.0.113.0/24",
                json!([{"port": 443, "endPort": 80, "protocol": "TCP"}]),
            ),
        ] {
            assert!(refused("egress", &bad), "{bad}");
        }
    }

    #[test]
    fn resources_have_bounds() {
        bounds("resources.cpu", &["10m", "2", "64"], &["9m", "65", "-1"]);
        let memory = (["32Mi", "256Gi"], ["31Mi", "257Gi", "1 Gi"]);
        bounds("resources.memory", &memory.0, &memory.1);
        let scratch = (["1Mi", "1Ti"], ["1023Ki", "2Ti", "much"]);
        bounds("resources.scratch", &scratch.0, &scratch.1);
    }
}
