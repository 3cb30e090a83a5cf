//! One call of a sandbox: its token, its Hello, and then what either side says.
//!
//! In: the call, as tonic has read it. Out: events for the dispatcher; to the sandbox, the
//! dispatcher's orders. A call is a future and a stream inside its connection's own task:
//! it starts nothing, and whatever drops it ends the session.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use contract::{
    dispatch::{Hello, Order, Report, dispatch_server::Dispatch, report},
    serve::{DISPATCH_VERSION, OLDEST_DISPATCH_VERSION},
};
use futures::{Stream, StreamExt};
use kube::Client;
use prost::Message;
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    time::{Instant, timeout},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Event, Peer, Session,
    authority::Authority,
    identity::Reviewer,
    places::{Place, Places},
};
use crate::world::facts::Uid;

/// How long somebody whose token is good may take to say Hello.
const HELLO: Duration = Duration::from_secs(5);

/// Sessions of one pod at once: one that has died without a word, and the one after it.
const SESSIONS: usize = 2;

/// What a session may say at once, in [`UNIT`]s. A sandbox that comes back says at most four
/// things that fill less than three, and eight pieces of output that fill less than one.
const BURST: u32 = 64;
/// How long it takes until it may say one more. A sandbox says a piece of output every 200 ms at
/// most.
const REFILL: Duration = Duration::from_millis(125);
/// Bytes that count as one thing said. The dispatcher's queue has no end of its own, so that
/// what can get there has to.
const UNIT: usize = 16 * 1024;

/// Where calls come in.
pub struct Desk {
    authority: Arc<Authority>,
    reviewer: Reviewer,
    events: UnboundedSender<Event>,
    pods: Places<Uid>,
    opened: AtomicU64,
}

impl Desk {
    /// A desk that tells `events`, and asks through `client` who somebody is.
    pub fn new(authority: Arc<Authority>, client: Client, events: UnboundedSender<Event>) -> Self {
        Self {
            authority,
            reviewer: Reviewer::new(client),
            events,
            pods: Places::new(SESSIONS),
            opened: AtomicU64::new(1),
        }
    }

    /// Opens a session, of which the dispatcher hears at once.
    fn open(
        &self,
        peer: Peer,
        mut hello: Hello,
        reports: Streaming<Report>,
        busy: Busy,
    ) -> Result<Conversation, Status> {
        let place = self.pods.take(peer.uid);
        let place =
            place.ok_or_else(|| Status::resource_exhausted("the pod has sessions enough"))?;
        let (orders, ordered) = unbounded_channel();
        let id = self.opened.fetch_add(1, Ordering::Relaxed);
        // The secret has served; it need not go further, where it might be printed.
        let shown = std::mem::take(&mut hello.resume);
        let resumed = self.authority.resumes(peer.uid, &shown);
        let pod = peer.uid;
        let session = Session { id, peer, orders };
        let opened = Event::Opened {
            session,
            hello,
            resumed,
        };
        let gone = |_| Status::unavailable("the operator is about to end");
        self.events.send(opened).map_err(gone)?;
        Ok(Conversation {
            reports,
            ordered,
            pace: Pace::new(Instant::now()),
            closing: Closing {
                pod,
                session: id,
                events: self.events.clone(),
            },
            held: (Arc::new(place), busy),
        })
    }
}

/// How far the one call of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There has been none.
    Awaited,
    /// It goes on.
    Busy,
    /// It is over, and with it the connection.
    Over,
}

/// The places that a connection holds: among the newcomers, until it is known whose it is; and from
/// then on that of its pod.
pub struct Held<N>(Mutex<Whose<N>>);

enum Whose<N> {
    Nobodys {
        #[expect(dead_code, reason = "held until it is dropped")]
        place: N,
    },
    Pods {
        #[expect(dead_code, reason = "held until it is dropped")]
        place: Arc<Place<Uid>>,
    },
}

impl<N> Held<N> {
    /// By somebody new.
    pub const fn by(newcomer: N) -> Self {
        Self(Mutex::new(Whose::Nobodys { place: newcomer }))
    }

    /// It is known whose it is.
    fn known(&self, pod: Arc<Place<Uid>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Whose::Pods { place: pod };
    }
}

/// One connection's side of the desk.
pub struct Call<N> {
    desk: Arc<Desk>,
    stage: watch::Sender<Stage>,
    held: Arc<Held<N>>,
}

impl<N> Call<N> {
    /// One that holds these places.
    pub fn new(desk: Arc<Desk>, held: Arc<Held<N>>) -> Self {
        Self {
            desk,
            stage: watch::Sender::new(Stage::Awaited),
            held,
        }
    }

    /// How far it has come, as it goes.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }
}

