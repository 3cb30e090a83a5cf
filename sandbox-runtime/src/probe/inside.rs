//! What the kernel tells about this process → [`Inside`]. Pure; [`super::look`] reads it.
//!
//! Two kernels answer here: Linux and gVisor's, which lacks some lines and orders some
//! checks differently. What one of them leaves out is concluded from what it does say, and
//! where that is impossible, nothing is concluded.

use contract::{Inside, Place, SeenRuntime, Strays};
use rustix::io::Errno;

use super::devices::{self, Device};
use super::{limits, mounts};

/// The version by which gVisor's kernel introduces itself (`LinuxVersion` of its
/// `syscalls/linux`). The release before it is no signature: 4.4.0 for years, then
/// 4.19.0-gvisor, then 5.15.0-gvisor.
const GVISOR_VERSION: &str = "#1 SMP Sun Jan 10 15:06:54 PST 2016";

/// Sets that a capability may hide in. The fifth, `CapAmb`, is a subset of `CapPrm` by the
/// kernel's rules, and gVisor does not print it.
const CAPABILITY_SETS: [&str; 4] = ["CapInh", "CapPrm", "CapEff", "CapBnd"];

/// All that was read.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// `/proc/self/status`.
    pub status: String,
    /// `/proc/self/uid_map`.
    pub uid_map: String,
    /// `/proc/self/mountinfo`.
    pub mounts: String,
    /// `/proc/version`.
    pub proc_version: String,
    /// `version` of `uname(2)`.
    pub kernel_version: String,
    /// `PR_GET_NO_NEW_PRIVS` of `prctl(2)`.
    pub no_new_privs: bool,
    /// What came of creating a file in `/`.
    pub root_write: Result<(), Errno>,
    /// Where something may be mounted for the pod, without links in the paths.
    pub places: Vec<Place>,
    /// Which paths of [`mounts::MASKED`] and [`mounts::READ_ONLY`] are there.
    pub present: Vec<&'static str>,
    /// Everything in `/dev` but directories, files and links.
    pub devices: Vec<Device>,
    /// Files that are, or may be, tokens.
    pub tokens: Vec<String>,
    /// The memory limit of the own cgroup, as it says, if that is mounted.
    pub memory_limit: Option<String>,
    /// The same of processes.
    pub process_limit: Option<String>,
    /// `/proc/meminfo`.
    pub memory: String,
    /// The hard `RLIMIT_NPROC`, if there is one.
    pub hard_processes: Option<u64>,
}

/// The kernel said something that this probe cannot read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownForm {
    /// A line of `/proc/self/status` is missing or not a number.
    #[error("failed to read {0} of /proc/self/status")]
    Status(&'static str),
    /// `/proc/self/uid_map` is not three numbers a line.
    #[error("failed to read /proc/self/uid_map")]
    UidMap,
}

/// Draws the conclusions. An error means that something could not be read, in which case
/// there is nothing to say about the process at all.
pub fn conclude(evidence: &Evidence) -> Result<Inside, UnknownForm> {
    let status = Status(&evidence.status);
    let runtime = runtime(&evidence.proc_version, &evidence.kernel_version);
    let table = &evidence.mounts;
    Ok(Inside {
        runtime,
        uid: status.effective_id("Uid")?,
        gid: status.effective_id("Gid")?,
        // gVisor has no such line; its `prctl` has the answer.
        no_new_privs: match status.value("NoNewPrivs") {
            Some(value) => value == "1",
            None => evidence.no_new_privs,
        },
        capabilities: status.capabilities()?,
        seccomp: status.seccomp()?,
        user_namespace: user_namespace(&evidence.uid_map)?,
        root_read_only: is_refused(evidence.root_write) && mounts::is_root_read_only(table),
        foreign_mounts: mounts::foreign(table, &evidence.places, runtime),
        unmasked: mounts::unmasked(table, &evidence.present, runtime),
        foreign_devices: devices::foreign(&evidence.devices, runtime),
        tokens: Strays::of(evidence.tokens.iter().cloned()),
        memory_limit: limits::memory(evidence.memory_limit.as_deref(), &evidence.memory, runtime),
        process_limit: limits::processes(
            evidence.process_limit.as_deref(),
            evidence.hard_processes,
            runtime,
        ),
    })
}

/// `/proc/self/status`: `Name:<tab>value` lines.
struct Status<'a>(&'a str);

impl<'a> Status<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
        self.0.lines().find_map(value)
    }

    /// Second of real, effective, saved, file system.
    fn effective_id(&self, name: &'static str) -> Result<u32, UnknownForm> {
        let effective = self
            .value(name)
            .and_then(|ids| ids.split_whitespace().nth(1));
        effective
            .and_then(|id| id.parse().ok())
            .ok_or(UnknownForm::Status(name))
    }

    fn capabilities(&self) -> Result<u64, UnknownForm> {
        let mut union = self.set("CapAmb").unwrap_or(0);
        for name in CAPABILITY_SETS {
            union |= self.set(name).ok_or(UnknownForm::Status(name))?;
        }
        Ok(union)
    }

    fn set(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.value(name)?, 16).ok()
    }

    /// A kernel built without seccomp prints no line: it filters nothing.
    fn seccomp(&self) -> Result<u8, UnknownForm> {
        self.value("Seccomp").map_or(Ok(0), |mode| {
            mode.parse().map_err(|_| UnknownForm::Status("Seccomp"))
        })
    }
}

/// gVisor only if its system call and its `/proc` agree. `uname` cannot be covered by a
/// mount, as a file can; `/proc/version` cannot be altered by a personality.
pub(super) fn runtime(proc_version: &str, kernel_version: &str) -> SeenRuntime {
    if kernel_version == GVISOR_VERSION && proc_version.trim_end().ends_with(GVISOR_VERSION) {
        SeenRuntime::GVisor
    } else {
        SeenRuntime::Host
    }
}

/// Linux looks at the mount before it looks at permissions, so a read-only root says ROFS
/// to everyone. gVisor looks at permissions first and says ACCESS to a user who is not
/// root; a full disk or the like says nothing.
const fn is_refused(root_write: Result<(), Errno>) -> bool {
    matches!(root_write, Err(Errno::ROFS | Errno::ACCESS | Errno::PERM))
}

/// True if user 0 is mapped to another, and nobody is mapped to the outer user 0: a map
/// that gives the outer root to some other inner user isolates nothing.
fn user_namespace(uid_map: &str) -> Result<bool, UnknownForm> {
    let mut inner_zero_is_zero = None;
    let mut outer_zero_is_mapped = false;
    for line in uid_map.lines() {
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let Ok(&[inside, outside, _count]) = numbers.as_deref() else {
            return Err(UnknownForm::UidMap);
        };
        if inside == 0 {
            inner_zero_is_zero = Some(outside == 0);
        }
        outer_zero_is_mapped |= outside == 0;
    }
    Ok(inner_zero_is_zero == Some(false) && !outer_zero_is_mapped)
}

#[cfg(test)]
mod tests;
