//! What this kernel and this pod can do. Read only: nothing is changed, nothing is written.

use std::io;

use contract::SeenRuntime;
use rustix::process::getrlimit;

use crate::probe;
use crate::step::Resource;
use crate::sys::linux;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Whose kernel answers.
    pub runtime: SeenRuntime,
    /// Landlock ABI; 0 where there is none, or it is off.
    pub landlock_abi: u8,
    /// Filters of system calls are taken.
    pub seccomp_filter: bool,
    /// `no_new_privs` is known.
    pub no_new_privs: bool,
    /// Number of this process in its own PID namespace.
    pub process: u32,
    /// Hard limits that this process is under; what is not named has none.
    pub hard_limits: Vec<(Resource, u64)>,
}

impl Kernel {
    /// The hard limit of a resource, if it has one.
    pub fn hard_limit(&self, resource: Resource) -> Option<u64> {
        let limits = self.hard_limits.iter();
        limits
            .copied()
            .find_map(|(limited, most)| (limited == resource).then_some(most))
    }
}

/// Looks once.
pub fn look() -> io::Result<Kernel> {
    Ok(Kernel {
        runtime: probe::runtime()?,
        landlock_abi: linux::landlock_abi(),
        seccomp_filter: linux::has_seccomp_filter(),
        no_new_privs: rustix::thread::no_new_privs().is_ok(),
        process: std::process::id(),
        hard_limits: hard_limits(),
    })
}

fn hard_limits() -> Vec<(Resource, u64)> {
    let limit = |resource: Resource| Some((resource, getrlimit(resource.kernels()).maximum?));
    Resource::ALL.into_iter().filter_map(limit).collect()
}
