//! What `cloister-sandbox run` is told ([`RunContract`]), and what it tells when it is over
//! ([`RunReport`]).
//!
//! Both carry [`RUN_VERSION`]. An unknown field is an error on either side: a jail that was
//! asked for something it has never heard of is not the jail that was asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of both messages. Raised by any change of meaning.
pub const RUN_VERSION: u32 = 1;
/// Most bytes of a serialized [`RunContract`]: twice what its parts may add up to.
pub const MAX_CONTRACT_BYTES: usize = 1024 * 1024;
/// Most bytes of an input; more goes to object storage by digest.
pub const MAX_INPUT_BYTES: usize = 8 * 1024;
/// Most bytes of a result; more goes to object storage by digest.
pub const MAX_RESULT_BYTES: usize = 4 * 1024;
/// Most bytes of command, arguments and environment together. Linux takes a quarter of the
/// stack's limit (2 MiB of 8) and 128 KiB a string (`execve(2)`).
pub const MAX_EXEC_BYTES: usize = 384 * 1024;
/// Longest serialized [`RunReport`]: a result of control characters takes six bytes for one
/// in JSON, and all the rest fits into 4 KiB.
pub const MAX_RUN_REPORT_BYTES: usize = 6 * MAX_RESULT_BYTES + 4096;

/// One command, and the jail that it runs in. `plan` refuses what is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunContract {
    /// [`RUN_VERSION`] of the writer.
    pub version: u32,
    /// What stands between the command and the node's kernel.
    pub profile: Profile,
    /// A path, or a name that is looked for in `PATH` of `environment`.
    pub command: String,
    /// What follows the command's name.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The whole environment, but for a `PATH` where it has none. Nothing is inherited.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Working directory, absolute.
    pub directory: String,
    /// Directories below which files may be written: absolute, mounted by the pod and so
    /// not replaceable from inside. All else can be read at most.
    pub writable: Vec<String>,
    /// Directories and files whose content the command must not read, such as the token that
    /// the supervisor shows to the operator; not below `writable`. Only Landlock can hide what
    /// the pod has mounted for this user, so under gVisor asking is refused.
    #[serde(default)]
    pub hidden: Vec<String>,
    /// What the command is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// File that the command may leave its result in, at most [`MAX_RESULT_BYTES`] of UTF-8;
    /// directly in one of `writable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// How long it may take.
    pub time: Time,
    /// What it may use.
    pub limits: Limits,
    /// How much of what it says is passed on.
    pub output: OutputBounds,
}

/// What stands between the command and the node's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Profile {
    /// The node's own kernel, with Landlock and seccomp.
    Hardened {
        /// Least Landlock ABI that will do, 3 or more: 3 guards truncation, 5 device ioctls,
        /// 6 signals and abstract unix sockets. What the kernel has beyond it is used too.
        landlock_abi: u8,
    },
    /// gVisor's kernel, with seccomp inside it. gVisor has no Landlock and stands for it:
    /// files are kept by the pod's read-only root alone.
    GVisor,
}

/// What the command reads from stdin, and finds in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// At most [`MAX_INPUT_BYTES`].
    pub text: String,
    /// Where it is put, too: directly in one of `writable`, and not there yet.
    pub file: String,
}

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Time {
    /// Milliseconds from start to the first SIGTERM, 1 to 7 days; `null` is as long as it likes,
    /// for what runs until it is asked to end. Has to be said either way.
    #[serde(deserialize_with = "Option::deserialize")]
    pub limit_ms: Option<u64>,
    /// Milliseconds from SIGTERM to SIGKILL, at timeout and at cancel; 0 to 1 hour.
    pub grace_ms: u64,
}

