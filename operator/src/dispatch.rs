//! Running Executions: sandboxes dial the replica that leads, and are given what to run.

use std::net::{IpAddr, SocketAddr};

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
