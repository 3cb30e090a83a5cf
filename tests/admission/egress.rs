//! Blocks and ports of an egress ceiling that no tenant may have, each refused with its field
//! and the remedy.

use serde_json::{Value, json};

use super::tenant::{accepted, refused};

fn ceiling(cidr: &str) -> Value {
    json!({"egressCeiling": [{"cidr": cidr, "ports": [{"port": 443}]}]})
}

#[tokio::test]
async fn rejects_what_is_no_cidr() {
    for cidr in [
        "internet",
        "203.0.113.0",
        "203.0.113.0/33",
        "203.0.113.1/24",
        "2001:4860::1/32",
        "203.0.113.0/",
        "203.0.113/24",
        "::ffff:203.0.113.0/120",
        "203.0.113.0/024",
        " 8.8.8.8/32",
    ] {
        let words: &[&str] = &["spec.isolation.egressCeiling[0].cidr", "not a CIDR"];
        refused("/spec/isolation", &[(ceiling(cidr), words)]).await;
    }
}

/// Each with a block of these or of a part of them, or that they are a part of.
const NEVER: &[&str] = &[
    // Everything holds them.
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "8000::/1",
    "::/3",
    // Private.
    "10.0.0.0/8",
    "10.96.0.1/32",
    "8.0.0.0/6",
    "172.16.0.0/12",
    "172.20.0.0/16",
    "172.0.0.0/8",
    "192.168.0.0/16",
    "192.168.1.1/32",
    "192.0.0.0/4",
    "fc00::/7",
    "fd00::/8",
    // Metadata, also by its other names.
    "169.254.169.254/32",
    "169.254.0.0/16",
    "168.0.0.0/6",
    "fd00:ec2::254/128",
    "192.0.0.192/32",
    "64:ff9b::a9fe:a9fe/128",
    "64:ff9b:1::/48",
    "2002:a9fe:a9fe::/48",
    "2001::a9fe:a9fe/128",
    // Holds the IPv4-mapped addresses, and looks like none of them.
    "::ffc0:0:0/90",
    // Azure's, a public address.
    "168.63.129.16/32",
    "168.63.128.0/20",
    // Carrier-grade NAT, where some clouds have metadata and nodes.
    "100.64.0.0/10",
    "100.100.100.200/32",
    "100.0.0.0/8",
    // This host, this link, multicast, reserved.
    "127.0.0.1/32",
    "0.0.0.0/8",
    "fe80::/10",
    "fe80::1/128",
    "ff02::1/128",
    "224.0.0.1/32",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "198.18.0.0/15",
];

/// Right next to them.
const PUBLIC: &[&str] = &[
    "9.0.0.0/8",
    "11.0.0.0/8",
    "100.63.255.0/24",
    "100.128.0.0/9",
    "168.63.129.0/28",
    "168.63.129.17/32",
    "169.253.0.0/16",
    "169.255.0.0/16",
    "172.15.0.0/16",
    "172.32.0.0/11",
    "192.167.0.0/16",
    "192.169.0.0/16",
    "223.255.255.0/24",
    "2001:1::/32",
    "2001:4860::/32",
    "2003::/16",
    "8.8.8.8/32",
];

#[tokio::test]
async fn rejects_addresses_that_no_tenant_may_reach() {
    let words: &[&str] = &[
        "spec.isolation.egressCeiling[0].cidr",
        "which no tenant",
        "public addresses only",
    ];
    for cidr in NEVER {
        refused("/spec/isolation", &[(ceiling(cidr), words)]).await;
    }
    let public: Vec<Value> = PUBLIC.iter().map(|cidr| ceiling(cidr)).collect();
    accepted("/spec/isolation", &public).await;
}

#[tokio::test]
async fn rejects_ports_that_are_none() {
    let ports = |ports: Value| json!({"egressCeiling": [{"cidr": "8.8.8.0/24", "ports": ports}]});
    refused(
        "/spec/isolation",
        &[
            (
                ports(json!([])),
                &["egressCeiling[0].ports", "at least 1 items"],
            ),
            (
                ports(json!([{"port": 0}])),
                &["ports[0].port", "greater than or equal to 1"],
            ),
            (
                ports(json!([{"port": 65536}])),
                &["ports[0].port", "less than or equal to 65535"],
            ),
            (
                ports(json!([{"port": 443, "endPort": 442}])),
                &["ports[0].endPort", "endPort must not be below port"],
            ),
            (
                ports(json!([{"port": 1, "protocol": "ICMP"}])),
                &["ports[0].protocol", "supported values"],
            ),
        ],
    )
    .await;
}
