//! What is kept of a node.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;

/// What is kept of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveNode {
    /// Its kubelet says so.
    pub ready: bool,
    /// It is ready, and nothing keeps ordinary pods away.
    pub usable: bool,
    /// By the well-known label.
    pub region: String,
    /// By the well-known label.
    pub zone: String,
    /// By the well-known label; what a node selector can name.
    pub hostname: String,
    /// Every address of it, those inside the cluster's network first.
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
        let mut addresses: Vec<_> = status
            .iter()
            .flat_map(|status| status.addresses.iter().flatten())
            .collect();
        addresses.sort_by_key(|address| address.type_ != "InternalIP");
        let ready = status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Self {
            ready,
            usable: ready && !tainted,
            region: label(crds::well_known::REGION_LABEL),
            zone: label(crds::well_known::ZONE_LABEL),
            hostname: label("kubernetes.io/hostname"),
            addresses: addresses
                .iter()
                .filter_map(|address| address.address.parse().ok())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_inside_come_first() {
        let node: Node = serde_json::from_value(json!({"metadata": {}, "status": {"addresses": [
            {"type": "Hostname", "address": "node-a"},
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "InternalIP", "address": "2001:db8::1"},
        ]}}))
        .unwrap();
        let expected = ["192.0.2.1", "2001:db8::1", "203.0.113.1"];
        let found = LiveNode::of(&node).addresses;
        let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
        assert_eq!(found, expected);
    }
}
