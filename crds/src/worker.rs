//! Worker: a tenant's long-running agent, spread over zones, that nothing can dial.
//!
//! In: what an integrator writes. Out: the types, the CEL rules that refuse what is wrong at
//! admission, and the closed lists of conditions and reasons.

mod status;
mod volume;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use self::{
    status::{WorkerCondition, WorkerReason, WorkerStatus, ZoneStatus},
    volume::{MAX_MOUNT_PARTS, MAX_NAME_WITH_VOLUMES, NOT_FOR_VOLUMES, WorkerVolume},
};
use crate::{
    integration::{EXEC_MESSAGE, EXEC_RULE, EnvVar, Resources},
    tenant::{EgressRule, Runtime},
};

/// Most replicas of a Worker.
pub const MAX_REPLICAS: i32 = 1000;

/// A long-running agent of the tenant that only dials out: so many replicas, spread over zones,
/// each in a sandbox that proves itself from inside before the command starts and again on a clock.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cloister.dev",
    version = "v1alpha1",
    kind = "Worker",
    plural = "workers",
    shortname = "wk",
    category = "cloister",
    namespaced,
    status = "WorkerStatus",
    derive = "PartialEq",
    doc = "A long-running agent of the tenant that only dials out: so many replicas, spread over \
           zones, each in a sandbox that proves itself from inside before the command starts and \
           again on a clock.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Reason", type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Zones", type_ = "string", json_path = ".status.spread"),
    printcolumn(name = "Redundant", type_ = "string",
        json_path = ".status.conditions[?(@.type=='ZoneRedundant')].status"),
    printcolumn(name = "Since", type_ = "date",
        json_path = ".status.conditions[?(@.type=='Ready')].lastTransitionTime"),
    printcolumn(name = "Redundant-Reason", type_ = "string",
        json_path = ".status.conditions[?(@.type=='ZoneRedundant')].reason", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name: at most 63 characters, because it becomes a label"),
    validation = Rule::new(
        "!has(self.spec.volumes) || size(self.spec.volumes) == 0 || size(self.metadata.name) <= 45")
        .message("metadata.name: at most 45 characters with volumes, because Kubernetes makes a \
                  label of it and a number"),
)]
#[x_kube(
    validation = Rule::new(EXEC_RULE).message(EXEC_MESSAGE),
    validation = Rule::new("!has(self.minAvailable) || self.minAvailable < self.replicas")
        .message("must be less than replicas, or no zone could ever be lost: lower minAvailable \
                  or raise replicas")
        .field_path(".minAvailable"),
    validation = Rule::new(
        "!has(self.zones) || !has(self.zones.names) || size(self.zones.names) <= self.replicas")
        .message("names more zones than there are replicas to run in them: raise replicas or name \
                  fewer zones")
        .field_path(".zones.names"),
    validation = Rule::new(
        "!has(self.zones) || !has(self.zones.minimum) || self.zones.minimum <= self.replicas")
        .message("more zones than there are replicas to run in them: raise replicas or lower \
                  zones.minimum")
        .field_path(".zones.minimum"),
    validation = Rule::new(
        "has(self.volumes) && has(oldSelf.volumes) ? self.volumes == oldSelf.volumes : \
         (!has(self.volumes) || size(self.volumes) == 0) && \
         (!has(oldSelf.volumes) || size(oldSelf.volumes) == 0)")
        .message("volumes: cannot be changed, added or removed once the Worker is there; make \
                  another Worker with those that you want, and delete this one"),
    validation = Rule::new("!has(self.volumes) || size(self.volumes) == 0 || self.surge == 1")
        .message("with volumes a new version takes over in place, one replica after the other: \
                  leave surge out")
        .field_path(".surge"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerSpec {
    /// Image that the command is in, by tag or by digest.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")
    )]
    pub image: String,

    /// Path of the program, or a name that is looked for in `PATH`; what follows are its first
    /// arguments. Never a shell by itself.
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

    /// How many run at once.
    #[serde(default = "WorkerSpec::default_replicas")]
    #[x_kube(
        validation = Rule::new("self >= 1")
            .message("must be at least 1; to have none run, set suspend: true"),
        validation = Rule::new("self <= 1000").message("must be at most 1000; make a second Worker"),
    )]
    pub replicas: i32,

    /// Which zones they run in: at least so many, or those of these names.
    #[serde(default)]
    pub zones: Zones,

    /// How many must be left when any one zone is lost; fewer than `replicas`. Nothing that asks
    /// (a drain, an upgrade) may go below it either. What is left of `replicas` spread evenly over
    /// `zones`, if not given, but at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999))]
    pub min_available: Option<i32>,

    /// What they may reach outside the cluster: blocks of public addresses and their ports, each
    /// within one entry of the Tenant's `spec.isolation.egressCeiling`. Empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub egress: Vec<EgressRule>,

    /// Kernel boundary: the tenant's, if not given. It may be stricter, never laxer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,

    /// What one replica may use.
    #[serde(default)]
    pub resources: Resources,

    /// Volumes that each replica has for itself and keeps for as long as the Worker is there. They
    /// cannot be changed later, nor can there be more or fewer. Empty: all that is written is gone
    /// with the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new(
            "self.all(a, self.filter(b, a.mountPath == b.mountPath).size() == 1)")
            .message("mountPath: two volumes have the same; give each its own"),
        validation = Rule::new(
            "self.all(a, self.all(b, !b.mountPath.startsWith(a.mountPath + '/')))")
            .message("mountPath: one volume lies below another; put them side by side"),
    )]
    pub volumes: Vec<WorkerVolume>,

    /// How long a command that was asked to end may take to do so, from `0s` to `10m`. Then it is
    /// killed.
    #[serde(default = "WorkerSpec::default_shutdown_grace")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && duration(self) <= duration('10m')")
        .message("must be from 0s to 10m in minutes and seconds, such as 30s"))]
    pub shutdown_grace: String,

    /// How many more than `replicas` there may be while a new version comes up. No old one goes
    /// before a new one is ready. Not with `volumes`, where each is replaced in place.
    #[serde(default = "WorkerSpec::default_surge")]
    #[schemars(range(min = 1, max = 100))]
    pub surge: i32,

    /// Whether none run. Each is asked to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

