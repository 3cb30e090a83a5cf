//! What a probe has to dial: the list of what must be shut, and what must be open.

use std::net::{IpAddr, SocketAddr};

use contract::{Check, Expect, ProbeRequest, Target, VERSION};
use crds::{
    reserved::METADATA,
    well_known::{
        CANARY, CANARY_FORBIDDEN_PORT, CANARY_PERMITTED_PORT, CANARY_PODS, DECOY_NAMESPACE,
        DECOY_PODS, DECOY_PORT, SYSTEM_NAMESPACE,
    },
};

use super::{DIAL_TIMEOUT_MS, ProbeSettings};
use crate::world::facts::{Cluster, LiveNode, Uid};

/// The metadata services of the large clouds, and the first of them spelled as IPv6, which
/// some filters forget.
fn metadata() -> impl Iterator<Item = (Check, IpAddr)> {
    let as_they_are = METADATA.into_iter().map(|address| match address {
        IpAddr::V4(_) => (Check::MetadataV4, address),
        IpAddr::V6(_) => (Check::MetadataV6, address),
    });
    let first = METADATA.into_iter().find_map(|address| match address {
        IpAddr::V4(v4) => Some((Check::MetadataMapped, v4.to_ipv6_mapped().into())),
        IpAddr::V6(_) => None,
    });
    as_they_are.chain(first)
}

/// Port of every metadata service.
const METADATA_PORT: u16 = 80;

/// Port of every kubelet (its flag `--port`, practically never changed).
const KUBELET_PORT: u16 = 10250;

/// API server addresses looked at, at most: one opening is enough to be found.
const MAX_API_SERVERS: usize = 3;

/// Why no probe can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Without it no silence means anything.
    Canary,
    /// Nothing stands for another tenant.
    Decoy,
    /// The address of the API server is not known yet.
    ApiServer,
}

impl Missing {
    /// What a person should do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Canary => {
                "no pod of cloister-canary is ready, so there is no positive control; \
                 look at: kubectl -n cloister-system get pods"
            }
            Self::Decoy => {
                "no pod of cloister-decoy is ready, so nothing stands for another tenant; \
                 look at: kubectl -n cloister-decoy get pods"
            }
            Self::ApiServer => "the address of the API server is not known yet",
        }
    }
}

/// Canaries that one probe dials, at most: with the node of one, its zone may be lost.
const MAX_CANARIES: usize = 2;

/// Pods that stand for all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    canaries: Vec<IpAddr>,
    decoy: IpAddr,
}

/// Whom probes of this tenant dial. Tenants are spread over the canary's pods; of two, one has to
/// answer.
///
/// # Errors
/// [`Missing`] if something that every probe needs is not there.
pub fn peers(cluster: &Cluster, tenant: Uid) -> Result<Peers, Missing> {
    let canaries: Vec<IpAddr> = chosen(&cluster.canaries, tenant)
        .take(MAX_CANARIES)
        .collect();
    if canaries.is_empty() {
        return Err(Missing::Canary);
    }
    let decoy = chosen(&cluster.decoys, tenant)
        .next()
        .ok_or(Missing::Decoy)?;
    if cluster.api_servers.is_empty() {
        return Err(Missing::ApiServer);
    }
    Ok(Peers { canaries, decoy })
}

/// What to ask a probe that is sent to `node`. Every address is told here and none is left
/// for the kubelet to fill in: the answer is compared with this, word for word.
pub fn request(
    cluster: &Cluster,
    settings: &ProbeSettings,
    peers: Peers,
    node: &LiveNode,
) -> ProbeRequest {
    let hosts: Vec<String> = kubelets(node).map(|address| address.to_string()).collect();
    request_from(cluster, settings, peers, &hosts)
}

/// The same from wherever a pod may come to run, at the addresses of whose node `hosts` are.
pub fn request_from(
    cluster: &Cluster,
    settings: &ProbeSettings,
    peers: Peers,
    hosts: &[String],
) -> ProbeRequest {
    let api_servers = api_servers(cluster);
    let Peers { canaries, decoy } = peers;
    let at = |port: u16| move |canary: &IpAddr| SocketAddr::new(*canary, port).to_string();
    let peers = Named {
        canaries: &|port| canaries.iter().map(at(port)).collect(),
        decoy: &|port| SocketAddr::new(decoy, port).to_string(),
        api_servers: &api_servers,
    };
    request_of(settings, &peers, hosts)
}

/// What to ask a pod that outlives those that it dials: it looks them up by the names of headless
/// Services. The API server has an address that it keeps for as long as the pod does.
pub fn lasting_request(
    settings: &ProbeSettings,
    api_servers: &[String],
    host: &str,
) -> ProbeRequest {
    let peers = Named {
        canaries: &|port| vec![format!("{CANARY_PODS}.{SYSTEM_NAMESPACE}.svc:{port}")],
        decoy: &|port| format!("{DECOY_PODS}.{DECOY_NAMESPACE}.svc:{port}"),
        api_servers,
    };
    request_of(settings, &peers, &[host.to_owned()])
}

/// Addresses of the API server, as many as are looked at.
pub fn api_servers(cluster: &Cluster) -> Vec<String> {
    let all = cluster.api_servers.iter().take(MAX_API_SERVERS);
    all.map(ToString::to_string).collect()
}

