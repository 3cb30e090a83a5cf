//! Every watch of the process.

use std::{future::Future, sync::Arc};

use crds::{
    Drill, Execution, Tenant, Worker,
    well_known::{DECOY_NAMESPACE, ROLE_LABEL, ROLE_SANDBOX, SYSTEM_NAMESPACE, WORKER_LABEL},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{LimitRange, Namespace, Node, PersistentVolume, Pod, ServiceAccount},
    discovery::v1::EndpointSlice,
    node::v1::RuntimeClass,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
    storage::v1::StorageClass,
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{reflector::store::Writer, watcher},
};
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    task::JoinSet,
};

use super::{Error, heard};
use crate::{
    counts::{self, Counts},
    dispatch::desk,
    world::{
        World,
        watch::{follow, follow_aloud, follow_labelled, follow_tenants, follow_whole, tell},
    },
};

/// Starts every watch; gives what one of them shows of quotas. The three slices are in namespaces
/// that Cloister may read.
pub(super) fn start(
    tasks: &mut JoinSet<Error>,
    client: &Client,
    world: &Arc<World>,
    (writer, of_workers, of_drills): (Writer<Tenant>, Writer<Worker>, Writer<Drill>),
    desk: &UnboundedSender<desk::Event>,
) -> watch::Receiver<Counts> {
    macro_rules! everywhere {
        ($($kind:ty),+) => { $(
            let all = Api::<$kind>::all(client.clone());
            tasks.spawn(named(stringify!($kind), follow(all, world.clone())));
        )+ };
    }
    everywhere!(
        Namespace,
        LimitRange,
        ServiceAccount,
        RoleBinding,
        ClusterRole,
        ClusterRoleBinding,
        Pod,
        Node,
        RuntimeClass,
        StorageClass,
        PersistentVolume
    );
    for namespace in ["default", SYSTEM_NAMESPACE, DECOY_NAMESPACE] {
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
        tasks.spawn(named("EndpointSlice", follow(slices, world.clone())));
    }
    workers(tasks, client, world, of_workers);
    let drills = follow_whole(client.clone(), world.clone(), of_drills);
    tasks.spawn(named("Drill", drills));
    heard::watches(tasks, client, world, desk);
    macro_rules! told {
        ($($kind:ty, $labels:expr => $event:path),+) => { $({
            let (all, desk) = (Api::<$kind>::all(client.clone()), desk.clone());
            let hear = move |event| drop(desk.send($event(Box::new(event))));
            let told = tell::<$kind, _>(all, world.clone(), $labels, hear);
            tasks.spawn(named(stringify!($kind), told));
        })+ };
    }
    let sandboxes = format!("{ROLE_LABEL}={ROLE_SANDBOX}");
    told!(Execution, None => desk::Event::Executions, Pod, Some(&sandboxes) => desk::Event::Pods);
    let desk = desk.clone();
    let hear = move |event: &watcher::Event<Tenant>| {
        let told = match event {
            watcher::Event::Apply(tenant) | watcher::Event::InitApply(tenant) => {
                desk::Event::Tenant(Box::new(tenant.clone()))
            }
            watcher::Event::Delete(tenant) => desk::Event::TenantGone(tenant.name_any()),
            watcher::Event::Init | watcher::Event::InitDone => return,
        };
        let _ = desk.send(told);
    };
    let tenants = follow_tenants(client.clone(), world.clone(), writer, hear);
    tasks.spawn(named("Tenant", tenants));
    quotas(tasks, client, world)
}

/// Quotas: those of tenants, and one of Cloister's own, which is made until it shows what it must.
fn quotas(
    tasks: &mut JoinSet<Error>,
    client: &Client,
    world: &Arc<World>,
) -> watch::Receiver<Counts> {
    let (counted, counts) = watch::channel(Counts::default());
    let hear = move |event: &watcher::Event<_>| counts::hear(&counted, event);
    let quotas = follow_aloud(Api::all(client.clone()), world.clone(), hear);
    tasks.spawn(named("ResourceQuota", quotas));
    let (client, seen) = (client.clone(), counts.clone());
    tasks.spawn(async move {
        counts::settle(&client, seen).await;
        std::future::pending().await
    });
    counts
}

/// Workers, and what they are made of.
fn workers(
    tasks: &mut JoinSet<Error>,
    client: &Client,
    world: &Arc<World>,
    writer: Writer<Worker>,
) {
    let workers = follow_whole(client.clone(), world.clone(), writer);
    tasks.spawn(named("Worker", workers));
    macro_rules! of_workers {
        ($($kind:ty),+) => { $(
            let all = Api::<$kind>::all(client.clone());
            let followed = follow_labelled(all, world.clone(), WORKER_LABEL);
            tasks.spawn(named(stringify!($kind), followed));
        )+ };
    }
    of_workers!(Deployment, StatefulSet, PodDisruptionBudget);
}

/// A watch ends the process if it ends.
pub(super) async fn named(kind: &'static str, watch: impl Future<Output = ()>) -> Error {
    watch.await;
    tracing::error!(kind, "watch ended");
    Error::Ended("a watch")
}
