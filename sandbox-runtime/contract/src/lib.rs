//! What the operator and the binary inside the pod say to each other.
//!
//! In: nothing; this crate is types. Out: [`ProbeRequest`], which the operator writes
//! into the arguments of a probe pod, and [`ProbeReport`], which the probe leaves as its
//! termination message. Both carry [`VERSION`]; a side that reads another version
//! refuses, because a half-understood proof proves nothing. [`run`] holds what a sandbox is
//! told to run, under a version of its own, [`serve`] what it is told at its start, and
//! [`dispatch`] how the two talk while it lives.

#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; see tests/golden.rs"
)]
pub mod dispatch;
pub mod run;
pub mod serve;

use serde::{Deserialize, Serialize};

/// Version of both messages. Raised by any change of meaning.
pub const VERSION: u32 = 1;

/// Longest serialized [`ProbeReport`], in bytes: what the kubelet keeps of a
/// termination message (`MaxContainerTerminationMessageLength` of Kubernetes).
pub const MAX_REPORT_BYTES: usize = 4096;

/// What a probe has to look at, once, in parallel, and report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeRequest {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// Milliseconds after which a dial that nobody answered counts as blocked.
    pub timeout_ms: u32,
    /// Everything to dial or to resolve.
    pub targets: Vec<Target>,
}

/// One thing to try, and what has to come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Which promise this target stands for.
    pub check: Check,
    /// `ip:port` to dial (IPv6 in brackets), or for [`Check::Dns`] the name to resolve.
    pub address: String,
    /// What must be seen.
    pub expect: Expect,
}

/// What a target stands for. The names appear in `Tenant.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Check {
    /// Positive control: the cluster's DNS answers.
    Dns,
    /// Positive control: Cloister's canary, on the one port that every tenant may reach.
    PermittedCanary,
    /// The same canary pods, on a port that no policy opens.
    ForbiddenCanary,
    /// A listener in a namespace labelled as another tenant's, with nothing in its way.
    OtherTenant,
    /// The cloud's metadata service, IPv4.
    MetadataV4,
    /// The cloud's metadata service, IPv6.
    MetadataV6,
    /// The cloud's metadata service, as an IPv4-mapped IPv6 address.
    MetadataMapped,
    /// The API server through its Service.
    ApiServerService,
    /// The API server at the address it listens on.
    ApiServerEndpoint,
    /// The kubelet of the node that the probe runs on.
    Kubelet,
    /// An address outside the cluster.
    Outside,
}

/// What has to be seen at a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// It must answer: a network that carries nothing proves nothing.
    Reachable,
    /// It must not answer.
    Blocked,
}

/// What was seen at a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Saw {
    /// A connection came up, or the name was resolved.
    Connected,
    /// Something answered with a refusal. The packet arrived: not blocked.
    Refused,
    /// Nothing came back in time.
    Silence,
    /// The own network stack knows no way there (no route, no such address family).
    Unroutable,
    /// The attempt itself went wrong: nothing is known.
    Error,
}

impl Saw {
    /// Whether this is proof of what was expected. `Error` proves neither.
    pub const fn satisfies(self, expect: Expect) -> bool {
        match expect {
            Expect::Reachable => matches!(self, Self::Connected),
            Expect::Blocked => matches!(self, Self::Silence | Self::Unroutable),
        }
    }
}

/// What one probe saw: the network and itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeReport {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// One entry per target, in the order of the request.
    pub checks: Vec<Observation>,
    /// What the probe found out about its own process.
    pub inside: Inside,
}

/// What was seen at one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// As in the request.
    pub check: Check,
    /// As in the request.
    pub address: String,
    /// As in the request.
    pub expect: Expect,
    /// What came of it.
    pub saw: Saw,
}

/// The probe's own process, read from `/proc` and the file system. Under gVisor its kernel
/// answers: `seccomp` is 0 and `user_namespace` false there however well it confines.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one line of the kernel's answer"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inside {
    /// Kernel that answers system calls, told by its own signature.
    pub runtime: SeenRuntime,
    /// Effective user id inside the pod.
    pub uid: u32,
    /// Effective group id inside the pod.
    pub gid: u32,
    /// `NoNewPrivs` of `/proc/self/status` is 1.
    pub no_new_privs: bool,
    /// Union of the five capability sets of `/proc/self/status`; 0 is none.
    pub capabilities: u64,
    /// `Seccomp` of `/proc/self/status`: 0 off, 1 strict, 2 filter.
    pub seccomp: u8,
    /// The root file system refused a write.
    pub root_read_only: bool,
    /// A service account token is mounted at its usual path.
    pub token_mounted: bool,
    /// User id 0 inside is another user outside (`/proc/self/uid_map`).
    pub user_namespace: bool,
}

/// Which kernel a process runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeenRuntime {
    /// The node's own kernel.
    Host,
    /// gVisor's kernel (its `/proc/version` and `dmesg` signature).
    GVisor,
}
