//! What Cloister answers about an Execution.

use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{closed_list, condition::Condition};

/// How an Execution fares, and what came of it. A terminal reason never changes again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions by type: `Succeeded` (Unknown until it has ended), `SandboxVerified`.
    #[serde(default)]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
    /// Number of the attempt, from 1; 0 while there was none.
    #[serde(default)]
    pub attempt: i32,
    /// Where the attempt runs or ran. Written before it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// When what happened.
    #[serde(default)]
    pub times: Times,
    /// What the sandbox saw of itself and of the network before the command ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Checks>,
    /// Exit code of the command, if it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended the command, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What the command left in `/work/result`: at most 4096 bytes, 8192 as JSON, with no control
    /// characters but line ends and tabs. Of anything else the message says that it was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub result: Option<String>,
    /// What the command of the latest attempt that has ended said: the end of both streams, and
    /// how much there was. Nothing if it said nothing, or if `logs` of the Integration is Off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

/// Most bytes of text in an [`Output`], of both streams together.
pub const MAX_TAIL_BYTES: usize = 4096;

/// What a command said: the last 4096 bytes of text in all, of which either stream is sure of
/// half; less where the whole status would otherwise have more than 16 KiB as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// On stdout.
    #[serde(default)]
    pub stdout: OutputStream,
    /// On stderr.
    #[serde(default)]
    pub stderr: OutputStream,
}

/// What a command said on one stream, as far as the operator has heard of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputStream {
    /// Bytes, whether they came to the operator or not.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub bytes: i64,
    /// Lines of them; the last one counts if it has no end, too.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub lines: i64,
    /// Of the bytes, those that never came: said faster than they are passed on, or while no
    /// operator listened for too long. In the tail a line in brackets stands for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub missed_bytes: i64,
    /// Line ends among those.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub missed_lines: i64,
    /// The end of what was said. What is not UTF-8, and all that controls a terminal but line
    /// ends and tabs, shows as U+FFFD.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub tail: String,
    /// The tail is not all that was said.
    #[serde(default)]
    pub truncated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &i64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The pod of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// Its name.
    #[schemars(length(max = 63))]
    pub pod: String,
    /// Its UID, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// Its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,
    /// That node's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub zone: Option<String>,
    /// Digest of the image, as the node's runtime has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image_digest: Option<String>,
    /// It ends the command by itself where it is cut off from the operator, as `retries` ask of it: only
    /// then may the next attempt begin without a word of its end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fenced: bool,
}

/// When what happened to an Execution, by the operator's clock, to the microsecond.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// The operator saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub seen: Option<Timestamp>,
    /// A sandbox was chosen for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub claimed: Option<Timestamp>,
    /// The sandbox said that the command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started: Option<Timestamp>,
    /// It was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended: Option<Timestamp>,
}

/// A proof in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// When the sandbox looked last before the command ran.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// How many things were as they must be.
    pub passed: i32,
    /// What was not: check, target, what was expected and what was seen. Empty when proven.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub fault: String,
}

closed_list! {
    /// Condition types of an Execution.
    ExecutionCondition {
        /// Whether the command ran to its end and ended well; Unknown until it has ended.
        Succeeded,
        /// The sandbox saw, from inside and before the command ran, that it is as it must be.
        SandboxVerified,
    }
}

closed_list! {
    /// Reasons of an Execution's conditions.
    ExecutionReason {
        /// It waits; the message says for what.
        Queued,
        /// It has its sandbox, and the command does not run yet.
        Starting,
        /// The command runs.
        Running,
        /// An attempt failed, and another one is to come.
        Retrying,

        /// The command ended with code 0.
        Completed,
        /// The command ended with another code or by a signal; look at `status.output`.
        Failed,
        /// It took longer than the Integration's timeout.
        TimedOut,
        /// Somebody asked it to end.
        Canceled,
        /// It wanted more memory than it may have. Raise the Integration's resources.
        OOMKilled,
        /// The node needed room and took the pod away.
        Evicted,
        /// The node, or the pod, was lost with the outcome unknown: it may have run.
        NodeLost,
        /// The sandbox is less than it must be; nothing of the command ran.
        SandboxUnproven,
        /// The tenant's isolation is not proven; nothing of the command ran.
        IsolationUnverified,
        /// The image cannot be had.
        ImageUnavailable,
        /// The tenant's quota had no room until the start deadline.
        QuotaExceeded,
        /// It did not start by the start deadline; the message says what it waited for.
        StartDeadlineExceeded,
        /// The tenant was not Active until the start deadline.
        TenantSuspended,
        /// It cannot run as it is; the message names field and remedy.
        Rejected,
        /// Another Execution with the same idempotency key stands for it.
        Duplicate,

        /// All checks passed.
        Proven,
        /// No sandbox has reported yet.
        ProofPending,
        /// It ended before it had a sandbox.
        NoSandbox,
    }
}
