//! What the pods of an Integration or a Worker may reach outside the cluster: whether the Tenant
//! allows that, and the network policy that opens it. Pure.
//!
//! In: `spec.egress` of an Integration or a Worker, `spec.isolation.egressCeiling` of its Tenant,
//! and the addresses that are the cluster's own. Out: the first fault, or the policy. The Tenant
//! room writes that policy, because all policies of a namespace are one boundary with one writer;
//! the dispatcher, and the Worker room, start nothing until it stands. All ask here, so that they
//! judge alike.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crds::{
    Integration, Worker, reserved,
    scalar::{Cidr, ParseError},
    tenant::{EgressRule, PortRange, Protocol},
    well_known::{INTEGRATION_LABEL, ROLE_LABEL, ROLE_SANDBOX, ROLE_WORKER, WORKER_LABEL},
};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};

use crate::{
    meta::{Owner, controller},
    names,
    world::facts::{Cluster, Uid},
};

/// A block of addresses and its ports, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The block.
    pub cidr: Cidr,
    /// Its ports.
    pub ports: Vec<Ports>,
}

/// One port, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// First port.
    pub first: u16,
    /// Last port, not below the first.
    pub last: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// A kind whose pods may be let out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// By its sandboxes. One that asks for nothing has no policy.
    Integration,
    /// By its replicas. It has a policy in any case, which shuts what comes in once more.
    Worker,
}

impl Holder {
    /// Label that says whose a pod is, and the role of such pods.
    pub const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Integration => (INTEGRATION_LABEL, ROLE_SANDBOX),
            Self::Worker => (WORKER_LABEL, ROLE_WORKER),
        }
    }

    fn policy_name(self, name: &str, uid: Uid) -> String {
        match self {
            Self::Integration => names::egress(name, &uid.to_string()),
            Self::Worker => names::worker_egress(name, &uid.to_string()),
        }
    }

    fn controller(self, name: &str, uid: Uid) -> OwnerReference {
        match self {
            Self::Integration => controller::<Integration>(name, uid),
            Self::Worker => controller::<Worker>(name, uid),
        }
    }

    fn directions(self) -> Vec<String> {
        let directions: &[&str] = match self {
            Self::Integration => &["Egress"],
            Self::Worker => &["Ingress", "Egress"],
        };
        directions.iter().map(|&one| one.to_owned()).collect()
    }
}

/// Whose pods a policy opens something to.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The Tenant.
    pub tenant: &'a Owner,
    /// The tenant's namespace.
    pub namespace: &'a str,
    /// Kind of the object.
    pub holder: Holder,
    /// Its name.
    pub name: &'a str,
    /// Its identity.
    pub uid: Uid,
}

impl Opening {
    /// Reads an entry.
    ///
    /// # Errors
    /// The field below the entry, and what is wrong with it.
    pub fn of(rule: &EgressRule) -> Result<Self, String> {
        let EgressRule { cidr, ports } = rule;
        if ports.is_empty() {
            return Err("ports: names none; write at least one".to_owned());
        }
        let read = |error: ParseError| format!("cidr: {error}");
        let ports: Result<_, _> = ports.iter().map(Ports::of).collect();
        Ok(Self {
            cidr: cidr.parse().map_err(read)?,
            ports: ports?,
        })
    }

    /// Whether a TCP connection to this address is one of those that it opens.
    pub fn reaches(&self, address: SocketAddr) -> bool {
        let port = Ports {
            first: address.port(),
            last: address.port(),
            protocol: Protocol::Tcp,
        };
        self.cidr.holds(Cidr::host(address.ip())) && self.ports.iter().any(|own| own.holds(port))
    }
}

impl Ports {
    fn of(range: &PortRange) -> Result<Self, String> {
        let PortRange {
            port,
            end_port,
            protocol,
        } = range;
        let read = |field: &str, number: i32| match u16::try_from(number) {
            Ok(read) if read > 0 => Ok(read),
            _ => Err(format!(
                "ports.{field}: {number} is no port; write 1 to 65535"
            )),
        };
        let first = read("port", *port)?;
        let last = end_port.map_or(Ok(first), |end| read("endPort", end))?;
        if last < first {
            return Err(format!("ports.endPort: {last} is below port {first}"));
        }
        Ok(Self {
            first,
            last,
            protocol: *protocol,
        })
    }

