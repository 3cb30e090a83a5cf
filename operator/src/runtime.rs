//! The process around the rooms: watches, lease, controller, health.
//!
//! Every replica keeps its caches filled; the one that holds the lease reconciles. The
//! first task that ends ends the process, and Kubernetes starts it anew.
//!
//! Only who sees everything takes the lease. A leader that loses sight leads on for
//! [`FAREWELL`], repairs nothing, and says Unknown of every Tenant; if it still does not see
//! then, it gives the lease back, for one that sees may be waiting. Where nobody
//! sees, nobody leads until somebody does, and what was claimed has been taken back.
//!
//! Who has lost lease or sight drops all that it knows and has under way, and begins again within
//! its process: an API server that does not answer for seconds, again and again, would have the
//! kubelet hold back all replicas for minutes (`CrashLoopBackOff`).

mod found;
mod heard;
mod rooms;
mod watches;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crds::{Drill, Tenant, Worker};
use futures::channel::oneshot;
use kube::{Client, runtime::reflector};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc::UnboundedSender, watch},
    task::JoinSet,
    time::{MissedTickBehavior, timeout},
};

use self::found::Found;
use crate::{
    admin::{self, Admin},
    cli::Settings,
    counts::{self, Counts},
    deadline,
    dispatch::desk::{self, Desk},
    lease::Candidate,
    report::Report,
    room::Context,
    session::{self, Authority},
    wire,
    world::World,
};

/// How long passes that are under way may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Pause before sandboxes are answered anew, after that has failed.
const DISPATCH_AGAIN: Duration = Duration::from_secs(2);

/// How long a leader that has lost sight goes on: time to say so of ten thousand Tenants.
const FAREWELL: Duration = Duration::from_secs(30);