impl WorkerSpec {
    const fn default_replicas() -> i32 {
        3
    }
    fn default_shutdown_grace() -> String {
        "30s".to_owned()
    }
    const fn default_surge() -> i32 {
        1
    }
}

/// Which zones the replicas run in: `minimum` or `names`, and a minimum of two if neither.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!(has(self.minimum) && has(self.names))")
    .message("say minimum or names, not both"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Zones {
    /// At least so many zones, whichever. While there are fewer with room, replicas wait rather
    /// than gather in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub minimum: Option<i32>,
    /// These zones and no other: values of `topology.kubernetes.io/zone`, within the Tenant's
    /// residency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        inner(
            length(min = 1, max = 63),
            regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A whole spec with this value at a field, `.` between its parts.
    fn with(changes: &[(&str, Value)]) -> Value {
        let mut spec = json!({"image": "hello", "command": ["/hello"], "replicas": 3,
            "zones": {}, "shutdownGrace": "30s", "surge": 1,
            "resources": {"cpu": "500m", "memory": "256Mi", "scratch": "64Mi"}});
        for (field, value) in changes {
            match field.split_once('.') {
                Some((group, field)) => spec[group][field] = value.clone(),
                None => spec[*field] = value.clone(),
            }
        }
        spec
    }

    fn refusal(changes: &[(&str, Value)]) -> Option<String> {
        let found = kube::core::cel::validate_cel_schema::<WorkerSpec>(&with(changes), None);
        found.err().map(|errors| format!("{errors:?}"))
    }

    #[track_caller]
    fn refused(changes: &[(&str, Value)], words: &str) {
        let said = refusal(changes).unwrap_or_default();
        assert!(said.contains(words), "{changes:?}: {said}");
    }

    #[test]
    fn replicas_have_bounds_and_none_is_said_by_suspend() {
        for good in [1, 2, 1000] {
            assert_eq!(refusal(&[("replicas", json!(good))]), None, "{good}");
        }
        refused(&[("replicas", json!(0))], "set suspend: true");
        refused(&[("replicas", json!(10_000))], "at most 1000");
    }

    #[test]
    fn what_must_be_left_is_less_than_what_there_is() {
        assert_eq!(refusal(&[("minAvailable", json!(2))]), None);
        for bad in [3, 4] {
            refused(&[("minAvailable", json!(bad))], "less than replicas");
        }
    }

    #[test]
    fn zones_are_said_in_one_way_and_are_no_more_than_replicas() {
        let (minimum, names) = ("zones.minimum", "zones.names");
        assert_eq!(refusal(&[(minimum, json!(3))]), None);
        assert_eq!(refusal(&[(names, json!(["a", "b", "c"]))]), None);
        let both = [(minimum, json!(2)), (names, json!(["a", "b"]))];
        refused(&both, "not both");
        refused(&[(minimum, json!(4))], "lower zones.minimum");
        refused(&[(names, json!(["a", "b", "c", "d"]))], "name fewer zones");
    }

    #[test]
    fn the_grace_has_bounds_and_one_spelling() {
        for good in ["0s", "1m30s", "10m"] {
            assert_eq!(refusal(&[("shutdownGrace", json!(good))]), None, "{good}");
        }
        for bad in ["601s", "1h", "5 m", "PT5M", "1.5m"] {
            refused(&[("shutdownGrace", json!(bad))], "from 0s to 10m");
        }
    }

    #[test]
    fn egress_has_the_bounds_of_the_ceiling() {
        let rule =
            |cidr: &str| json!([{"cidr": cidr, "ports": [{"port": 443, "protocol": "TCP"}]}]);
        assert_eq!(refusal(&[("egress", rule("203.0.113.0/24"))]), None);
        refused(&[("egress", rule("10.0.0.0/8"))], "no tenant may reach");
    }
}
