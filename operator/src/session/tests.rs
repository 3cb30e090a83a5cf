//! Sandboxes that dial: a real client, real TLS and HTTP/2, and a fake API server.

mod fake;
mod keeping;
mod sandbox;
mod sessions;
mod silence;
mod trust;

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};

use self::{
    fake::FakeApi,
    sandbox::{Sandbox, Trust},
};
use super::{Authority, Event, Session, serve};
use crate::{recording::now, world::World};

/// Longer than anything that is waited for takes.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    /// How far this test's clock is past the beginning.
    static PASSED: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
}

/// This test's clock.
fn clock() -> Timestamp {
    now() + PASSED.get()
}

fn pass_days(days: i64) {
    PASSED.set(PASSED.get() + SignedDuration::from_hours(24 * days));
}

/// An operator that takes sessions.
struct Operator {
    address: SocketAddr,
    authority: Arc<Authority>,
    events: mpsc::UnboundedReceiver<Event>,
    api: FakeApi,
    listening: JoinSet<()>,
}

impl Operator {
    async fn start() -> Self {
        Self::before(FakeApi::default()).await
    }

    async fn before(api: FakeApi) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = Authority::load(&api.client(), clock).await.unwrap();
        let authority = Arc::new(authority);
        let (sender, events) = mpsc::unbounded_channel();
        let mut listening = JoinSet::new();
        let (client, shown) = (api.client(), authority.clone());
        let world = World::new(reflector::store().0);
        listening.spawn(async move {
            let served = serve(listener, shown, client, sender, &world);
            served.await.unwrap();
        });
        Self {
            address,
            authority,
            events,
            api,
            listening,
        }
    }

    /// What a pod is told that is made now.
    fn trust(&self) -> Trust {
        Trust {
            authorities: self.authority.bundle(),
            at: clock(),
            version: &rustls::version::TLS13,
        }
    }

    async fn dial(&self, token: &str) -> Result<Sandbox, tonic::Status> {
        let channel = sandbox::dial(self.address, self.trust()).await.unwrap();
        Sandbox::open(channel, token, sandbox::hello(&[])).await
    }

    async fn event(&mut self) -> Event {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event.expect("something happens").expect("somebody listens")
    }

    async fn opened(&mut self) -> (Session, bool) {
        match self.event().await {
            Event::Opened {
                session, resumed, ..
            } => (session, resumed),
            other @ (Event::Said { .. } | Event::Closed { .. }) => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> u64 {
        match self.event().await {
            Event::Closed { session, .. } => session,
            other @ (Event::Said { .. } | Event::Opened { .. }) => panic!("{other:?}"),
        }
    }
}