/// Why an operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig, no service account, or a broken one.
    #[error("failed to find the API server: {0}")]
    Config(#[source] Box<kube::Error>),
    /// Signals cannot be listened for.
    #[error("failed to listen for signals: {0}")]
    Signal(#[source] std::io::Error),
    /// Health and metrics cannot be served.
    #[error("failed to serve health and metrics on {address}: {source}")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A task ended that never should.
    #[error("{0} ended; see the lines above")]
    Ended(&'static str),
    /// It may not lead any more, and did.
    #[error("{0} is lost; see the lines above")]
    Lost(&'static str),
}

/// What a life begins with.
pub struct Means {
    /// For all but the lease.
    pub client: Client,
    /// For the lease: a client of the keeper's, who renews it and does nothing else.
    pub lease: (Client, Handle),
}

impl Means {
    async fn find(keeper: &Handle) -> Result<Self, Error> {
        let config = |error| Error::Config(Box::new(error));
        // A client does its work where it is made.
        let mut made = JoinSet::new();
        made.spawn_on(wire::client(), keeper);
        let Some(Ok(lease)) = made.join_next().await else {
            return Err(Error::Ended("the keeper of the lease"));
        };
        Ok(Self {
            client: wire::client().await.map_err(config)?,
            lease: (lease.map_err(config)?, keeper.clone()),
        })
    }
}

/// Runs until a signal or a failure, and begins anew where lease or sight are lost. `keeper` is a
/// runtime with a thread of its own.
///
/// # Errors
/// Whatever ended it, unless it was a signal.
pub async fn run(settings: Settings, keeper: &Handle) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let asked = either(&mut terminate, &mut interrupt);
    live_on(|| Means::find(keeper), settings, asked).await
}

/// The same with other means, until `asked` to end. Each beginning asks for means of its own: nobody may
/// answer on the connections of before.
///
/// # Errors
/// Whatever ended it, unless it was asked to.
pub async fn live_on<F>(
    mut means: impl FnMut() -> F,
    settings: Settings,
    asked: impl Future<Output = ()>,
) -> Result<(), Error>
where
    F: Future<Output = Result<Means, Error>>,
{
    let mut asked = std::pin::pin!(asked);
    let mut losses = 0;
    loop {
        let life = async {
            let means = means().await?;
            serve(means, settings.clone(), losses, asked.as_mut()).await
        };
        match life.await {
            Err(Error::Lost(what)) => tracing::warn!(what, "beginning anew"),
            ended => return ended,
        }
        losses += 1;
        // What was under way has come by then, or never does: whoever leads next may be this process.
        if timeout(wire::UNCONFIRMED, asked.as_mut()).await.is_ok() {
            return Ok(());
        }
    }
}

/// Runs until `asked` to end, the loss of the lease or of sight, of which there were so many before,
/// or a failure. Dropped in the middle, it is gone as after a kill: nothing is written any more, and the
/// lease stays taken.
async fn serve(
    means: Means,
    settings: Settings,
    losses: u64,
    asked: impl Future<Output = ()>,
) -> Result<(), Error> {
    let client = deadline::around(means.client, deadline::ANSWER);
    let (store, writer) = reflector::store::<Tenant>();
    let (workers, of_workers) = reflector::store::<Worker>();
    let (drills, of_drills) = reflector::store::<Drill>();
    let world = Arc::new(World::with(store, workers, drills));
    let mut candidate = Candidate::new(means.lease, &settings.namespace, &settings.name);
    let writing = candidate.fence().around(client.clone());
    let report = Report::new(writing.clone(), &settings.name).after(losses);
    let mut tasks = JoinSet::new();
    let (desk, heard) = tokio::sync::mpsc::unbounded_channel();
    let writers = (writer, of_workers, of_drills);
    let counts = watches::start(&mut tasks, &client, &world, writers, &desk);
    let admin = Admin {
        report: report.clone(),
        world: world.clone(),
        counts: counts.clone(),
    };
    tasks.spawn(answer(settings.admin, admin));
    #[expect(clippy::disallowed_methods, reason = "the clock enters here")]
    let now = jiff::Timestamp::now;
    let context = Arc::new(Context {
        client: writing,
        world,
        settings,
        report,
        now,
    });
    let at_work = Desk::new(context.clone()).run(heard);
    tasks.spawn(async move {
        at_work.await;
        Error::Ended("the desk")
    });
    let (stop, stopped) = oneshot::channel();
    let ended = {
        let blind = context.world.sight().lost_for(FAREWELL);
        let mut leading = std::pin::pin!(lead(
            &mut candidate,
            &context,
            (&desk, counts),
            blind,
            stopped
        ));
        tokio::select! {
            ended = tasks.join_next() => Err(outcome(ended)),
            ended = &mut leading => Err(ended),
            () = asked => {
                tracing::info!("asked to end");
                // Nobody listens if this replica does not lead; then nothing is under way.
                if stop.send(()).is_ok() {
                    let _ = timeout(DRAIN, leading).await;
                }
                Ok(())
            }
        }
    };
    context.report.leading(false);
    candidate.release().await;
    // Its ports are free for who begins anew, and its memory.
    tasks.shutdown().await;
    ended
}

/// Serves health and metrics.
async fn answer(address: SocketAddr, admin: Admin) -> Error {
    match admin::serve(address, admin).await {
        Ok(()) => Error::Ended("the admin server"),
        Err(source) => Error::Admin { address, source },
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn outcome(ended: Option<Result<Error, tokio::task::JoinError>>) -> Error {
    match ended {
        Some(Ok(error)) => error,
        Some(Err(_)) | None => Error::Ended("a task"),
    }
}

/// Waits for full caches and the lease, then reconciles until the lease is lost, until it is
/// `blind`, or until told to stop and the passes that are under way have ended.
async fn lead(
    candidate: &mut Candidate,
    context: &Arc<Context>,
    (desk, counts): (&UnboundedSender<desk::Event>, watch::Receiver<Counts>),
    blind: impl Future<Output = ()>,
    mut stopped: oneshot::Receiver<()>,
) -> Error {
    // A replica that knows nothing must not lead: it would see everything as missing.
    let sees = || context.world.sight().is_clear();
    tokio::select! {
        () = candidate.acquired(sees) => {}
        _ = &mut stopped => return Error::Ended("the wait for the lease"),
    }
    tracing::info!("leading");
    tokio::select! {
        // A process that was halted sees the end of its lease before it goes on.
        biased;
        () = candidate.lost() => {
            tracing::warn!("lease lost");
            Error::Lost("the lease")
        }
        () = blind => {
            tracing::error!("no sight for long; the lease is for one who sees");
            Error::Lost("the sight")
        }
        () = Box::pin(look_after_all(context, counts, stopped)) => Error::Ended("a room"),
        () = Box::pin(dispatch(context, desk)) => Error::Ended("the dispatch"),
    }
}

/// Nobody, before a tenant's quota is sure to be counted: until then it only holds the lease.
async fn look_after_all(
    context: &Arc<Context>,
    counts: watch::Receiver<Counts>,
    mut stopped: oneshot::Receiver<()>,
) {
    tokio::select! {
        () = counts::known(counts) => {}
        _ = &mut stopped => return,
    }
    context.report.leading(true);
    rooms::reconcile_all(context, stopped).await;
}

/// Answers sandboxes while it leads. What fails is tried again: Tenants are looked after
/// whatever becomes of Executions.
async fn dispatch(context: &Arc<Context>, desk: &UnboundedSender<desk::Event>) {
    let Some(address) = context.settings.dispatching.address else {
        tracing::warn!("this process has no address of a pod: no Execution runs");
        return std::future::pending().await;
    };
    let mut again = tokio::time::interval(DISPATCH_AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        if let Err(error) = dispatch_once(context, desk, address).await {
            tracing::error!(%error, "no sandbox can be answered");
        }
    }
}

async fn dispatch_once(
    context: &Arc<Context>,
    desk: &UnboundedSender<desk::Event>,
    address: IpAddr,
) -> Result<(), session::Error> {
    let settings = &context.settings.dispatching;
    let client = &context.client;
    let authority = Arc::new(Authority::load(client, context.now).await?);
    let (told, sessions) = tokio::sync::mpsc::unbounded_channel();
    let (_leading, stop) = tokio::sync::oneshot::channel();
    let lead = desk::Lead {
        authority: authority.clone(),
        sessions,
        stop,
    };
    // First of all: who is not found is silent, and the desk counts for how long.
    let found = Found::at(context, SocketAddr::new(address, settings.listen.port())).await?;
    // The desk is there for as long as the caches.
    let _ = desk.send(desk::Event::Lead(Box::new(lead)));
    let (client, world) = (client.clone(), &context.world);
    tokio::select! {
        ended = session::listen(settings.listen, authority, client, told, world) => ended,
        never = found.keep() => match never {},
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        recording::{Recording, UID},
    };

    #[tokio::test]
    async fn who_does_not_see_neither_takes_the_lease_nor_keeps_it() {
        let tenant = json!({"metadata": {"name": "acme", "uid": UID}, "spec": {"members": []}});
        let tenant = serde_json::from_value(tenant).unwrap();
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let client = context.client.clone();
        let lease = (client, Handle::current());
        let mut candidate = Candidate::new(lease, "cloister-system", "operator-0");
        let (fence, sight) = (candidate.fence().clone(), context.world.sight());
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        sight.expect("Pod");
        sight.lose("Pod");
        let (_stop, stopped) = oneshot::channel();
        let blind = sight.lost_for(Duration::ZERO);
        let told = async {
            for _ in 0..20 {
                tick.tick().await;
                assert!(!fence.is_open(), "leads without seeing");
            }
            sight.clear("Pod");
            while !fence.is_open() {
                tick.tick().await;
            }
            sight.lose("Pod");
        };
        let (desk, _heard) = tokio::sync::mpsc::unbounded_channel();
        let (_counted, counts) = watch::channel(Counts::Known);
        let leading = lead(&mut candidate, &context, (&desk, counts), blind, stopped);
        let both = async { tokio::join!(leading, told) };
        let both = Box::pin(both);
        let ended = tokio::time::timeout(Duration::from_secs(30), both).await;
        let (ended, ()) = ended.unwrap();
        assert!(matches!(ended, Error::Lost("the sight")), "{ended}");
    }

    fn settings() -> Settings {
        let words = ["cloister", "operator"];
        let Command::Operator(arguments) = Cli::parse_from(words).command else {
            unreachable!("it is what was typed")
        };
        Settings::from(&*arguments)
    }

    #[tokio::test(start_paused = true)]
    async fn who_loses_the_lease_begins_anew_after_a_while_and_who_fails_does_not() {
        let began = Instant::now();
        let mut ends = vec![
            Error::Ended("a task"),
            Error::Lost("the sight"),
            Error::Lost("the lease"),
        ];
        let means = || std::future::ready(Err(ends.pop().unwrap()));
        let ended = live_on(means, settings(), std::future::pending()).await;
        assert!(matches!(ended, Err(Error::Ended("a task"))), "{ended:?}");
        assert!(began.elapsed() >= 2 * wire::UNCONFIRMED);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_to_end_does_not_begin_anew() {
        let means = || std::future::ready(Err(Error::Lost("the lease")));
        let asked =
            async { drop(timeout(Duration::from_secs(3), std::future::pending::<()>()).await) };
        let ended = live_on(means, settings(), asked).await;
        assert!(ended.is_ok(), "{ended:?}");
    }

    #[tokio::test]
    async fn who_leads_looks_after_nobody_before_the_kinds_are_counted() {
        let tenant = json!({"metadata": {"name": "acme", "uid": UID}, "spec": {"members": []}});
        let tenant = serde_json::from_value(tenant).unwrap();
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let (counted, counts) = watch::channel(Counts::Absent);
        let (_stop, stopped) = oneshot::channel();
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let told = async {
            for _ in 0..20 {
                tick.tick().await;
                assert_eq!(server.take(), []);
            }
            counted.send_replace(Counts::Known);
            while server.take().is_empty() {
                tick.tick().await;
            }
        };
        let looking = Box::pin(look_after_all(&context, counts, stopped));
        let first = futures::future::select(looking, Box::pin(told));
        let ended = tokio::time::timeout(Duration::from_secs(30), first).await;
        let ended = ended.unwrap();
        assert!(
            matches!(ended, futures::future::Either::Right(_)),
            "it ended"
        );
    }
}
