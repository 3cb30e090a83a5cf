//! A real Kubernetes of three zones on this machine: built, started, broken and removed.
//!
//! Nothing in it is faked. It runs the same programs as a production cluster; only the three machines
//! are namespaces of this one. `up` starts it, `down` removes every trace of it, and between the two a
//! node can be frozen, killed or cut off, and the engine of network policies stopped.
//!
//! | file | what |
//! |---|---|
//! | `topology` | names, zones, addresses |
//! | `components`, `build`, `packages` | what it is made of, and where that comes from |
//! | `images` | container images, built offline |
//! | `paths`, `pki`, `config` | where things lie; keys; configuration files |
//! | `command`, `process`, `cgroup`, `lock` | programs, who they are, where they belong |
//! | `network`, `outside` | cables; what stands for the internet |
//! | `control_plane`, `node` | what runs on the host; what runs on a node |
//! | `up`, `down`, `status`, `faults`, `load` | what one can do with it |
//! | `cli` | the same, typed |
//!
//! From a test:
//!
//! ```no_run
//! use tests::cluster::Cluster;
//!
//! let cluster = Cluster::current()?;
//! cluster.freeze("node-a")?;
//! cluster.kubectl(&["get", "nodes"])?;
//! cluster.thaw("node-a")?;
//! # Ok::<(), tests::cluster::Error>(())
//! ```

mod build;
mod cgroup;
pub mod cli;
mod command;
mod components;
mod config;
mod control_plane;
mod down;
mod error;
mod faults;
mod images;
mod load;
mod lock;
mod network;
mod node;
mod outside;
mod packages;
mod paths;
mod pki;
mod process;
mod status;
pub mod topology;
mod up;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use cgroup::Cgroups;
use command::Daemon;
use lock::Lock;
use paths::Paths;
use process::Register;

pub use error::Error;
pub use faults::Fault;
pub use status::{DaemonStatus, NodeStatus, Status};
pub use up::Options;

/// Where Debian keeps the compiler that Cilium's agent calls, by the names that it calls it by.
const LLVM: &str = "/usr/lib/llvm-19/bin";

/// Where these components lie, built now if they never were: for what needs a few programs
/// of a cluster and no cluster.
pub fn built(names: &[&str]) -> Result<Vec<PathBuf>, Error> {
    build::ensure(&Paths::from_environment()?, &build::named(names)?)
}

/// The cluster of this machine. There is at most one.
#[derive(Debug)]
pub struct Cluster {
    paths: Paths,
    cgroups: Cgroups,
}

impl Cluster {
    /// The cluster of this machine, be it up or not.
    pub fn of_this_machine() -> Result<Self, Error> {
        Ok(Self {
            paths: Paths::from_environment()?,
            cgroups: Cgroups::of_this_machine()?,
        })
    }

    /// The cluster that is up, or an error that says how to get one.
    pub fn current() -> Result<Self, Error> {
        let cluster = Self::of_this_machine()?;
        if cluster.is_up() {
            Ok(cluster)
        } else {
            Err(Error::NotUp)
        }
    }

    /// Whether `up` has come to its end, in this life of the machine.
    pub fn is_up(&self) -> bool {
        std::fs::read_to_string(self.paths.marker()).is_ok_and(|boot| boot == process::boot_id())
    }

    /// For clients with all rights. The path is the same for every cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.paths.kubeconfig()
    }

    /// One line of JSON for each write that the API server was asked for.
    pub fn audit_log(&self) -> PathBuf {
        self.paths.audit_log()
    }

    /// One line for each caller of the outside: nothing that a policy forbids may be in it.
    pub fn outside_log(&self) -> PathBuf {
        self.paths.logs().join("outside.log")
    }

    /// Runs kubectl and returns what it prints.
    pub fn kubectl<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, Error> {
        command::run(self.kubectl_command().args(args))
    }

    /// Runs kubectl with something on its standard input.
    pub fn kubectl_with_input<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        input: &str,
    ) -> Result<String, Error> {
        command::run_with_input(self.kubectl_command().args(args), input)
    }

    fn kubectl_command(&self) -> Command {
        let mut kubectl = Command::new(self.program("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.paths.kubeconfig());
        kubectl
    }

    fn program(&self, name: &str) -> String {
        self.paths.bin().join(name).display().to_string()
    }

    fn processes(&self) -> Register {
        Register::new(&self.paths.processes())
    }

    /// What every daemon finds in its environment.
    fn environment(&self) -> Vec<(String, String)> {
        let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let path = format!("{}:{LLVM}:{system}", self.paths.bin().display());
        vec![("PATH".to_owned(), path)]
    }

    /// Starts a daemon and writes down who it is. One that runs already is left alone.
    fn start_daemon(&self, name: &str, daemon: &Daemon) -> Result<(), Error> {
        if self.processes().alive(name).is_some() {
            return Ok(());
        }
        self.processes().record(name, daemon.start()?)
    }

    /// Waits for its turn to change the cluster.
    fn lock(&self) -> Result<Lock, Error> {
        Lock::take(&self.paths.lock())
    }
}
