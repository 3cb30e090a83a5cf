//! What the operator and the binary inside the pod say to each other.
//!
//! In: nothing; this crate is types. Out: [`ProbeRequest`], which the operator writes
//! into the arguments of a probe pod, and [`ProbeReport`], which the probe leaves as its
//! termination message. Both carry [`VERSION`]; a side that reads another version
//! refuses, because a half-understood proof proves nothing. [`run`] holds what a sandbox is
//! told to run, under a version of its own, [`serve`] what it is told at its start, and
//! [`dispatch`] how the two talk while it lives. [`work`] is what a Worker's pod is told, which
//! nobody talks to. [`judge`] says what a report means, to whoever has to act on it.

#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; see tests/golden.rs"
)]
pub mod dispatch;
pub mod judge;
pub mod run;
pub mod serve;
pub mod work;

use serde::{Deserialize, Serialize};

/// Version of both messages. Raised by any change of meaning.
pub const VERSION: u32 = 2;

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
    /// Where something is mounted for this pod, beyond what every pod has.
    pub places: Vec<Place>,
}

/// A directory that is mounted for a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// Absolute path, as in the pod's spec.
    pub path: String,
    /// Whether it may be written: then it has to be in memory, else mounted read-only.
    pub writable: bool,
    /// Whether it is a volume that outlives the pod: then it may be written, and has to lie at the
    /// very path, wherever links of the image lead from there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lasting: bool,
}

/// One thing to try, and what has to come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Which promise this target stands for.
    pub check: Check,
    /// `ip:port` to dial (IPv6 in brackets), or for [`Check::Dns`] the name to resolve. For the canary
    /// and the decoy it may be `name:port`, resolved for every look; a name that is not is no silence.
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

/// The probe's own process, read from `/proc`, `/sys` and the file system. Under gVisor its kernel
/// answers: `seccomp` is 0, `user_namespace` false and `unmasked` empty there however well it
/// confines. Every field has to be there: what a report leaves out, it does not prove.
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
    /// User id 0 inside is another user outside (`/proc/self/uid_map`).
    pub user_namespace: bool,
    /// The root file system refused a write, and its mount is read-only.
    pub root_read_only: bool,
    /// Mounts that are neither the runtime's own nor at one of the request's places.
    pub foreign_mounts: Strays,
    /// Paths below `/proc` and `/sys` that the runtime has to cover or make read-only, and did not.
    pub unmasked: Strays,
    /// What lies in `/dev` beyond the devices that every container has.
    pub foreign_devices: Strays,
    /// Tokens other than the one that the sandbox shows to the operator.
    pub tokens: Strays,
    /// Bytes of memory that it may have: by its own cgroup, under gVisor by its kernel's total.
    pub memory_limit: Limit,
    /// Processes and threads that it may have: by its own cgroup, or by `RLIMIT_NPROC` if that is less.
    pub process_limit: Limit,
}

/// Things that should not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strays {
    /// How many.
    pub count: u32,
    /// The first of them, at most [`Strays::MAX_FIRST`] printable characters of ASCII; empty if there is none.
    pub first: String,
}

impl Strays {
    /// Longest `first`, in bytes: four of them fit into a report beside all its checks.
    pub const MAX_FIRST: usize = 80;

    /// Counts them, and names the first so that it keeps its length as JSON.
    pub fn of(strays: impl IntoIterator<Item = String>) -> Self {
        let mut strays = strays.into_iter();
        let Some(first) = strays.next() else {
            return Self::default();
        };
        let plain = |one: char| matches!(one, ' '..='~') && !matches!(one, '"' | '\\');
        let first = first.chars().map(|one| if plain(one) { one } else { '?' });
        Self {
            count: u32::try_from(strays.count())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
            first: first.take(Self::MAX_FIRST).collect(),
        }
    }

    /// Whether there is none.
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Display for Strays {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            0 => formatter.write_str("none"),
            1 => formatter.write_str(&self.first),
            more => write!(formatter, "{} and {} more", self.first, more - 1),
        }
    }
}

/// The most of something that a process may have, as it sees that itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// So many.
    At(u64),
    /// As many as there are.
    Unlimited,
    /// Nothing here tells.
    Hidden,
}

impl Limit {
    /// Whether it is known to be no more than that.
    pub const fn is_within(self, most: u64) -> bool {
        matches!(self, Self::At(limit) if limit <= most)
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(limit) => limit.fmt(formatter),
            Self::Unlimited => formatter.write_str("unlimited"),
            Self::Hidden => formatter.write_str("nothing that tells of one"),
        }
    }
}

/// Which kernel a process runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeenRuntime {
    /// The node's own kernel.
    Host,
    /// gVisor's kernel (its `/proc/version` and `dmesg` signature).
    GVisor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_are_counted_and_the_first_is_named_in_bounds() {
        assert!(Strays::of([]).is_none());
        assert_eq!(Strays::of([]).to_string(), "none");
        assert_eq!(Strays::of(["/a".to_owned()]).to_string(), "/a");
        let many = Strays::of(["/a\"\\\n\u{e9}".to_owned(), String::new(), String::new()]);
        assert_eq!(many.to_string(), "/a???? and 2 more");
        let long = Strays::of(["x".repeat(1000)]);
        assert_eq!(long.first.len(), Strays::MAX_FIRST);
    }

    #[test]
    fn only_a_known_limit_is_within_bounds() {
        assert!(Limit::At(5).is_within(5) && !Limit::At(6).is_within(5));
        assert!(!Limit::Unlimited.is_within(u64::MAX) && !Limit::Hidden.is_within(u64::MAX));
    }

    #[test]
    fn nothing_that_is_left_out_is_taken_for_good() {
        let whole = serde_json::json!({
            "runtime": "Host", "uid": 1, "gid": 1, "noNewPrivs": true, "capabilities": 0,
            "seccomp": 2, "userNamespace": true, "rootReadOnly": true,
            "foreignMounts": {"count": 0, "first": ""}, "unmasked": {"count": 0, "first": ""},
            "foreignDevices": {"count": 0, "first": ""}, "tokens": {"count": 0, "first": ""},
            "memoryLimit": {"At": 1}, "processLimit": "Hidden",
        });
        assert!(serde_json::from_value::<Inside>(whole.clone()).is_ok());
        for field in whole.as_object().unwrap().keys() {
            let mut partial = whole.clone();
            partial.as_object_mut().unwrap().remove(field);
            assert!(
                serde_json::from_value::<Inside>(partial).is_err(),
                "{field}"
            );
        }
    }
}
