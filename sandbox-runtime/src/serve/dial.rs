//! An address, and whom to believe there → a connection to the operator: TCP, TLS 1.3, HTTP/2.
//!
//! The handshake is done before a byte of ours is said: who cannot show a certificate of one
//! of our authorities, for the host that was dialled, never sees the token.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::serve::MAX_MESSAGE_BYTES;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, version};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::names::{self, LookupError};

/// The protocol that both sides have to name (RFC 9113, 3.2).
const HTTP_2: &[u8] = b"h2";
/// A silent operator is asked for a sign of life so often, and given so long for it.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a name may take. A resolver that does not answer is asked again with the next dial.
const RESOLVE: Duration = Duration::from_secs(5);
/// As much may be under way to this side, so that no contract waits for a window to open.
const WINDOW: u32 = {
    assert!(MAX_MESSAGE_BYTES <= 1 << 30, "HTTP/2 windows have 31 bits");
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    let window = MAX_MESSAGE_BYTES as u32;
    window
};

/// Why nobody can be dialled; asking again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Not a host and a port.
    #[error("`dispatch` is `{0}`, and has to be host:port, an IPv6 address in brackets")]
    Form(String),
    /// No certificate can be for this host.
    #[error("no certificate can be for `{0}`")]
    Host(String, #[source] InvalidDnsNameError),
    /// Not an address that HTTP knows.
    #[error("failed to make an address of `{0}`")]
    Address(String, #[source] tonic::codegen::StdError),
    /// What is in between is no certificate.
    #[error("failed to read `authorities` as PEM")]
    Pem(#[source] pem::Error),
    /// One that cannot be believed.
    #[error("failed to read a certificate of `authorities`")]
    Authority(#[source] rustls::Error),
    /// Nobody could ever be believed.
    #[error("`authorities` holds no certificate")]
    NoAuthority,
    /// This build lacks what it takes.
    #[error("failed to set up TLS 1.3")]
    Tls(#[source] rustls::Error),
}

/// Why there is no connection now. There may be one later.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("failed to find {0}")]
    Name(String, #[source] LookupError),
    /// Nobody answered.
    #[error("failed to connect to {0}")]
    Connect(String, #[source] io::Error),
    /// Whoever answered is not believed, or does not speak TLS 1.3.
    #[error("failed to make sure of {0}")]
    Tls(String, #[source] io::Error),
    /// HTTP/2 was not agreed on.
    #[error("{0} does not speak HTTP/2")]
    NotHttp2(String),
    /// HTTP/2 did not come up.
    #[error("failed to speak HTTP/2")]
    Http2(#[source] tonic::transport::Error),
}

/// Whom to dial, and how to know that it is the one.
#[derive(Clone)]
pub struct Dispatch {
    host: String,
    port: u16,
    name: ServerName<'static>,
    endpoint: Endpoint,
    tls: TlsConnector,
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Dispatch({}:{})", self.host, self.port)
    }
}

impl Dispatch {
    /// Dials nobody yet.
    pub fn new(address: &str, authorities: &str) -> Result<Self, DispatchError> {
        let (host, port) = split(address).ok_or_else(|| DispatchError::Form(address.to_owned()))?;
        let name = ServerName::try_from(host.clone())
            .map_err(|error| DispatchError::Host(host.clone(), error))?;
        Ok(Self {
            host,
            port,
            name,
            endpoint: endpoint(address)
                .map_err(|error| DispatchError::Address(address.to_owned(), error))?,
            tls: tls(authorities)?,
        })
    }

    /// Dials once. May take as long as names are resolved and handshakes answered; who does not take
    /// the connection within `answer` is not there.
    pub async fn dial(&self, answer: Duration) -> Result<Channel, DialError> {
        let whom = || self.host.clone();
        let host = self.host.clone();
        let found = spawn_blocking(move || names::lookup(&host, RESOLVE)).await;
        let found = found.map_err(|error| DialError::Connect(whom(), error.into()))?;
        let found = found.map_err(|error| DialError::Name(whom(), error))?;
        let addresses: Vec<SocketAddr> = found
            .into_iter()
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        let tcp = timeout(answer, TcpStream::connect(addresses.as_slice())).await;
        let tcp = tcp
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| DialError::Connect(whom(), error))?;
        tcp.set_nodelay(true)
            .map_err(|error| DialError::Connect(whom(), error))?;
        let stream = self
            .tls
            .connect(self.name.clone(), tcp)
            .await
            .map_err(|error| DialError::Tls(whom(), error))?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP_2) {
            return Err(DialError::NotHttp2(whom()));
        }
        // Given out once: a channel that would dial again by itself would show no token anew.
        let mut stream = Some(TokioIo::new(stream));
        let connector = service_fn(move |_: Uri| {
            let once = stream.take();
            std::future::ready(once.ok_or(io::Error::from(io::ErrorKind::NotConnected)))
        });
        let channel = self.endpoint.connect_with_connector(connector);
        channel.await.map_err(DialError::Http2)
    }
}

fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    Some((host.to_owned(), port.parse().ok()?))
}

/// The address is `http` to the library, which else would look for TLS of its own; requests
/// say `https`, which is what they travel by.
fn endpoint(address: &str) -> Result<Endpoint, tonic::codegen::StdError> {
    let origin = Uri::try_from(format!("https://{address}"))?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint
        .origin(origin)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW))
}

fn tls(authorities: &str) -> Result<TlsConnector, DispatchError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        let authority = authority.map_err(DispatchError::Pem)?;
        roots.add(authority).map_err(DispatchError::Authority)?;
    }
    if roots.is_empty() {
        return Err(DispatchError::NoAuthority);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(DispatchError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    // Every session sees the certificate: sessions are few, and it may have been withdrawn.
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}
