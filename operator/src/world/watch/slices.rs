//! How the endpoints of three Services are taken note of: a Service has one slice or more
//! for each address family, and each comes and goes by itself. And the one slice that is
//! Cloister's own, by which sandboxes find the leader.

use std::net::SocketAddr;

use crds::{digest, well_known};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::Observed;
use crate::world::{
    Concerns, Index,
    facts::{self, Cluster},
    watch::kinds::shared,
};

/// Services whose endpoints matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    ApiServer,
    Canary,
    Decoy,
    Dispatch,
}

/// What is kept of a slice of one of them.
#[derive(Clone, Debug)]
pub struct LiveSlice {
    service: Service,
    /// Ready addresses, with its first port.
    ready: Vec<SocketAddr>,
    /// Of the object.
    version: u64,
    /// The listing in which it was last seen.
    epoch: u32,
}

impl Service {
    fn of(slice: &EndpointSlice) -> Option<Self> {
        let namespace = slice.metadata.namespace.as_deref()?;
        let name = slice.metadata.name.as_deref();
        // By its name: one that has lost its labels is to be put right, too.
        if (namespace, name) == (well_known::SYSTEM_NAMESPACE, Some(well_known::DISPATCH)) {
            return Some(Self::Dispatch);
        }
        let service = slice.labels().get("kubernetes.io/service-name")?;
        match (namespace, service.as_str()) {
            ("default", "kubernetes") => Some(Self::ApiServer),
            (well_known::SYSTEM_NAMESPACE, well_known::CANARY) => Some(Self::Canary),
            (well_known::DECOY_NAMESPACE, well_known::DECOY) => Some(Self::Decoy),
            _ => None,
        }
    }
}

/// Namespace and name.
fn key(slice: &EndpointSlice) -> (String, String) {
    (slice.namespace().unwrap_or_default(), slice.name_any())
}

/// Ready addresses of a slice, and its first port.
fn ready(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    let port = port
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or_default();
    let endpoints = slice.endpoints.iter().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|c| c.ready).unwrap_or(true)
    });
    let addresses = endpoints.flat_map(|endpoint| &endpoint.addresses);
    addresses
        .filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, port)))
        .collect()
}

/// Fingerprint of the slices of a service: another one whenever one changes, comes or goes.
fn version(index: &Index, service: Service) -> u64 {
    let slices = index.slices.iter();
    let slices = slices.filter(|(_, held)| held.service == service);
    let versions: Vec<_> = slices.map(|(key, held)| (key, held.version)).collect();
    u64::try_from(digest::number(&versions) >> u64::BITS).unwrap_or_default()
}

