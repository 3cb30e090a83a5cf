//! What is kept of a node.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;

/// What is kept of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveNode {
    /// Its kubelet says so, and nothing keeps ordinary pods away.
    pub usable: bool,
    /// By the well-known label.
    pub region: String,
    /// By the well-known label.
    pub zone: String,
    /// By the well-known label; what a node selector can name.
    pub hostname: String,
    /// Every address of it.
    pub addresses: Vec<IpAddr>,
}

impl LiveNode {
    /// Boils a node down.
    pub fn of(node: &Node) -> Self {
        let label = |key: &str| {
            let labels = node.metadata.labels.as_ref();
            labels
                .and_then(|map| map.get(key))
                .cloned()
                .unwrap_or_default()
        };
        let spec = node.spec.as_ref();
        let tainted = spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten())
            .any(|taint| taint.effect != "PreferNoSchedule");
        let status = node.status.as_ref();
        let ready = status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Self {
            usable: ready && !tainted,
            region: label(crds::well_known::REGION_LABEL),
            zone: label(crds::well_known::ZONE_LABEL),
            hostname: label("kubernetes.io/hostname"),
            addresses: status
                .iter()
                .flat_map(|status| status.addresses.iter().flatten())
                .filter_map(|address| address.address.parse().ok())
                .collect(),
        }
    }
}
