//! Connections: TCP, TLS 1.3, HTTP/2, and how many of them, for how long.
//!
//! In: whoever dials. Out: calls to the [`Desk`]. tonic's own server starts tasks that
//! outlive it; here a connection is one task of the listener's own, and whatever hyper would
//! start for it runs inside that. So a listener that is dropped leaves nothing behind.
//!
//! Anything in the cluster's network may dial, the command of a sandbox among them. Who has
//! not shown a good token yet gets little time, and a place if the [`Door`] has one for them.

use std::{pin::Pin, sync::Arc, time::Duration};

use contract::{dispatch::dispatch_server::DispatchServer, serve::MAX_MESSAGE_BYTES};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hyper::{rt::Executor, server::conn::http2};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig, crypto,
    server::{NoServerSessionStorage, ResolvesServerCert},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    door::{Door, Newcomer},
    stream::{Call, Desk, Held, Stage},
};
use crate::world::World;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may go without its call.
const CALL: Duration = Duration::from_secs(5);
/// How long a connection may stay after its call, to bring the last words over.
const LINGER: Duration = Duration::from_secs(1);
/// How often the other end is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// How long it may take to answer that.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);
/// Pause after a connection could not be taken, as when there are no more descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Bytes under way in either direction before the other side has to have read some.
const WINDOW: u32 = 64 * 1024;
/// Bytes of all headers of a call: room for a token, which has some 1,500.
const HEADERS: u32 = 16 * 1024;

/// The one application protocol.
const ALPN: &[u8] = b"h2";

/// How long the places of a connection are held at least, from its beginning. One who dials again and
/// again, by all the connections that he may have, costs the operator few handshakes and the API server
/// few reviews.
const PARTING: Duration = Duration::from_secs(1);

/// What the operator offers: TLS 1.3, and no resumption, which would save a sandbox
/// nothing (it dials once) and cost memory.
///
/// # Errors
/// If the provider of cryptography lacks TLS 1.3.
pub fn tls(shown: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Takes connections for ever. Whose pod has which address, `world` knows.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, desk: Arc<Desk>, world: &World) {
    let acceptor = TlsAcceptor::from(tls);
    let door = Door::new();
    let mut connections = JoinSet::new();
    let mut breath = interval(BREATH);
    breath.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let from = from.ip().to_canonical();
                    if let Some(newcomer) = door.admit(from, world.tenant_at(from)) {
                        connections.spawn(connection(stream, acceptor.clone(), desk.clone(), newcomer));
                    } else {
                        tracing::debug!(%from, "connection not taken: there are too many");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    breath.reset();
                    breath.tick().await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, from its first byte to its last, and as long as its places are held.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, desk: Arc<Desk>, newcomer: Newcomer) {
    // Messages are small and waited for.
    let _ = stream.set_nodelay(true);
    let held = Arc::new(Held::by(newcomer));
    let parting = Instant::now() + PARTING;
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ALPN) => {
            converse(stream, desk, held.clone()).await;
        }
        Ok(Ok(_)) => tracing::debug!("connection without HTTP/2"),
        Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
        Err(_) => tracing::debug!("handshake took too long"),
    }
    let _ = timeout_at(parting, std::future::pending::<()>()).await;
    drop(held);
}

/// HTTP/2 over a connection, for one call.
pub(super) async fn converse<I, N>(io: I, desk: Arc<Desk>, held: Arc<Held<N>>)
where
    I: AsyncRead + AsyncWrite + Unpin,
    N: Send + 'static,
{
    let call = Call::new(desk, held);
    let stage = call.stage();
    let service = DispatchServer::new(call)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (sender, started) = mpsc::unbounded_channel();
    let connection = http2::Builder::new(Inside(sender))
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .max_concurrent_streams(1)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_send_buf_size(WINDOW as usize)
        .max_header_list_size(HEADERS)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let connection = std::pin::pin!(connection);
    tokio::select! {
        () = drive(connection, started, stage.clone()) => {}
        () = outstayed(stage) => {}
    }
}

type Connection<I, N> =
    http2::Connection<TokioIo<I>, TowerToHyperService<DispatchServer<Call<N>>>, Inside>;

/// Turns a connection, and all that it has started, until it ends.
async fn drive<I, N>(
    mut connection: Pin<&mut Connection<I, N>>,
    mut started: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>,
    mut stage: watch::Receiver<Stage>,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    N: Send + 'static,
{
    let mut running = FuturesUnordered::new();
    let mut leaving = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            Some(one) = started.recv() => running.push(one),
            Some(()) = running.next() => {}
            over = stage.wait_for(|stage| *stage == Stage::Over), if !leaving => {
                drop(over);
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Returns when a connection has been there for longer than it is of use.
async fn outstayed(mut stage: watch::Receiver<Stage>) {
    let called = stage.wait_for(|stage| *stage != Stage::Awaited);
    if timeout(CALL, called).await.is_err() {
        tracing::debug!("connection without a call");
        return;
    }
    let _ = stage.wait_for(|stage| *stage == Stage::Over).await;
    let _ = timeout(LINGER, std::future::pending::<()>()).await;
}

/// Runs what hyper starts for a connection in the connection's own task.
#[derive(Clone)]
struct Inside(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Inside {
    fn execute(&self, future: F) {
        // Nobody is there to run it once the connection is gone.
        let _ = self.0.send(Box::pin(future));
    }
}
