//! Executions: who waits gets a sandbox that has proven itself, runs in it once, and ends.
//!
//! Not a reconcile loop: between an Execution that comes and its first instruction there are
//! milliseconds, one write and one message. Instead: [`desk`] hears everything, [`book`] knows
//! it, [`turn`] and [`settle`] decide (pure), [`act`] is what they decide, and the desk does it.
//! What must survive this process is in the objects' status before it has any effect.

mod act;
mod book;
mod closing;
mod contract;
mod demand;
pub mod desk;
mod keep;
mod line;
mod making;
mod orders;
mod outcome;
mod output;
mod perform;
mod placement;
mod pod;
mod queue;
mod reach;
mod receipt;
mod register;
mod run;
mod sandbox;
mod say;
mod schedule;
mod setback;
mod settle;
mod silence;
mod status;
mod sweep;
mod talk;
mod tenant;
#[cfg(test)]
mod tests;
mod trigger;
mod turn;
mod under_way;

use std::net::{IpAddr, SocketAddr};

pub use self::{
    line::{GRACE, MONTH, amount, span},
    reach::is_for_desk,
    schedule::{Schedule, Step},
    tenant::{Landlord, Shut},
};

/// How Executions are to be run, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatchSettings {
    /// Where sandboxes are served.
    pub listen: SocketAddr,
    /// Address of this replica's pod, at which they find it. None outside a cluster.
    pub address: Option<IpAddr>,
    /// Image that holds `/cloister-sandbox`, which becomes the entrypoint of a sandbox.
    pub image: String,
    /// It is mounted as a volume. Where the cluster has no such volumes, an init container
    /// copies it instead.
    pub image_volumes: bool,
}
