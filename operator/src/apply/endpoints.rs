//! Who answers sandboxes: the one address behind the Service that has no selector.

use std::net::SocketAddr;

use crds::well_known::{DISPATCH, DISPATCH_PORT_NAME, MANAGED_BY_LABEL, MANAGER, SYSTEM_NAMESPACE};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::failed;
use crate::{error::Error, world::facts};

/// Makes this address, and no other, the one that sandboxes reach. A new leader takes over
/// from the one before, whose address stays until then. Says which version that made; the one
/// there was, if there was nothing to do.
///
/// # Errors
/// [`Error::Write`] if the server refuses.
pub async fn endpoints(client: &Client, address: SocketAddr) -> Result<u64, Error> {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": DISPATCH,
            "namespace": SYSTEM_NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": DISPATCH,
                "endpointslice.kubernetes.io/managed-by": MANAGER,
                MANAGED_BY_LABEL: MANAGER,
            },
        },
        "addressType": family,
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
        // By the Service's name for it, or it would be another port than the one that is dialled.
        "ports": [{"name": DISPATCH_PORT_NAME, "port": address.port(), "protocol": "TCP"}],
    });
    Api::<EndpointSlice>::namespaced(client.clone(), SYSTEM_NAMESPACE)
        .patch(
            DISPATCH,
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(slice),
        )
        .await
        .map(|slice| facts::version(&slice.metadata))
        .map_err(|source| failed::<EndpointSlice>("apply", DISPATCH, source))
}