    fn holds(self, other: Self) -> bool {
        self.protocol == other.protocol && self.first <= other.first && other.last <= self.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, .. } = self;
        write!(formatter, "{} {first}", transport(self.protocol))?;
        if last > first {
            write!(formatter, "-{last}")?;
        }
        Ok(())
    }
}

const fn transport(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// Reads the list of an Integration or a Worker.
///
/// # Errors
/// Field and problem of the first entry that cannot be read.
pub fn list(rules: &[EgressRule]) -> Result<Vec<Opening>, String> {
    let numbered = rules.iter().enumerate();
    numbered
        .map(|(place, rule)| {
            Opening::of(rule).map_err(|problem| format!("spec.egress[{place}].{problem}"))
        })
        .collect()
}

/// Reads a ceiling. An entry that cannot be read allows nothing.
pub fn ceiling(rules: &[EgressRule]) -> Vec<Opening> {
    let read = rules.iter().map(Opening::of);
    read.filter_map(Result::ok).collect()
}

/// Why nobody may be allowed a block, whatever a ceiling says: it holds a reserved address, or
/// one of this cluster's own, wherever they are.
///
/// # Errors
/// What it holds, and the remedy.
pub fn refuse_own(cidr: Cidr, cluster: &Cluster) -> Result<(), String> {
    if let Some(block) = reserved::overlapped(cidr) {
        return Err(format!(
            "{cidr} holds addresses of {block}, which no tenant may reach"
        ));
    }
    let held = |address: &IpAddr| Cidr::host(*address).overlaps(cidr);
    let nodes = cluster.nodes.values();
    let nodes = nodes.flat_map(|node| node.addresses.iter().copied());
    let api_servers = cluster.api_servers.iter().map(SocketAddr::ip);
    // Where pods have public addresses, these stand for all of them.
    let pods = cluster.canaries.iter().chain(&cluster.decoys).copied();
    let whose = [
        (
            nodes.chain(api_servers).find(held),
            "a node or of the API server",
        ),
        (pods.into_iter().find(held), "a pod of this cluster"),
    ];
    let mut own = whose
        .into_iter()
        .filter_map(|(found, whose)| Some((found?, whose)));
    match own.next() {
        Some((address, whose)) => Err(format!(
            "{cidr} holds {address}, an address of {whose}; name smaller blocks that leave it out"
        )),
        None => Ok(()),
    }
}

/// What of a list its Tenant does not allow, the first of it: field and remedy.
///
/// Each range of ports of each entry has to lie within one range of one entry of the ceiling.
/// Two entries that only hold it together do not count: what is asked for can be split alike.
pub fn fault(
    list: &[Opening],
    ceiling: &[Opening],
    tenant: &str,
    cluster: &Cluster,
) -> Option<String> {
    list.iter().enumerate().find_map(|(place, asked)| {
        let cidr = asked.cidr;
        if let Err(problem) = refuse_own(cidr, cluster) {
            return Some(format!("spec.egress[{place}].cidr: {problem}"));
        }
        let over = ceiling.iter().filter(|allowed| allowed.cidr.holds(cidr));
        let allowed = |ports: &Ports| {
            let mut ranges = over.clone().flat_map(|allowed| &allowed.ports);
            ranges.any(|range| range.holds(*ports))
        };
        let beyond = asked.ports.iter().find(|ports| !allowed(ports))?;
        Some(format!(
            "spec.egress[{place}]: {cidr} {beyond} is not within an entry of \
             spec.isolation.egressCeiling of Tenant {tenant}; leave it out, or have the ceiling \
             hold it"
        ))
    })
}

/// The policy that opens this list, outgoing, to the pods of one Integration or Worker and to no
/// other pod. Written in the server's own canonical form, which has no empty list.
pub fn policy(of: Of<'_>, list: &[Opening]) -> NetworkPolicy {
    let Of {
        tenant,
        namespace,
        holder,
        name,
        uid,
    } = of;
    let (whose, role) = holder.labels();
    let mut labels = tenant.labels();
    labels.insert(whose.to_owned(), name.to_owned());
    let selected = [(ROLE_LABEL, role), (whose, name)];
    let selected = selected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(holder.policy_name(name, uid)),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![holder.controller(name, uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selected.into()),
                match_expressions: None,
            }),
            policy_types: Some(holder.directions()),
            egress: (!list.is_empty()).then(|| list.iter().map(rule).collect()),
            ingress: None,
        }),
    }
}

