//! What the chart lets one set, and where each value goes.
//!
//! In: the defaults of the manifests. Out: [`Setting`]s, and `values.yaml` from them. Called
//! by `chart.rs`, which refuses a default that is not what the manifests say.

use std::io;

use crds::well_known::{CANARY, DECOY, OPERATOR};
use serde_json::{Value, json};

use super::{
    OPERATOR_IMAGE, SANDBOX_IMAGE,
    settings::{
        IMAGE_VOLUMES, LOG, OUTSIDE_CANARY, PROBE_IMAGE, PROBE_INTERVAL, PROBES_AT_ONCE, SETTINGS,
        TELEMETRY, USER_NAMESPACES,
    },
    yaml,
};

/// One value of the chart.
pub struct Setting {
    /// First part of its path.
    pub group: &'static str,
    /// Second and last part.
    pub key: &'static str,
    /// Comment in `values.yaml`.
    pub comment: &'static str,
    /// What the kustomization has.
    pub default: Value,
    /// Where it goes.
    pub places: Vec<Place>,
}

impl Setting {
    /// As a template names it.
    pub fn path(&self) -> String {
        format!("{}.{}", self.group, self.key)
    }
}

/// Where a value goes.
pub struct Place {
    /// Kind of the object.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Field in it (RFC 6901).
    pub pointer: String,
    /// What it becomes there.
    pub shape: Shape,
}

impl Place {
    /// Whether the object is the one that the value goes into.
    pub fn is_of(&self, object: &Value) -> bool {
        object["kind"] == json!(self.kind) && object["metadata"]["name"] == json!(self.name)
    }
}

/// As what a value goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Value,
    /// As a text.
    Text,
    /// Its negation.
    Not,
    /// As it is, with the line left out where it is empty.
    Optional,
}

impl Shape {
    /// What has to be there by default.
    pub fn of_default(self, default: &Value) -> Option<Value> {
        match (self, default) {
            (Self::Value, value) => Some(value.clone()),
            (Self::Text, value) => Some(json!(value.to_string())),
            (Self::Not, value) => Some(json!(value == &json!(false))),
            (Self::Optional, _) => None,
        }
    }
}

const IMAGE: &str = "/spec/template/spec/containers/0/image";
const HOST_USERS: &str = "/spec/template/spec/hostUsers";

/// Every value, in the order of `values.yaml`; those of a group stand together.
pub fn settings() -> Vec<Setting> {
    let settings = [of_operator(), of_probes(), of_sandboxes(), of_cluster()];
    settings.into_iter().flatten().collect()
}

fn of_operator() -> Vec<Setting> {
    let resources = json!({
        "requests": {"cpu": "200m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "256Mi"},
    });
    let deployment = |pointer| vec![place("Deployment", OPERATOR, pointer)];
    vec![
        Setting {
            group: "operator",
            key: "image",
            comment: "Image of the operator.",
            default: json!(OPERATOR_IMAGE),
            places: deployment(IMAGE),
        },
        Setting {
            group: "operator",
            key: "replicas",
            comment: "One per zone: the loss of any leaves enough. One of them leads.",
            default: json!(3),
            places: deployment("/spec/replicas"),
        },
        Setting {
            group: "operator",
            key: "resources",
            comment: "Requests and limits.",
            default: resources,
            places: deployment("/spec/template/spec/containers/0/resources"),
        },
        Setting {
            group: "operator",
            key: "log",
            comment: "Log filter: error, warn, info, debug, trace, or one per module.",
            default: json!("info"),
            places: vec![setting(LOG)],
        },
        Setting {
            group: "operator",
            key: "telemetryEndpoint",
            comment: "Where traces go by OTLP/HTTP, such as http://collector.observability:4318. \
                      Empty: nowhere.",
            default: json!(""),
            places: vec![Place {
                shape: Shape::Optional,
                ..setting(TELEMETRY)
            }],
        },
    ]
}

fn of_probes() -> Vec<Setting> {
    vec![
        Setting {
            group: "probe",
            key: "image",
            comment: "Image of probe pods, canary and decoy, and of the supervisor in sandboxes.",
            default: json!(SANDBOX_IMAGE),
            places: vec![
                setting(PROBE_IMAGE),
                place("Deployment", CANARY, IMAGE),
                place("Deployment", DECOY, IMAGE),
            ],
        },
        Setting {
            group: "probe",
            key: "interval",
            comment: "How often each tenant is probed when nothing changes.",
            default: json!("5m"),
            places: vec![setting(PROBE_INTERVAL)],
        },
        Setting {
            group: "probe",
            key: "atOnce",
            comment: "Most probes at once, over all tenants, from 1 to 1000.",
            default: json!(8),
            places: vec![Place {
                shape: Shape::Text,
                ..setting(PROBES_AT_ONCE)
            }],
        },
        Setting {
            group: "probe",
            key: "outsideCanary",
            comment: "ip:port outside the cluster that answers, and that no tenant may reach. \
                      Empty: not probed.",
            default: json!(""),
            places: vec![setting(OUTSIDE_CANARY)],
        },
    ]
}

fn of_sandboxes() -> Vec<Setting> {
    vec![Setting {
        group: "sandbox",
        key: "imageVolumes",
        comment: "Whether an image volume brings the supervisor into sandboxes that have no user \
                  namespace of their own: Kubernetes 1.35, or 1.34 with the feature gate \
                  ImageVolume. Turn off elsewhere: an init container copies it then, as into all \
                  others.",
        default: json!(true),
        places: vec![Place {
            shape: Shape::Text,
            ..setting(IMAGE_VOLUMES)
        }],
    }]
}

fn of_cluster() -> Vec<Setting> {
    let host_users = |name| Place {
        shape: Shape::Not,
        ..place("Deployment", name, HOST_USERS)
    };
    vec![Setting {
        group: "userNamespaces",
        key: "required",
        comment: "Whether every pod of a tenant, and of Cloister, must be in a user namespace of \
                  its own. Turn off only where nodes cannot do it.",
        default: json!(true),
        places: vec![
            Place {
                shape: Shape::Text,
                ..place(
                    "ValidatingAdmissionPolicy",
                    "cloister-pods",
                    "/spec/variables/0/expression",
                )
            },
            Place {
                shape: Shape::Text,
                ..setting(USER_NAMESPACES)
            },
            host_users(OPERATOR),
            host_users(CANARY),
            host_users(DECOY),
        ],
    }]
}

fn place(kind: &'static str, name: &'static str, pointer: &str) -> Place {
    Place {
        kind,
        name,
        pointer: pointer.to_owned(),
        shape: Shape::Value,
    }
}

/// A key of the settings' `ConfigMap`.
fn setting(key: &str) -> Place {
    place("ConfigMap", SETTINGS, &format!("/data/{key}"))
}

/// `values.yaml`.
pub fn file(settings: &[Setting]) -> io::Result<String> {
    let mut lines = vec![yaml::file(&[])?];
    let mut group = "";
    for setting in settings {
        if setting.group != group {
            group = setting.group;
            lines.push(format!("\n{group}:\n"));
        }
        lines.push(format!("  # {}\n", setting.comment));
        let entry = yaml::document(&json!({setting.key: setting.default}))?;
        lines.extend(entry.lines().map(|line| format!("  {line}\n")));
    }
    Ok(lines.concat())
}
