//! The other end, as a sandbox has it: tonic's client over a connection of the test's own.

use std::{io, net::SocketAddr, sync::Arc};

use contract::dispatch::{Hello, Order, Report, dispatch_client::DispatchClient, order, report};
use futures::channel::mpsc;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::PATIENCE;

/// Whom a sandbox believes, and when.
#[derive(Clone)]
pub struct Trust {
    pub authorities: String,
    pub at: Timestamp,
    pub version: &'static SupportedProtocolVersion,
}

#[derive(Debug)]
struct Clock(Timestamp);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds,
        )))
    }
}

/// The TLS connection alone.
pub async fn handshake(address: SocketAddr, trust: Trust) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(trust.authorities.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Clock(trust.at)))
        .with_protocol_versions(&[trust.version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("cloister-dispatch.cloister-system.svc").unwrap();
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

/// What a sandbox dials with.
pub async fn dial(address: SocketAddr, trust: Trust) -> io::Result<Channel> {
    Ok(over(handshake(address, trust).await?).await)
}

/// HTTP/2 over a connection that is there.
pub async fn over<I>(io: I) -> Channel
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut io = Some(TokioIo::new(io));
    let connector = tower::service_fn(move |_| {
        let io = io.take();
        async move { io.ok_or_else(|| io::Error::other("there is but one connection")) }
    });
    let endpoint = Endpoint::from_static("http://cloister-dispatch.cloister-system.svc:7443");
    endpoint.connect_with_connector(connector).await.unwrap()
}

pub fn hello(resume: &[u8]) -> Hello {
    Hello {
        version: 2,
        resume: resume.to_vec(),
        run: None,
    }
}

/// A session, from the other end.
#[derive(Debug)]
pub struct Sandbox {
    said: mpsc::UnboundedSender<Report>,
    told: Streaming<Order>,
}

impl Sandbox {
    pub async fn open(channel: Channel, token: &str, hello: Hello) -> Result<Self, Status> {
        Self::begin(channel, token, Some(report::Kind::Hello(hello))).await
    }

    /// Calls, and says this or nothing.
    pub async fn begin(
        channel: Channel,
        token: &str,
        first: Option<report::Kind>,
    ) -> Result<Self, Status> {
        let (said, reports) = mpsc::unbounded();
        if let Some(kind) = first {
            let report = Report { kind: Some(kind) };
            said.unbounded_send(report).unwrap();
        }
        let mut request = Request::new(reports);
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let told = DispatchClient::new(channel).session(request).await?;
        let told = told.into_inner();
        Ok(Self { said, told })
    }

    pub fn say(&self, kind: report::Kind) {
        let report = Report { kind: Some(kind) };
        self.said.unbounded_send(report).unwrap();
    }

    /// The next order; nothing if the session is over.
    pub async fn told(&mut self) -> Result<Option<order::Kind>, Status> {
        let order = timeout(PATIENCE, self.told.message()).await;
        Ok(order
            .expect("an order, or the end")?
            .and_then(|order| order.kind))
    }
}
