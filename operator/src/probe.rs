//! Looking from inside: when and where a probe runs, what it is asked, what its answer means.
//!
//! Not a kind of its own: the Tenant room plans with [`plan`], builds with [`pod`] and
//! judges with [`judge`]; a room that starts pods will ask the same questions. Pure.

pub mod judge;
pub mod plan;
pub mod pod;
pub mod targets;

use std::{net::SocketAddr, time::Duration};

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
