//! A stand-in for the supervisor of a sandbox: it speaks the real protocol over a real TLS 1.3
//! connection with a real token, and makes up everything that it says.
//!
//! In: what its pod was told, its token, the operator's address. Out: hello, proof, and, as soon as it is
//! given a run, that this has begun and ended. It goes on until it is dropped, as its pod is deleted.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use contract::{
    dispatch::{
        Ended, Hello, Order, Proof, Report, Run, Started, dispatch_client::DispatchClient, order,
        report::Kind,
    },
    serve::{DISPATCH_VERSION, ServeConfig},
};
use futures::channel::mpsc;
use hyper_util::rt::TokioIo;
use tests::control_plane::pause;
use tokio::{net::TcpSocket, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        client::Resumption,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
        version::TLS13,
    },
};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use super::{Anything, report};

/// From one dial to the next, in milliseconds.
const AGAIN: u64 = 200;
/// Between two proofs while it waits.
const LOOK: Duration = Duration::from_secs(20);

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    config: ServeConfig,
    token: String,
    /// Where it dials from: an address of its node's on the loopback.
    from: IpAddr,
    /// Where the operator listens.
    operator: SocketAddr,
    /// What the last welcome said.
    resume: Vec<u8>,
    /// The run that it has been given.
    given: Option<Run>,
}

impl Sandbox {
    pub(crate) fn new(
        config: ServeConfig,
        token: String,
        from: IpAddr,
        operator: SocketAddr,
    ) -> Self {
        Self {
            config,
            token,
            from,
            operator,
            resume: Vec::new(),
            given: None,
        }
    }

    /// Dials, talks, and dials again, until it is dropped.
    pub(crate) async fn live(mut self) {
        // Whatever ends a session, such as the operator's own end, another one follows.
        loop {
            let ended = self.session().await;
            if std::env::var_os("VERBOSE").is_some() {
                eprintln!("a sandbox's session ended: {ended:?}");
            }
            pause(AGAIN).await;
        }
    }

    /// One session, to its end.
    async fn session(&mut self) -> Result<(), Anything> {
        let channel = self.dial().await?;
        let (say, reports) = mpsc::unbounded();
        let tell = |kind| say.unbounded_send(Report { kind: Some(kind) });
        tell(Kind::Hello(Hello {
            version: DISPATCH_VERSION,
            resume: self.resume.clone(),
            run: self.given.clone(),
        }))?;
        let mut request = Request::new(reports);
        let bearer = format!("Bearer {}", self.token).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        let mut client = DispatchClient::new(channel);
        let mut orders = client.session(request).await?.into_inner();
        loop {
            let Ok(order) = timeout(LOOK, orders.message()).await else {
                if self.given.is_none() {
                    tell(self.proof()?)?;
                }
                continue;
            };
            let order = order?;
            let Some(Order { kind }) = order else {
                return Ok(());
            };
            match kind {
                Some(order::Kind::Welcome(welcome)) => {
                    self.resume = welcome.resume;
                    match self.given.clone() {
                        Some(run) => run_of(run)?.into_iter().try_for_each(tell)?,
                        None => tell(self.proof()?)?,
                    }
                }
                Some(order::Kind::Assign(assign)) => {
                    let run = assign.run.ok_or("a run that is none")?;
                    self.given = Some(run.clone());
                    run_of(run)?.into_iter().try_for_each(tell)?;
                }
                Some(order::Kind::Look(_)) if self.given.is_none() => tell(self.proof()?)?,
                // What is to be ended has ended.
                Some(order::Kind::Cancel(_) | order::Kind::Heard(_) | order::Kind::Look(_))
                | None => {}
            }
        }
    }

    fn proof(&self) -> Result<Kind, Anything> {
        let report = serde_json::to_vec(&report::proof(&self.config.probe))?;
        Ok(Kind::Proof(Proof { report, age_ms: 0 }))
    }

    /// As the real one does: the handshake first, and the certificate for the operator's name.
    async fn dial(&self) -> Result<Channel, Anything> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.config.authorities.as_bytes()) {
            roots.add(root?)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls.resumption = Resumption::disabled();
        let (host, _) = self
            .config
            .dispatch
            .rsplit_once(':')
            .ok_or("no port to dial")?;
        let name = ServerName::try_from(host.to_owned())?;
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let tcp = socket.connect(self.operator).await?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
        let mut once = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_| {
            let stream = once.take();
            async move { stream.ok_or_else(|| io::Error::other("there is but one connection")) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{}", self.config.dispatch))?;
        Ok(endpoint.connect_with_connector(connector).await?)
    }
}

/// It has begun and ended.
fn run_of(run: Run) -> Result<[Kind; 2], Anything> {
    let report = serde_json::to_vec(&report::ended())?;
    let started = Kind::Started(Started {
        run: Some(run.clone()),
        age_ms: 0,
        allowed_ms: 0,
    });
    let ended = Kind::Ended(Ended {
        run: Some(run),
        report,
    });
    Ok([started, ended])
}
