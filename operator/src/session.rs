//! The operator's end of a sandbox's session: who dials, who may, and what they say.
//!
//! In: connections to the dispatch port, by TLS 1.3. Out: [`Event`]s for the dispatcher, in
//! the order in which they happened in each session. What to answer is the dispatcher's to
//! say: it sends [`Order`]s, and drops the sender when the session is to end.
//!
//! The way through: [`listener`] (TCP, TLS, HTTP/2; [`door`] says for whom there is a place) →
//! [`stream`] (one call) → [`identity`] (its token). [`authority`] is what the operator shows;
//! [`store`] keeps it in a Secret, [`content`] says what is in that, and [`certificate`] makes it.
//!
//! The leader alone comes here. Everything that this room starts is inside the future of
//! [`listen`], and ends with it.

pub mod authority;
mod certificate;
mod content;
mod door;
mod identity;
mod listener;
mod places;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use contract::dispatch::{Hello, Order, report};
use crds::well_known::{DISPATCH, SYSTEM_NAMESPACE};
use kube::Client;
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender};

pub use self::authority::Authority;
use crate::world::{World, facts::Uid};

/// A sandbox pod, as its token says and the API server confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Of a tenant.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID: no other pod ever has it.
    pub uid: Uid,
}

/// One session of a sandbox. A pod may for a moment have two: one that has died without a word,
/// and the one that came after it.
#[derive(Debug)]
pub struct Session {
    /// From 1, in the order of their opening.
    pub id: u64,
    /// Who is at the other end.
    pub peer: Peer,
    /// What it is told. To drop this ends the session, after what has been sent.
    pub orders: UnboundedSender<Order>,
}

/// What happens in sessions.
#[derive(Debug)]
pub enum Event {
    /// Somebody who is who they say, and speaks our version. Nothing has been answered yet.
    Opened {
        /// Theirs.
        session: Session,
        /// What they said, without the secret that `resumed` comes of.
        hello: Hello,
        /// Whether they have shown the secret of their pod: this is the supervisor that has
        /// been welcomed before, and not the command that it runs.
        resumed: bool,
    },
    /// Everything after that. Never a Hello.
    Said {
        /// Who.
        pod: Uid,
        /// In which session.
        session: u64,
        /// What.
        report: report::Kind,
    },
    /// The session is over, by whichever side. Said once of each that was opened.
    Closed {
        /// Whose.
        pod: Uid,
        /// Which.
        session: u64,
    },
}

/// Why there are no sessions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be had.
    #[error("failed to listen for sandboxes on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The authority cannot be read.
    #[error("failed to read Secret {SYSTEM_NAMESPACE}/{DISPATCH}: {0}")]
    Read(#[source] Box<kube::Error>),
    /// It cannot be written, or is somebody else's.
    #[error(transparent)]
    Keep(#[from] crate::error::Error),
    /// Somebody else keeps writing it.
    #[error("failed to keep Secret {SYSTEM_NAMESPACE}/{DISPATCH}: somebody else keeps writing it")]
    Raced,
    /// No certificate came of it.
    #[error("failed to make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Nothing that can be shown came of it.
    #[error("failed to prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// There is no randomness to be had.
    #[error("failed to make a key: the system gives no random numbers")]
    Random,
}

/// Takes sessions, and looks after `authority`, until it is dropped; then every session is over.
/// Which tenants' pods dial, `world` knows.
///
/// # Errors
/// If it cannot begin.
pub async fn listen(
    address: SocketAddr,
    authority: Arc<Authority>,
    client: Client,
    events: UnboundedSender<Event>,
    world: &World,
) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| Error::Bind { address, source })?;
    serve(listener, authority, client, events, world).await
}

async fn serve(
    listener: TcpListener,
    authority: Arc<Authority>,
    client: Client,
    events: UnboundedSender<Event>,
    world: &World,
) -> Result<(), Error> {
    let desk = stream::Desk::new(authority.clone(), client.clone(), events);
    let tls = listener::tls(authority.clone())?;
    tokio::select! {
        () = listener::serve(listener, tls, Arc::new(desk), world) => {}
        () = authority.keep(&client) => {}
    }
    Ok(())
}
