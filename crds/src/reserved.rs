//! Addresses that no tenant may reach, said once.
//!
//! In: nothing. Out: the list, as the rule of the CRD ([`rule`]) and as the question that
//! the operator asks ([`overlapped`]), so that both refuse the same; and the part of it
//! that every probe dials ([`METADATA`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::scalar::Cidr;

/// Blocks with which no CIDR of a Tenant may share an address: what is private to the
/// cluster, its nodes', the cloud's metadata, or nobody's.
pub const RESERVED: [&str; 18] = [
    "0.0.0.0/8",        // this network, RFC 1122
    "10.0.0.0/8",       // private, RFC 1918
    "100.64.0.0/10",    // carrier-grade NAT, RFC 6598; Alibaba's metadata, some clouds' pods
    "127.0.0.0/8",      // loopback, RFC 1122
    "168.63.129.16/32", // Azure's wire server; public, but the same one on every host
    "169.254.0.0/16",   // link-local, RFC 3927; most clouds' metadata
    "172.16.0.0/12",    // private, RFC 1918
    "192.0.0.0/24",     // protocol assignments, RFC 6890; Oracle's metadata
    "192.168.0.0/16",   // private, RFC 1918
    "198.18.0.0/15",    // benchmarking, RFC 2544
    "224.0.0.0/3",      // multicast and reserved, RFC 5771 and RFC 1112
    // Reserved, RFC 4291: loopback, and other ways to spell an IPv4 address: IPv4-mapped
    // ::ffff:0:0/96, NAT64 64:ff9b::/96 (RFC 6052) and 64:ff9b:1::/48 (RFC 8215).
    "::/8",
    "2001::/32",     // Teredo, RFC 4380: another way to spell an IPv4 address
    "2001:db8::/32", // documentation, RFC 3849
    "2002::/16",     // 6to4, RFC 3056: another way to spell an IPv4 address
    "fc00::/7",      // unique local, RFC 4193; AWS' metadata
    "fe80::/9",      // link-local and what was site-local, RFC 4291 and RFC 3879
    "ff00::/8",      // multicast, RFC 4291
];

/// Where the large clouds' nodes ask for their metadata, each on port 80.
pub const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // all of them, but for the next three
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure's wire server, besides
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle, formerly
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
];

/// The first of [`RESERVED`] that shares an address with this block.
pub fn overlapped(cidr: Cidr) -> Option<Cidr> {
    let blocks = RESERVED.iter().filter_map(|text| text.parse::<Cidr>().ok());
    blocks.into_iter().find(|block| block.overlaps(cidr))
}

/// The same as a rule of the CRD, where `self` is the block. One that is no CIDR is another
/// rule's to refuse.
pub(crate) fn rule() -> String {
    let blocks = RESERVED.map(|block| format!("'{block}'")).join(", ");
    format!(
        "!isCIDR(self) || [{blocks}]\
         .all(r, !cidr(r).containsCIDR(self) && !cidr(self).containsCIDR(r))"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tenant::EgressRule;

    /// What the rules of the CRD say of a block, and what the operator says.
    fn refused(block: &str) -> (bool, bool) {
        let rule = json!({"cidr": block, "ports": [{"port": 443}]});
        let by_crd = kube::core::cel::validate_cel_schema::<EgressRule>(&rule, None).is_err();
        let by_operator = block.parse().is_ok_and(|cidr| overlapped(cidr).is_some());
        (by_crd, by_operator)
    }

    #[test]
    fn every_block_parses_and_is_refused_by_the_crd_as_by_the_operator() {
        for block in RESERVED {
            assert_eq!(block.parse::<Cidr>().unwrap().to_string(), block);
            assert_eq!(refused(block), (true, true), "{block}");
        }
        for address in METADATA {
            let block = Cidr::host(address).to_string();
            assert_eq!(refused(&block), (true, true), "{block}");
        }
    }

    #[test]
    fn what_holds_an_address_of_a_block_or_spells_one_is_refused_by_both() {
        for block in [
            "0.0.0.0/0",
            "::/0",
            "168.0.0.0/6",
            "168.63.128.0/20",
            "169.254.169.254/32",
            "fd00:ec2::254/128",
            "64:ff9b::/96",
            "64:ff9b::a9fe:a9fe/128",
            "::ffff:0:0/96",
            "::ffff:169.254.169.254/128",
            // Holds the IPv4-mapped ones, without an address that looks like one.
            "::ffc0:0:0/90",
            "2001::a9fe:a9fe/128",
            "2002:a9fe:a9fe::/48",
            "::1/128",
            "fe80::/10",
        ] {
            assert_eq!(refused(block), (true, true), "{block}");
        }
    }

    #[test]
    fn what_lies_next_to_a_block_is_accepted_by_both() {
        for block in [
            "168.63.129.0/28",
            "168.63.129.17/32",
            "169.253.0.0/16",
            "100.128.0.0/9",
            "192.0.1.0/24",
            "203.0.113.0/24",
            "2001:1::/32",
            "2003::/16",
            "2600::/12",
        ] {
            assert_eq!(refused(block), (false, false), "{block}");
        }
    }
}