/// Tells the cluster's facts what all slices together say, and the leader of its own.
fn gathered(index: &mut Index) -> Concerns {
    let mut dialled = index.slices.values();
    let dialled = dialled.find(|held| held.service == Service::Dispatch);
    let dialled = dialled.map(|held| held.version);
    index
        .dialled
        .send_if_modified(|held| std::mem::replace(held, dialled) != dialled);
    let ready = |service| {
        let slices = index.slices.values().filter(|held| held.service == service);
        let mut all: Vec<SocketAddr> = slices.flat_map(|held| held.ready.clone()).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let addresses = |service| ready(service).iter().map(SocketAddr::ip).collect();
    let (api_servers, canaries) = (ready(Service::ApiServer), addresses(Service::Canary));
    let decoys = addresses(Service::Decoy);
    let decoys_version = version(index, Service::Decoy);
    shared(index, |cluster: &mut Cluster| {
        cluster.api_servers = api_servers;
        cluster.canaries = canaries;
        cluster.decoys = decoys;
        cluster.decoys_version = decoys_version;
    })
}

impl Observed for EndpointSlice {
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns {
        if let Some(service) = Service::of(self) {
            let live = LiveSlice {
                service,
                ready: ready(self),
                version: facts::version(&self.metadata),
                epoch,
            };
            index.slices.insert(key(self), live);
        } else {
            index.slices.remove(&key(self));
        }
        gathered(index)
    }

    fn gone(&self, index: &mut Index) -> Concerns {
        index.slices.remove(&key(self));
        gathered(index)
    }

    /// Each of the three namespaces is listed by itself.
    fn swept(index: &mut Index, epoch: u32, namespace: Option<&str>) -> Concerns {
        let outdated = |held: &LiveSlice| held.epoch != epoch;
        index
            .slices
            .retain(|(within, _), held| namespace != Some(within) || !outdated(held));
        gathered(index)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde_json::json;

    use super::*;

    fn slice(namespace: &str, name: &str, service: &str, address: &str) -> EndpointSlice {
        let family = if address.contains(':') {
            "IPv6"
        } else {
            "IPv4"
        };
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": family,
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"port": 8443}],
        }))
        .unwrap()
    }

    fn canary(name: &str, address: &str) -> EndpointSlice {
        let namespace = well_known::SYSTEM_NAMESPACE;
        slice(namespace, name, well_known::CANARY, address)
    }

    fn canaries(index: &Index) -> Vec<String> {
        let all = index.cluster.canaries.iter();
        all.map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_slices_of_a_service_stand_beside_each_other() {
        let mut index = Index::default();
        let (four, six) = (canary("four", "10.0.0.1"), canary("six", "fd00::1"));
        assert_eq!(four.seen(&mut index, 1), Concerns::Everyone);
        assert_eq!(six.seen(&mut index, 1), Concerns::Everyone);
        assert_eq!(canaries(&index), ["10.0.0.1", "fd00::1"]);
        assert_eq!(four.seen(&mut index, 1), Concerns::Nobody);
        six.gone(&mut index);
        assert_eq!(canaries(&index), ["10.0.0.1"]);
    }

    #[test]
    fn a_listing_sweeps_its_own_namespace_alone() {
        let mut index = Index::default();
        canary("four", "10.0.0.1").seen(&mut index, 1);
        canary("six", "fd00::1").seen(&mut index, 1);
        let api_server = slice("default", "kubernetes", "kubernetes", "192.0.2.1");
        api_server.seen(&mut index, 1);

        canary("six", "fd00::2").seen(&mut index, 2);
        let system = Some(well_known::SYSTEM_NAMESPACE);
        let concerns = EndpointSlice::swept(&mut index, 2, system);
        assert_eq!(concerns, Concerns::Everyone);
        assert_eq!(canaries(&index), ["fd00::2"]);
        assert_eq!(
            index.cluster.api_servers,
            ["192.0.2.1:8443".parse().unwrap()]
        );
        assert_eq!(index.slices.len(), 2);
    }

    #[test]
    fn a_slice_that_goes_is_not_made_up_for_by_one_that_changes() {
        let mut index = Index::default();
        let decoy = |name: &str, version: &str| {
            let namespace = well_known::DECOY_NAMESPACE;
            let mut slice = slice(namespace, name, well_known::DECOY, "10.0.0.1");
            slice.metadata.resource_version = Some(version.to_owned());
            slice
        };
        decoy("four", "5").seen(&mut index, 1);
        decoy("six", "7").seen(&mut index, 1);
        let before = index.cluster.decoys_version;
        decoy("six", "12").seen(&mut index, 1);
        decoy("four", "5").gone(&mut index);
        assert_ne!(index.cluster.decoys_version, before);
    }

    #[test]
    fn the_slice_that_sandboxes_dial_is_known_by_its_name_and_tells_nobody_else() {
        let mut index = Index::default();
        canary("four", "10.0.0.1").seen(&mut index, 1);
        let mut told = index.dialled.subscribe();
        let mut version = |index: &Index| {
            let changed = told.has_changed().unwrap();
            assert_eq!(*index.dialled.borrow(), *told.borrow_and_update());
            changed.then(|| *told.borrow())
        };
        let namespace = well_known::SYSTEM_NAMESPACE;
        let mut own = slice(namespace, well_known::DISPATCH, "whatever", "10.0.0.9");
        own.metadata.resource_version = Some("7".to_owned());
        assert_eq!(own.seen(&mut index, 1), Concerns::Nobody);
        assert_eq!(version(&index), Some(Some(7)));
        own.seen(&mut index, 2);
        assert_eq!(version(&index), None, "nothing happened");
        canary("four", "10.0.0.2").seen(&mut index, 2);
        slice("default", well_known::DISPATCH, "x", "10.0.0.9").seen(&mut index, 2);
        assert_eq!(version(&index), None, "it is another one");
        own.gone(&mut index);
        assert_eq!(version(&index), Some(None));
        own.seen(&mut index, 2);
        EndpointSlice::swept(&mut index, 3, Some(namespace));
        assert_eq!(version(&index), Some(None), "a listing did not bring it");
    }

    #[test]
    fn slices_of_others_are_not_kept() {
        let mut index = Index::default();
        let mut other = canary("four", "10.0.0.1");
        other.seen(&mut index, 1);
        let labels = other.labels_mut();
        labels.insert("kubernetes.io/service-name".to_owned(), "other".to_owned());
        other.seen(&mut index, 1);
        assert!(canaries(&index).is_empty() && index.slices.is_empty());
    }
}
