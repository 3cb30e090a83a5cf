//! Execution: one run of an Integration.
//!
//! In: what a person or a trigger writes, once. Out: the types, the CEL rules that refuse what
//! is wrong at admission, and the closed lists of conditions and reasons.
#![expect(
    clippy::duplicated_attributes,
    reason = "printer columns share a type and a priority"
)]

mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::status::{
    Checks, ExecutionCondition, ExecutionReason, ExecutionStatus, MAX_TAIL_BYTES, Output,
    OutputStream, Sandbox, Times,
};

/// Most bytes of an input (`contract::run::MAX_INPUT_BYTES` is the same).
pub const MAX_INPUT_BYTES: usize = 8192;

/// One run of an Integration. What it says never changes, but for `cancel`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cloister.dev",
    version = "v1alpha1",
    kind = "Execution",
    plural = "executions",
    shortname = "exec",
    category = "cloister",
    namespaced,
    status = "ExecutionStatus",
    derive = "PartialEq",
    doc = "One run of an Integration. What it says never changes, but for cancel.",
    selectable = ".spec.integration",
    printcolumn(
        name = "Integration",
        type_ = "string",
        json_path = ".spec.integration"
    ),
    printcolumn(
        name = "Succeeded",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Succeeded')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Succeeded')].reason"
    ),
    printcolumn(
        name = "Proof",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='SandboxVerified')].status"
    ),
    printcolumn(name = "Exit", type_ = "integer", json_path = ".status.exitCode"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Attempt",
        type_ = "integer",
        json_path = ".status.attempt",
        priority = 1
    ),
    printcolumn(
        name = "Pod",
        type_ = "string",
        json_path = ".status.sandbox.pod",
        priority = 1
    ),
    printcolumn(
        name = "Zone",
        type_ = "string",
        json_path = ".status.sandbox.zone",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new("self.integration == oldSelf.integration")
        .message("cannot be changed; create another Execution").field_path(".integration"),
    validation = Rule::new("has(self.input) == has(oldSelf.input) && \
                            (!has(self.input) || self.input == oldSelf.input)")
        .message("cannot be changed; create another Execution").field_path(".input"),
    validation = Rule::new("has(self.idempotencyKey) == has(oldSelf.idempotencyKey) && \
                            (!has(self.idempotencyKey) || self.idempotencyKey == oldSelf.idempotencyKey)")
        .message("cannot be changed; create another Execution").field_path(".idempotencyKey"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutionSpec {
    /// Name of the Integration, in the same namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub integration: String,

    /// JSON text that the command reads from stdin and finds at `/work/input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    #[x_kube(validation = Rule::new("size(bytes(self)) <= 8192")
        .message("at most 8192 bytes; put more into a store and name it here"))]
    pub input: Option<String>,

    /// Of all Executions of an Integration with the same key, one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub idempotency_key: Option<String>,

    /// Whether it is to end.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Requested' || self == 'Requested'")
        .message("what was canceled stays canceled; create another Execution"))]
    pub cancel: Cancel,
}

/// Whether an Execution is to end before it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Cancel {
    /// No.
    #[default]
    No,
    /// Yes: it is asked to end, and killed after the grace period.
    Requested,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(before: Option<&Value>, after: &Value) -> bool {
        kube::core::cel::validate_cel_schema::<ExecutionSpec>(after, before).is_err()
    }

    fn with(fields: &Value) -> Value {
        let mut spec = json!({"integration": "hello", "cancel": "No"});
        for (key, value) in fields.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    }

    #[test]
    fn an_input_is_counted_in_bytes() {
        for (input, is_refused) in [
            ("a".repeat(8192), false),
            ("\u{e9}".repeat(4096), false),
            ("\u{e9}".repeat(4097), true),
        ] {
            let spec = with(&json!({"input": input}));
            assert_eq!(refused(None, &spec), is_refused, "{} bytes", input.len());
        }
    }

    #[test]
    fn nothing_changes_but_cancel_and_that_only_once() {
        let bare = with(&json!({}));
        let full = with(&json!({"input": "{}", "idempotencyKey": "once"}));
        for (before, change) in [
            (&bare, json!({"integration": "another"})),
            (&bare, json!({"input": ""})),
            (&bare, json!({"idempotencyKey": "once"})),
            (&full, json!({"integration": "another"})),
        ] {
            assert!(refused(Some(before), &with(&change)), "{change}");
        }
        for field in ["input", "idempotencyKey"] {
            let mut fewer = full.clone();
            fewer.as_object_mut().unwrap().remove(field);
            assert!(refused(Some(&full), &fewer), "without {field}");
            let mut other = full.clone();
            other[field] = json!("other");
            assert!(refused(Some(&full), &other), "another {field}");
        }
        assert!(!refused(Some(&full), &full));
        let canceled = with(&json!({"cancel": "Requested"}));
        assert!(!refused(Some(&bare), &canceled));
        assert!(!refused(Some(&canceled), &canceled));
        assert!(refused(Some(&canceled), &bare));
    }
}