#[tonic::async_trait]
impl<N: Send + 'static> Dispatch for Call<N> {
    type SessionStream = Conversation;

    async fn session(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Conversation>, Status> {
        let busy = Busy::first(&self.stage);
        let busy = busy.ok_or_else(|| Status::unavailable("one session a connection"))?;
        let (headers, _, mut reports) = request.into_parts();
        let peer = self.desk.reviewer.identify(&headers).await?;
        let hello = timeout(HELLO, hello(&mut reports)).await;
        let hello = hello.unwrap_or_else(|_| Err(Status::deadline_exceeded("no Hello came")))?;
        let conversation = self.desk.open(peer, hello, reports, busy)?;
        self.held.known(conversation.held.0.clone());
        Ok(Response::new(conversation))
    }
}

/// The first thing that is said, which has to be a Hello of a version that is spoken here.
async fn hello(reports: &mut Streaming<Report>) -> Result<Hello, Status> {
    let first = reports.message().await?.and_then(|report| report.kind);
    let Some(report::Kind::Hello(hello)) = first else {
        return Err(Status::invalid_argument("the first message is not a Hello"));
    };
    if !(OLDEST_DISPATCH_VERSION..=DISPATCH_VERSION).contains(&hello.version) {
        return Err(Status::failed_precondition(format!(
            "the operator speaks the versions {OLDEST_DISPATCH_VERSION} to {DISPATCH_VERSION} of \
             the protocol, not {}",
            hello.version
        )));
    }
    Ok(hello)
}

/// A session that has been opened. To drop it closes it.
pub struct Conversation {
    reports: Streaming<Report>,
    ordered: UnboundedReceiver<Order>,
    pace: Pace,
    closing: Closing,
    held: (Arc<Place<Uid>>, Busy),
}

impl Conversation {
    fn hear(&mut self, report: Report) -> Result<(), Status> {
        if !self.pace.allows(report.encoded_len(), Instant::now()) {
            return Err(Status::resource_exhausted("too much was said at once"));
        }
        let report = match report.kind {
            Some(
                said @ (report::Kind::Proof(_)
                | report::Kind::Started(_)
                | report::Kind::Output(_)
                | report::Kind::Ended(_)),
            ) => said,
            Some(report::Kind::Hello(_)) => {
                return Err(Status::invalid_argument("a second Hello"));
            }
            None => return Err(Status::invalid_argument("a message of no known kind")),
        };
        let Closing {
            pod,
            session,
            ref events,
        } = self.closing;
        let said = Event::Said {
            pod,
            session,
            report,
        };
        events
            .send(said)
            .map_err(|_| Status::unavailable("the operator is about to end"))
    }
}

impl Stream for Conversation {
    type Item = Result<Order, Status>;

    /// Hears what there is to hear, then says what there is to say. Over when either side is.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.reports.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(report))) => {
                    if let Err(status) = self.hear(report) {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
                // Gone, or not worth listening to.
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        self.ordered.poll_recv(context).map(|order| order.map(Ok))
    }
}

/// Says that a session is over when it is.
struct Closing {
    pod: Uid,
    session: u64,
    events: UnboundedSender<Event>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let (pod, session) = (self.pod, self.session);
        // Nobody may be left to hear it.
        let _ = self.events.send(Event::Closed { pod, session });
    }
}

/// A call that goes on.
struct Busy(watch::Sender<Stage>);

impl Busy {
    /// The first call of a connection. The next one may come just when that is to be closed.
    fn first(stage: &watch::Sender<Stage>) -> Option<Self> {
        let begins = stage.send_if_modified(|stage| {
            let first = *stage == Stage::Awaited;
            if first {
                *stage = Stage::Busy;
            }
            first
        });
        begins.then(|| Self(stage.clone()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_replace(Stage::Over);
    }
}

/// How much a session may say.
struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            since: now,
        }
    }

    /// Whether a message of this length may be said now.
    fn allows(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let refilled = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        if refilled > 0 {
            self.left = self.left.saturating_add(refilled).min(BURST);
            self.since = now;
        }
        let cost = u32::try_from(1 + bytes / UNIT).unwrap_or(u32::MAX);
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or_default();
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use contract::serve::MAX_OUTPUT_BYTES;

    use super::*;

    #[test]
    fn who_says_too_much_at_once_is_told_so_and_who_takes_their_time_is_not() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let allowed = (0..100).filter(|_| pace.allows(100, begin)).count();
        assert_eq!(allowed, BURST as usize);
        assert!(pace.allows(100, begin + REFILL));
        assert!(!pace.allows(100, begin + REFILL));
        let mut pace = Pace::new(begin);
        assert!(!pace.allows(2 * 1024 * 1024, begin), "in one piece");
        let mut pace = Pace::new(begin);
        assert!((1..1000).all(|count| pace.allows(30 * 1024, begin + 2 * REFILL * count)));
        // Output that goes on and on, as fast as a sandbox says it.
        let (mut pace, piece) = (Pace::new(begin), MAX_OUTPUT_BYTES + 100);
        let pause = Duration::from_millis(200);
        assert!((1..1000).all(|count| pace.allows(piece, begin + pause * count)));
    }
}
