//! Looking from inside: when and where a probe runs, what it is asked, what its answer means.
//!
//! Not a kind of its own: the Tenant room plans with [`plan`], builds with [`pod`] and
//! judges with [`judge`], by what [`contract::judge`] makes of an answer; a room that starts pods will ask the same questions. Pure.

pub mod decoys;
pub mod judge;
pub mod plan;
pub mod pod;
pub mod targets;

use std::{net::SocketAddr, time::Duration};

use contract::SeenRuntime;
use crds::tenant::Runtime;

/// How probes are to be run, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Image that holds `/cloister-sandbox`.
    pub image: String,
    /// Time between two probes of a tenant while all is well.
    pub interval: Duration,
    /// Most probe pods under way at once, over all tenants.
    pub at_once: usize,
    /// Something outside the cluster that answers, for the check `Outside`.
    pub outside: Option<SocketAddr>,
    /// The API server as pods see it: the Service `kubernetes`.
    pub api_service: Option<SocketAddr>,
    /// Every pod must be in a user namespace of its own, unless gVisor gives it one.
    pub user_namespaces: bool,
}

/// What a probe must find itself confined by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Kernel boundary of the tenant's pods.
    pub runtime: Runtime,
    /// A user namespace of its own; of no account under gVisor, which hides it.
    pub user_namespace: bool,
}

/// A path, and whether it may be written.
pub type Place = (&'static str, bool);

/// What a probe must have been asked, and must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How its pod must be confined.
    pub confinement: Confinement,
    /// Where something is mounted for the pod.
    pub places: &'static [Place],
    /// Bytes of memory that it must not have more than, if that is asked.
    pub memory: Option<u64>,
    /// Processes and threads that it must not have more than, if that is asked.
    pub processes: Option<u64>,
}

impl Wanted {
    /// What is wanted of a probe of a Tenant: nothing is mounted for it, and it runs nothing of
    /// anybody's, so that limits are not its matter.
    pub const fn of_probe(confinement: Confinement) -> Self {
        Self {
            confinement,
            places: &[],
            memory: None,
            processes: None,
        }
    }

    /// What its process must find itself confined by.
    pub const fn of_process(&self) -> contract::judge::Wanted {
        contract::judge::Wanted {
            runtime: match self.confinement.runtime {
                Runtime::Hardened => SeenRuntime::Host,
                Runtime::GVisor => SeenRuntime::GVisor,
            },
            user_namespace: self.confinement.user_namespace,
            memory: self.memory,
            processes: self.processes,
        }
    }
}

impl ProbeSettings {
    /// Age from which the newest proof counts for nothing: two rounds may be missed.
    pub fn evidence_limit(&self) -> Duration {
        self.interval * 3 + PATIENCE
    }

    /// Pause before looking again after a probe that did not prove: fast enough to notice
    /// recovery, slow enough not to burden a cluster in trouble.
    pub fn retry(&self) -> Duration {
        self.interval.min(Duration::from_secs(20))
    }
}

/// How long a probe pod may take, from its creation to its report. A pod that starts needs
/// one to five seconds; beyond this something is wrong with the node.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// How long a dial waits for an answer, in milliseconds. An answer inside one cluster
/// takes a few; the whole set is dialled at once.
pub const DIAL_TIMEOUT_MS: u32 = 1500;
