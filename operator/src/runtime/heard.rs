//! The watches that both the world and the desk hear: what Integrations may reach is the Tenant
//! room's to open, and the desk's to wait for. One stream a kind for the two of them.

use std::sync::Arc;

use crds::Integration;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Api, Client, runtime::watcher};
use tokio::{sync::mpsc::UnboundedSender, task::JoinSet};

use super::{Error, watches::named};
use crate::{
    dispatch::{desk, is_for_desk},
    world::{World, watch::follow_aloud},
};

/// Starts them.
pub(super) fn watches(
    tasks: &mut JoinSet<Error>,
    client: &Client,
    world: &Arc<World>,
    desk: &UnboundedSender<desk::Event>,
) {
    let (all, told) = (Api::<Integration>::all(client.clone()), desk.clone());
    let hear = move |event: &watcher::Event<Integration>| {
        drop(told.send(desk::Event::Integrations(Box::new(event.clone()))));
    };
    let integrations = follow_aloud(all, world.clone(), hear);
    tasks.spawn(named("Integration", integrations));

    let (all, told) = (Api::<NetworkPolicy>::all(client.clone()), desk.clone());
    let hear = move |event: &watcher::Event<NetworkPolicy>| {
        if is_for_desk(event) {
            drop(told.send(desk::Event::Policies(Box::new(event.clone()))));
        }
    };
    let policies = follow_aloud(all, world.clone(), hear);
    tasks.spawn(named("NetworkPolicy", policies));
}