/// Resource limits (`setrlimit(2)`), soft and hard alike. Cores are never dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Open descriptors of one process, 16 or more.
    pub files: u64,
    /// Processes and threads **of the user on the node**, not of the pod: only to be asked
    /// for where the pod has a user namespace of its own. gVisor counts none, so there
    /// asking is refused; the pod's own limit of processes holds in either case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Bytes of the largest file; writing more is SIGXFSZ.
    pub file_bytes: u64,
    /// Bytes of address space of one process, 16 MiB or more, or as much as it likes. Some
    /// languages reserve far more than they use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_space_bytes: Option<u64>,
}

/// How much of stdout and stderr is passed on. What is beyond is read, counted and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputBounds {
    /// Bytes of a line, 64 to 65,536; the rest of the line is dropped.
    pub line_bytes: u32,
    /// Bytes of both streams together; every line that begins beyond is dropped. 0 passes on
    /// nothing.
    pub total_bytes: u64,
}

/// The outcome of one `run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunReport {
    /// [`RUN_VERSION`] of the writer.
    pub version: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Outcome {
    /// Not one instruction of the user's ran.
    Refused(Refusal),
    /// The command was started, and everything that it started is over.
    Ended(Ending),
}

/// Why nothing ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refusal {
    /// Whose business it is.
    pub reason: RefusalReason,
    /// What is missing, for people; at most 1,024 bytes.
    pub message: String,
}

/// Whose business a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalReason {
    /// The contract cannot be read, or asks for what is out of bounds.
    BadContract,
    /// This kernel or this pod lacks what the profile asks for.
    NotEnforceable,
    /// The command is not there, or the kernel cannot run it.
    CommandNotFound,
    /// The working directory is not there, or may not be entered.
    DirectoryNotFound,
    /// Something else went wrong on the way.
    Failed,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ending {
    /// How the command itself ended.
    pub exit: Exit,
    /// What made it end.
    pub cause: Cause,
    /// Processes that the kernel killed for want of memory while it ran, by the pod's own
    /// cgroup; `None` where that cannot be read (gVisor, no cgroup mounted).
    pub oom_kills: Option<u64>,
    /// Milliseconds from start to the end of the last process.
    pub wall_ms: u64,
    /// Of all processes together.
    pub usage: Usage,
    /// What became of the output.
    pub output: OutputCount,
    /// What the result file held.
    pub result: RunResult,
    /// Something outlived SIGKILL for seconds (uninterruptible in the kernel). It ends with
    /// the pod at the latest.
    pub left_behind: bool,
}

/// How the command itself ended (`wait(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
    /// It had not ended when the waiting did; see `left_behind`.
    Unknown,
}

/// What made a run end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The command ended before anyone asked it to.
    Completed,
    /// The time limit came first.
    TimedOut,
    /// SIGTERM or SIGINT from outside the pod came first.
    Canceled,
}

/// Resources used (`getrusage(2)`, `RUSAGE_CHILDREN`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Usage {
    /// Milliseconds of processor time in user mode.
    pub user_ms: u64,
    /// Milliseconds of processor time in the kernel.
    pub system_ms: u64,
    /// KiB resident at most in the largest single process; no less than the supervisor's own, whose
    /// memory a command shares until it is executed.
    pub max_resident_kib: u64,
}

/// What became of the output. Lines are numbered from 1 over both streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputCount {
    /// Bytes read from stdout, line ends included.
    pub stdout_bytes: u64,
    /// Bytes read from stderr, line ends included.
    pub stderr_bytes: u64,
    /// Lines seen, whatever became of them.
    pub lines: u64,
    /// Of those, dropped whole.
    pub dropped_lines: u64,
    /// Of those, passed on without their end.
    pub cut_lines: u64,
    /// Bytes read and not passed on.
    pub dropped_bytes: u64,
    /// The pod's own stdout or stderr took everything that was passed on.
    pub delivered: bool,
}

/// What the result file held when everything had ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RunResult {
    /// No file was asked for, or none was left.
    None,
    /// Its content.
    Text(String),
    /// More than [`MAX_RESULT_BYTES`].
    TooLarge,
    /// Not UTF-8.
    NotText,
    /// Not a plain file, or it cannot be read.
    Unreadable,
}
