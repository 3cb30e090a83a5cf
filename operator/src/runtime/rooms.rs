//! The rooms at work: each has a queue that the world fills, and passes over what is in it.
//!
//! In: whom the world says to look at. Out: passes, some at once, each in a span and counted; one
//! that failed is made again later, by its error.

use std::{convert::Infallible, sync::Arc};

use futures::{
    FutureExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
};
use kube::{
    ResourceExt,
    runtime::{
        controller::{self, Action, applier},
        reflector::{ObjectRef, Store},
    },
};
use tracing::Instrument;

use crate::{
    drill::DrillRoom,
    error::Error,
    retry::Failures,
    room::{self, Context, Kind, Room},
    tenant::TenantRoom,
    worker::WorkerRoom,
};

/// Passes under way at once, of one room. Each waits for the API server most of its time.
const CONCURRENCY: u16 = 24;

/// Everything once, then whatever the world says, until told to stop and what is under way has
/// ended.
pub(super) async fn reconcile_all(context: &Arc<Context>, stopped: oneshot::Receiver<()>) {
    let stopped = stopped.shared();
    let world = &context.world;
    let (sender, wakes) = mpsc::unbounded();
    world.wake_through(sender);
    let tenants = room::<TenantRoom, _>(
        context,
        world.tenants().clone(),
        wakes.take_until(stopped.clone()),
        |object, context| Box::pin(room::reconcile::<TenantRoom>(object, context)),
    );
    let (sender, wakes) = mpsc::unbounded();
    world.wake_workers_through(sender);
    let workers = room::<WorkerRoom, _>(
        context,
        world.workers().clone(),
        wakes.take_until(stopped.clone()),
        |object, context| Box::pin(room::keep::<WorkerRoom>(object, context)),
    );
    let (sender, wakes) = mpsc::unbounded();
    world.wake_drills_through(sender);
    let drills = room::<DrillRoom, _>(
        context,
        world.drills().clone(),
        wakes.take_until(stopped),
        |object, context| Box::pin(room::keep::<DrillRoom>(object, context)),
    );
    futures::join!(Box::pin(tenants), Box::pin(workers), Box::pin(drills));
}

type Pass<R> = fn(
    Arc<<R as Room>::Kind>,
    Arc<Context>,
) -> futures::future::BoxFuture<'static, Result<Action, Error>>;

/// One room's queue.
async fn room<R, S>(context: &Arc<Context>, store: Store<R::Kind>, queue: S, pass: Pass<R>)
where
    R: Room,
    R::Kind: Kind,
    S: Stream<Item = ObjectRef<R::Kind>> + Send + 'static,
{
    let config = controller::Config::default().concurrency(CONCURRENCY);
    let failures = Failures::default();
    applier(
        move |object: Arc<R::Kind>, context: Arc<Context>| {
            Box::pin(counted::<R>(object, context, pass))
        },
        |object: Arc<R::Kind>, error: &Error, _| {
            let key = key(object.namespace().as_deref(), &object.name_any());
            Action::requeue(failures.one_more(&key, error.retry()))
        },
        context.clone(),
        store,
        queue.map(Ok::<_, Infallible>),
        config,
    )
    .for_each(|ended| {
        match ended {
            Ok((well, _)) => failures.forget(&key(well.namespace.as_deref(), &well.name)),
            Err(controller::Error::ObjectNotFound(gone)) => {
                failures.forget(&key(gone.namespace.as_deref(), &gone.name));
            }
            Err(_) => {}
        }
        std::future::ready(())
    })
    .await;
}

fn key(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// One pass, in a span of its own, counted.
async fn counted<R: Room>(
    object: Arc<R::Kind>,
    context: Arc<Context>,
    pass: Pass<R>,
) -> Result<Action, Error> {
    let namespace = object.namespace();
    let span = tracing::info_span!(
        "pass",
        room = R::NAME,
        namespace,
        object = object.name_any()
    );
    let report = context.report.clone();
    async move {
        let begun = std::time::Instant::now();
        let result = pass(object, context).await;
        let outcome = result.as_ref().map_or_else(Error::reason, |_| "ok");
        report.pass(R::NAME, outcome, begun.elapsed());
        if let Err(error) = &result {
            tracing::warn!(%error, reason = error.reason(), "pass failed");
        }
        result
    }
    .instrument(span)
    .await
}
