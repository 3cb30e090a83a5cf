//! A volume of a Worker's replicas.
//!
//! In: what an integrator writes. Out: the type and the rules that refuse what could not be mounted
//! or would get in the way of what watches over the command.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Longest name of a Worker with volumes: its pods are labelled with `worker-`, it, and ten
/// characters more (the hash of a `ControllerRevision`), in at most 63.
pub const MAX_NAME_WITH_VOLUMES: usize = 45;

/// Most parts of a `mountPath`. Container runtimes mount by the number of parts, fewest first: the
/// supervisor lies at a path with more, so that whatever an image's links make of either path,
/// nothing is ever mounted over it.
pub const MAX_MOUNT_PARTS: usize = 4;

/// Where no volume may be mounted, nor below, nor above: what the kernel, the kubelet and the
/// supervisor have there. The rule of `mountPath` says the same.
pub const NOT_FOR_VOLUMES: [&str; 9] = [
    "/cloister",
    "/dev",
    "/etc",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/run",
    "/work",
];

/// A volume that each replica has for itself: a claim of the tenant's, within its quota of storage.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerVolume {
    /// Name, unique among them. Claims are called `<name>-worker-<worker>-<number>`.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    #[x_kube(validation = Rule::new("!(self in ['supervisor', 'tmp', 'work'])")
        .message("supervisor, tmp and work are names of volumes that every Worker has: choose \
                  another"))]
    pub name: String,
    /// Bytes of each: `1Gi`, `500Mi`. All of them count against `spec.limits.storage` of the
    /// Tenant.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1Mi')) >= 0 \
                                && quantity(self).compareTo(quantity('64Ti')) <= 0")
            .message("must be a quantity from 1Mi to 64Ti, such as 500Mi or 10Gi"),
    )]
    pub size: String,
    /// The class of storage that makes them: the cluster's default, if not given. It has to wait for
    /// the replica before it chooses a zone (`volumeBindingMode: WaitForFirstConsumer`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub storage_class_name: Option<String>,
    /// Where the command finds it, and may write: an absolute path.
    #[schemars(length(min = 2, max = 128))]
    #[x_kube(
        validation = Rule::new(
            "self.matches('^(/[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*){1,4}$')")
            .message("must be an absolute path of at most four parts, of letters, digits, dots, _ \
                      and -, such as /data or /var/lib/agent"),
        validation = Rule::new(
            "!['/cloister', '/dev', '/etc', '/proc', '/run', '/sys', '/tmp', '/var/run', '/work']\
             .exists(r, self == r || self.startsWith(r + '/') || r.startsWith(self + '/'))")
            .message("must not be at, below or above /cloister, /dev, /etc, /proc, /run, /sys, \
                      /tmp, /var/run or /work, which are the system's and the supervisor's: \
                      choose another, such as /data"),
    )]
    pub mount_path: String,
}

#[cfg(test)]
mod tests {
    use kube::core::cel::validate_cel_schema;
    use serde_json::{Value, json};

    use super::*;
    use crate::WorkerSpec;

    fn volume(name: &str, path: &str) -> Value {
        json!({"name": name, "size": "1Gi", "mountPath": path})
    }

    fn spec(volumes: &Value) -> Value {
        json!({"image": "hello", "command": ["/hello"], "replicas": 3, "zones": {},
            "shutdownGrace": "30s", "surge": 1, "volumes": volumes,
            "resources": {"cpu": "500m", "memory": "256Mi", "scratch": "64Mi"}})
    }

    fn refusal(now: &Value, before: Option<&Value>) -> Option<String> {
        let found = validate_cel_schema::<WorkerSpec>(now, before);
        found.err().map(|errors| format!("{errors:?}"))
    }

    #[track_caller]
    fn refused(volumes: &Value, words: &str) {
        let said = refusal(&spec(volumes), None).unwrap_or_default();
        assert!(said.contains(words), "{volumes}: {said}");
    }

    #[test]
    fn a_path_is_absolute_and_not_where_something_else_is() {
        for good in [
            "/data",
            "/var/lib/agent",
            "/home/node/.n8n",
            "/a/b/c/d",
            "/worker",
            "/devices",
        ] {
            assert_eq!(
                refusal(&spec(&json!([volume("a", good)])), None),
                None,
                "{good}"
            );
        }
        let form = "absolute path of at most four parts";
        for bad in [
            "data",
            "/",
            "/a/",
            "//a",
            "/a/../b",
            "/a/./b",
            "/a b",
            "/a/b/c/d/e",
            "/a:b",
        ] {
            refused(&json!([volume("a", bad)]), form);
        }
        for place in NOT_FOR_VOLUMES {
            for bad in [place.to_owned(), format!("{place}/a")] {
                refused(&json!([volume("a", &bad)]), "choose another, such as /data");
            }
        }
        refused(
            &json!([volume("a", "/var")]),
            "choose another, such as /data",
        );
    }

    #[test]
    fn no_two_lie_at_one_place_or_one_below_the_other() {
        let side_by_side = json!([volume("a", "/data/a"), volume("b", "/data/ab")]);
        assert_eq!(refusal(&spec(&side_by_side), None), None);
        let same = json!([volume("a", "/data"), volume("b", "/data")]);
        refused(&same, "two volumes have the same");
        let below = json!([volume("a", "/data"), volume("b", "/data/b")]);
        refused(&below, "lies below another");
    }

    #[test]
    fn a_size_has_bounds_and_the_supervisors_names_are_taken() {
        for (size, good) in [
            ("1Mi", true),
            ("64Ti", true),
            ("1023Ki", false),
            ("65Ti", false),
            ("big", false),
        ] {
            let mut one = volume("a", "/data");
            one["size"] = json!(size);
            let said = refusal(&spec(&json!([one])), None);
            assert_eq!(said.is_none(), good, "{size}: {said:?}");
        }
        for taken in ["supervisor", "work", "tmp"] {
            refused(&json!([volume(taken, "/data")]), "choose another");
        }
    }

    #[test]
    fn they_are_said_once_and_for_all() {
        let with = |volumes: &Value| spec(volumes);
        let without = {
            let mut spec = spec(&json!([]));
            spec.as_object_mut().unwrap().remove("volumes");
            spec
        };
        let one = with(&json!([volume("a", "/data")]));
        assert_eq!(refusal(&one, Some(&one)), None);
        assert_eq!(refusal(&without, Some(&with(&json!([])))), None);
        let mut larger = one.clone();
        larger["volumes"][0]["size"] = json!("2Gi");
        let two = with(&json!([volume("a", "/data"), volume("b", "/more")]));
        for (before, after) in [
            (&one, &larger),
            (&one, &two),
            (&one, &without),
            (&without, &one),
        ] {
            let said = refusal(after, Some(before)).unwrap_or_default();
            assert!(said.contains("make another Worker"), "{after}: {said}");
        }
    }

    #[test]
    fn a_surge_means_nothing_with_them() {
        let mut more = spec(&json!([volume("a", "/data")]));
        more["surge"] = json!(2);
        let said = refusal(&more, None).unwrap_or_default();
        assert!(said.contains("leave surge out"), "{said}");
        more["volumes"] = json!([]);
        assert_eq!(refusal(&more, None), None);
    }
}