fn rule(opening: &Opening) -> NetworkPolicyEgressRule {
    let ports = opening.ports.iter().map(|range| NetworkPolicyPort {
        protocol: Some(transport(range.protocol).to_owned()),
        port: Some(IntOrString::Int(range.first.into())),
        end_port: (range.last > range.first).then_some(range.last.into()),
    });
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            ip_block: Some(IPBlock {
                cidr: opening.cidr.to_string(),
                except: None,
            }),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(ports.collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::world::facts::LiveNode;

    /// `203.0.113.0/24 TCP 80-443, UDP 53; …`
    fn read(text: &str) -> Vec<Opening> {
        let entries = text.split("; ").filter(|entry| !entry.is_empty());
        let rules = entries.map(|entry| {
            let (cidr, ports) = entry.split_once(' ').unwrap();
            let ports = ports.split(", ").map(|range| {
                let (protocol, ports) = range.split_once(' ').unwrap();
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                let number = |text: &str| text.parse::<u32>().unwrap();
                json!({"protocol": protocol, "port": number(first), "endPort": number(last)})
            });
            let rule = json!({"cidr": cidr, "ports": ports.collect::<Vec<_>>()});
            serde_json::from_value(rule).unwrap()
        });
        list(&rules.collect::<Vec<EgressRule>>()).unwrap()
    }

    fn cluster() -> Cluster {
        let node = LiveNode {
            addresses: vec!["198.51.100.7".parse().unwrap()],
            ..LiveNode::default()
        };
        Cluster {
            nodes: [("node-a".to_owned(), node)].into(),
            api_servers: vec!["[2600:1f00::1]:6443".parse().unwrap()],
            canaries: vec!["2600:2000::1".parse().unwrap()],
            decoys: vec!["2600:2000::2".parse().unwrap()],
            ..Cluster::default()
        }
    }

    fn said(asked: &str, allowed: &str) -> Option<String> {
        fault(&read(asked), &read(allowed), "acme", &cluster())
    }

    #[test]
    fn what_one_entry_of_the_ceiling_holds_is_allowed() {
        let ceiling = "203.0.113.0/24 TCP 443, TCP 8000-8100; 192.0.0.0/29 UDP 53; \
                       203.0.113.0/25 TCP 80; 2600:1f00:8000::/40 TCP 443";
        let ceiling = ceiling.replace("192.0.0.0/29", "9.9.9.0/24");
        for asked in [
            "",
            "203.0.113.0/24 TCP 443",
            "203.0.113.10/32 TCP 443",
            "203.0.113.128/25 TCP 8000-8100",
            "203.0.113.0/26 TCP 8050",
            // Of two entries that hold the block, each allows one of the ports.
            "203.0.113.10/32 TCP 80, TCP 443",
            "9.9.9.9/32 UDP 53",
            "2600:1f00:8000::/48 TCP 443; 203.0.113.7/32 TCP 8099-8100",
        ] {
            assert_eq!(said(asked, &ceiling), None, "{asked}");
        }
    }

    #[test]
    fn what_no_entry_of_the_ceiling_holds_is_named_with_its_place() {
        let ceiling = "203.0.113.0/24 TCP 443, TCP 8000-8100; 203.0.114.0/25 TCP 443; \
                       203.0.114.128/25 TCP 443; 2600:1f00:8000::/40 TCP 443";
        for (asked, named) in [
            ("203.0.113.0/24 TCP 80", "[0]: 203.0.113.0/24 TCP 80 is"),
            ("203.0.113.0/24 UDP 443", "[0]: 203.0.113.0/24 UDP 443 is"),
            (
                "203.0.113.1/32 TCP 443; 203.0.112.0/23 TCP 443",
                "[1]: 203.0.112.0/23 TCP 443 is",
            ),
            (
                "203.0.113.0/24 TCP 8000-8101",
                "[0]: 203.0.113.0/24 TCP 8000-8101 is",
            ),
            (
                "203.0.113.0/24 TCP 443, TCP 7999",
                "[0]: 203.0.113.0/24 TCP 7999 is",
            ),
            // Only two entries together hold it.
            ("203.0.114.0/24 TCP 443", "[0]: 203.0.114.0/24 TCP 443 is"),
            ("2600:1f00:9000::/36 TCP 443", "[0]: 2600:1f00:9000::/36"),
            ("8.8.8.8/32 TCP 443", "[0]: 8.8.8.8/32 TCP 443 is"),
        ] {
            let said = said(asked, ceiling).unwrap();
            assert!(said.starts_with("spec.egress["), "{said}");
            assert!(said.contains(named), "{said}");
            assert!(said.contains("of Tenant acme; leave it out"), "{said}");
        }
    }

    #[test]
    fn a_ceiling_that_is_narrowed_allows_less_at_once() {
        let asked = "203.0.113.0/25 TCP 443-444";
        let one = "203.0.113.0/24 TCP 443-500";
        assert_eq!(said(asked, one), None);
        for narrower in [
            "",
            "203.0.113.0/26 TCP 443-500",
            "203.0.113.0/24 TCP 443",
            "203.0.113.0/24 UDP 443-500",
        ] {
            assert!(said(asked, narrower).is_some(), "{narrower}");
        }
    }

    #[test]
    fn reserved_addresses_and_the_clusters_own_are_refused_whatever_the_ceiling_says() {
        for (asked, held) in [
            ("10.0.0.0/8", "10.0.0.0/8, which no tenant may reach"),
            ("100.64.1.0/24", "100.64.0.0/10"),
            ("169.254.169.254/32", "169.254.0.0/16"),
            ("::ffff:203.0.113.0/120", "which no tenant may reach"),
            ("fd00:ec2::254/128", "which no tenant may reach"),
            (
                "198.51.100.0/24",
                "198.51.100.7, an address of a node or of the API server; name smaller blocks",
            ),
            ("2600:1f00::/24", "2600:1f00::1, an address of a node or"),
            ("2600:2000::/64", "2600:2000::1, an address of a pod of"),
            ("2600:2000::2/128", "2600:2000::2, an address of a pod of"),
        ] {
            let asked = format!("{asked} TCP 443");
            let said = said(&asked, &asked).unwrap();
            assert!(said.starts_with("spec.egress[0].cidr: "), "{said}");
            assert!(said.contains(held), "{said}");
        }
        assert_eq!(said("198.51.100.8/29 TCP 1", "198.51.100.8/29 TCP 1"), None);
    }

    #[test]
    fn what_cannot_be_read_names_its_field_and_in_a_ceiling_allows_nothing() {
        let rules = |rule: Value| vec![serde_json::from_value::<EgressRule>(rule).unwrap()];
        for (rule, words) in [
            (
                json!({"cidr": "x", "ports": [{"port": 1}]}),
                "spec.egress[0].cidr: \"x\" is not a CIDR",
            ),
            (
                json!({"cidr": "203.0.113.1/24", "ports": [{"port": 1}]}),
                "spec.egress[0].cidr: ",
            ),
            (
                json!({"cidr": "203.0.113.0/24", "ports": []}),
                "spec.egress[0].ports: names none",
            ),
            (
                json!({"cidr": "203.0.113.0/24", "ports": [{"port": 0}]}),
                "spec.egress[0].ports.port: 0 is no port",
            ),
            (
                json!({"cidr": "203.0.113.0/24", "ports": [{"port": 2, "endPort": 1}]}),
                "spec.egress[0].ports.endPort: 1 is below port 2",
            ),
        ] {
            let rules = rules(rule);
            let said = list(&rules).unwrap_err();
            assert!(said.starts_with(words), "{said}");
            assert_eq!(ceiling(&rules), []);
        }
    }

    #[test]
    fn knows_which_connection_it_opens() {
        let [opening] = &read("203.0.113.0/28 TCP 443-444, UDP 80")[..] else {
            panic!("one")
        };
        for (address, open) in [
            ("203.0.113.10:443", true),
            ("203.0.113.10:444", true),
            ("203.0.113.10:80", false),
            ("203.0.113.16:443", false),
            ("[::ffff:203.0.113.10]:443", false),
        ] {
            assert_eq!(opening.reaches(address.parse().unwrap()), open, "{address}");
        }
    }
}
