//! Which tenant's pod has an address: what is known of who dials before they say a word.

use std::{collections::HashMap, net::IpAddr};

use k8s_openapi::api::core::v1::Pod;

use super::facts::Uid;

/// By address: which pod's it is, whose that is, and the listing in which it was last seen.
#[derive(Debug, Default)]
pub struct Addresses(HashMap<IpAddr, (Uid, Box<str>, u32)>);

impl Addresses {
    /// The tenant whose pod has this address, if one has.
    pub fn tenant_at(&self, address: IpAddr) -> Option<Box<str>> {
        let (_, tenant, _) = self.0.get(&address)?;
        Some(tenant.clone())
    }

    /// Takes note of a tenant's pod. One that has ended has its address no more, though its
    /// status goes on saying so.
    pub fn seen(&mut self, pod: &Pod, tenant: &str, epoch: u32) {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return self.gone(pod);
        }
        let uid = Uid::of(&pod.metadata);
        for address in addresses(pod) {
            self.0.insert(address, (uid, tenant.into(), epoch));
        }
    }

    /// Takes note of its end. Its addresses may be another one's by now.
    pub fn gone(&mut self, pod: &Pod) {
        let uid = Uid::of(&pod.metadata);
        for address in addresses(pod) {
            if self.0.get(&address).is_some_and(|(of, ..)| *of == uid) {
                self.0.remove(&address);
            }
        }
    }

    /// Forgets what the listing `epoch` has not brought.
    pub fn swept(&mut self, epoch: u32) {
        self.0.retain(|_, (_, _, seen)| *seen == epoch);
    }
}

/// A pod's own addresses: where it is on the node's network, they are not its own.
fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let on_node = pod.spec.as_ref().and_then(|spec| spec.host_network);
    let status = pod.status.as_ref().filter(|_| on_node != Some(true));
    let said = status
        .into_iter()
        .flat_map(|it| it.pod_ips.iter().flatten());
    said.filter_map(|said| said.ip.parse().ok())
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::json;

    use super::*;
    use crate::world::{World, watch::Observed};

    const ADDRESS: &str = "10.0.0.7";

    fn pod(tenant: &str, uid: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": format!("tenant-{tenant}"), "uid": uid},
            "status": {"phase": phase, "podIPs": [{"ip": ADDRESS}, {"ip": "fd00::7"}]},
        }))
        .unwrap()
    }

    fn whose(world: &World) -> Option<String> {
        let both = [ADDRESS, "fd00::7"].map(|one| world.tenant_at(one.parse().unwrap()));
        assert_eq!(both[0], both[1]);
        both[0].as_deref().map(ToOwned::to_owned)
    }

    #[test]
    fn an_address_is_the_tenants_whose_pod_has_it_now() {
        let world = World::new(reflector::store().0);
        assert_eq!(whose(&world), None);
        world.see(&pod("a", "1", "Running"));
        assert_eq!(whose(&world).unwrap(), "a");
        world.see(&pod("a", "1", "Succeeded"));
        assert_eq!(whose(&world), None, "it has ended");
        world.see(&pod("b", "2", "Running"));
        world.lose(&pod("a", "1", "Succeeded"));
        assert_eq!(whose(&world).unwrap(), "b", "the address is another one's");
        world.lose(&pod("b", "2", "Running"));
        assert_eq!(whose(&world), None, "it is gone");
    }

    #[test]
    fn what_a_listing_does_not_bring_and_what_is_on_the_node_has_no_tenant() {
        let world = World::new(reflector::store().0);
        world.see(&pod("a", "1", "Running"));
        world.change(|index| Pod::swept(index, 2, None));
        assert_eq!(whose(&world), None);
        let mut bold = pod("a", "1", "Running");
        bold.spec.get_or_insert_default().host_network = Some(true);
        world.see(&bold);
        assert_eq!(whose(&world), None);
        world.see(
            &serde_json::from_value::<Pod>(json!({
                "metadata": {"name": "1", "namespace": "default", "uid": "1"},
                "status": {"podIPs": [{"ip": ADDRESS}, {"ip": "fd00::7"}]},
            }))
            .unwrap(),
        );
        assert_eq!(whose(&world), None, "it is no tenant's");
    }
}
