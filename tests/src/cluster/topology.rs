//! The shape of the cluster, as data: names, zones, addresses.
//!
//! | what | where |
//! |---|---|
//! | API server, and the host's end of the bridge | 10.90.0.1 |
//! | node-a, node-b, node-c | 10.90.0.11, .12, .13 |
//! | the outside: the internet and the cloud's metadata service | 10.90.0.200 |
//! | pods | 10.244.0.0/16, a /24 for each node |
//! | Services | 10.96.0.0/16, of which .0.10 is the DNS |

use super::error::Error;

/// The bridge that joins host, nodes and outside.
pub const BRIDGE: &str = "clbr0";
/// Where the API server listens; the host's address on the bridge.
pub const API_ADDRESS: &str = "10.90.0.1";
/// Where pods look names up.
pub const DNS_ADDRESS: &str = "10.96.0.10";
/// All pods of all nodes.
pub const POD_CIDR: &str = "10.244.0.0/16";
/// All Services.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";
/// Of which Kubernetes this is.
pub const KUBERNETES_VERSION: &str = "v1.34.4";
/// The one region that the zones belong to.
pub const REGION: &str = "local-1";

/// The network namespace that stands for everything beyond the cluster.
pub const OUTSIDE: &str = "cl-outside";
/// The host's end of the cable to the outside.
pub const OUTSIDE_LINK: &str = "clv-outside";
/// The outside's address on the bridge.
pub const OUTSIDE_ADDRESS: &str = "10.90.0.200";
/// Addresses that only the outside has: a host of the internet, and the metadata services of clouds.
pub const OUTSIDE_SERVICES: [&str; 5] = [
    "203.0.113.10",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
];
/// Where the nodes send what goes there.
pub const OUTSIDE_ROUTES: [&str; 2] = ["203.0.113.0/24", "169.254.169.254/32"];

/// One node: a machine of its own as far as Kubernetes can see.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in Kubernetes.
    pub name: &'static str,
    /// Its availability zone.
    pub zone: &'static str,
    index: u8,
}

/// The nodes, one for each zone.
pub const NODES: [Node; 3] = [
    Node {
        name: "node-a",
        zone: "zone-a",
        index: 0,
    },
    Node {
        name: "node-b",
        zone: "zone-b",
        index: 1,
    },
    Node {
        name: "node-c",
        zone: "zone-c",
        index: 2,
    },
];

impl Node {
    /// The node of that name.
    pub fn named(name: &str) -> Result<&'static Self, Error> {
        NODES
            .iter()
            .find(|node| node.name == name)
            .ok_or_else(|| Error::UnknownNode(name.to_owned()))
    }

    /// Its address on the bridge.
    pub fn address(&self) -> String {
        format!("10.90.0.{}", 11 + self.index)
    }

    /// What its pods get their addresses from.
    pub fn pod_cidr(&self) -> String {
        format!("10.244.{}.0/24", self.index)
    }

    /// Its hardware address. It is always the same, so that a node that comes back is not taken for
    /// another one by its neighbours' caches.
    pub fn mac(&self) -> String {
        format!("02:c1:0a:5a:00:{:02x}", 11 + self.index)
    }

    /// The host's end of its network cable.
    pub fn link(&self) -> String {
        format!("clv-{}", self.name)
    }

    /// The name of its network namespace.
    pub fn netns(&self) -> String {
        format!("cl-{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_fit_the_kernel() {
        for link in NODES
            .iter()
            .map(Node::link)
            .chain([OUTSIDE_LINK.to_owned(), BRIDGE.to_owned()])
        {
            assert!(link.len() <= 15, "{link}");
        }
    }

    #[test]
    fn refuses_an_unknown_node() {
        assert!(Node::named("node-z").is_err());
        assert_eq!(Node::named("node-b").unwrap().address(), "10.90.0.12");
    }
}