/// Whom to dial, at which port.
struct Named<'a> {
    canaries: &'a dyn Fn(u16) -> Vec<String>,
    decoy: &'a dyn Fn(u16) -> String,
    api_servers: &'a [String],
}

fn request_of(settings: &ProbeSettings, peers: &Named<'_>, hosts: &[String]) -> ProbeRequest {
    let Named {
        canaries,
        decoy,
        api_servers,
    } = peers;
    let at = |address: IpAddr, port: u16| SocketAddr::new(address, port).to_string();
    let shut = |check: Check, address: String| Target {
        check,
        address,
        expect: Expect::Blocked,
    };
    let open = |check: Check, address: String| Target {
        check,
        address,
        expect: Expect::Reachable,
    };
    let mut targets = vec![open(Check::Dns, format!("{CANARY}.{SYSTEM_NAMESPACE}.svc"))];
    let permitted = canaries(CANARY_PERMITTED_PORT).into_iter();
    targets.extend(permitted.map(|address| open(Check::PermittedCanary, address)));
    let forbidden = canaries(CANARY_FORBIDDEN_PORT).into_iter();
    targets.extend(forbidden.map(|address| shut(Check::ForbiddenCanary, address)));
    targets.push(shut(Check::OtherTenant, decoy(DECOY_PORT)));
    let kubelets = hosts.iter().map(|host| match host.parse::<IpAddr>() {
        Ok(address) => at(address, KUBELET_PORT),
        Err(_) => format!("{host}:{KUBELET_PORT}"),
    });
    targets.extend(kubelets.map(|address| shut(Check::Kubelet, address)));
    targets.extend(metadata().map(|(check, address)| shut(check, at(address, METADATA_PORT))));
    targets.extend(
        api_servers
            .iter()
            .map(|a| shut(Check::ApiServerEndpoint, a.clone())),
    );
    let service = settings.api_service.iter();
    targets.extend(service.map(|a| shut(Check::ApiServerService, a.to_string())));
    let outside = settings.outside.iter();
    targets.extend(outside.map(|a| shut(Check::Outside, a.to_string())));
    ProbeRequest {
        version: VERSION,
        timeout_ms: DIAL_TIMEOUT_MS,
        targets,
        places: Vec::new(),
    }
}

/// The node's first address of each family: a policy can hold for one and not the other.
fn kubelets(node: &LiveNode) -> impl Iterator<Item = IpAddr> {
    let first = |family: fn(&IpAddr) -> bool| node.addresses.iter().copied().find(family);
    [first(IpAddr::is_ipv4), first(IpAddr::is_ipv6)]
        .into_iter()
        .flatten()
}

/// All of them, beginning with the tenant's own.
fn chosen(addresses: &[IpAddr], tenant: Uid) -> impl Iterator<Item = IpAddr> {
    let first = tenant.spread(addresses.len());
    addresses
        .iter()
        .cycle()
        .skip(first)
        .take(addresses.len())
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the kubelet of a node with these addresses is dialled.
    fn dialled(addresses: &[&str]) -> Vec<String> {
        let node = LiveNode {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ..LiveNode::default()
        };
        let settings = ProbeSettings {
            image: String::new(),
            interval: std::time::Duration::from_mins(5),
            at_once: 1,
            outside: None,
            api_service: None,
            user_namespaces: true,
        };
        let peer = IpAddr::from([192, 0, 2, 1]);
        let peers = Peers {
            canaries: vec![peer],
            decoy: peer,
        };
        let asked = request(&Cluster::default(), &settings, peers, &node);
        let kubelets = asked.targets.into_iter();
        kubelets
            .filter(|target| target.check == Check::Kubelet)
            .map(|target| target.address)
            .collect()
    }

    #[test]
    fn the_kubelet_is_dialled_in_every_family_that_its_node_has() {
        assert_eq!(dialled(&["192.0.2.11"]), ["192.0.2.11:10250"]);
        assert_eq!(dialled(&["2001:db8::11"]), ["[2001:db8::11]:10250"]);
        assert_eq!(
            dialled(&["2001:db8::11", "192.0.2.11", "203.0.113.11"]),
            ["192.0.2.11:10250", "[2001:db8::11]:10250"]
        );
    }

    #[test]
    fn two_canaries_are_dialled_where_there_are_as_many() {
        let cluster = |count: u8| Cluster {
            canaries: (1..=count).map(|n| IpAddr::from([192, 0, 2, n])).collect(),
            decoys: vec![IpAddr::from([192, 0, 2, 99])],
            api_servers: vec![SocketAddr::from(([192, 0, 2, 100], 6443))],
            ..Cluster::default()
        };
        for (count, dialled) in [(1, 1), (2, 2), (3, 2)] {
            for number in 0..20 {
                let peers = peers(&cluster(count), Uid::parse(&format!("t{number}"))).unwrap();
                assert_eq!(peers.canaries.len(), dialled);
                assert_ne!(peers.canaries.first(), peers.canaries.get(1));
            }
        }
        assert_eq!(peers(&cluster(0), Uid::parse("t")), Err(Missing::Canary));
    }
}
