//! A stand-in for the supervisor of a sandbox: it speaks the real protocol over a real TLS 1.3
//! connection with a real token, and makes up everything that it says.
//!
//! In: what its pod was told, its token, how it is to behave. Out: hello, proof, and, as soon as it is
//! given a run, that this has begun, and how it ended. It goes on until it is dropped, as its pod is deleted.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{
    dispatch::{
        Assign, Ended, Hello, Order, Proof, Report, Run, Started, dispatch_client::DispatchClient,
        order, report::Kind,
    },
    run::{Cause, Exit, RunContract, RunReport},
    serve::{DISPATCH_VERSION, ServeConfig},
};
use futures::channel::mpsc;
use hyper_util::rt::TokioIo;
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

use super::{Manner, report};
use crate::{control_plane::pause, measure::load::Anything};

/// From one dial to the next, in milliseconds.
const AGAIN: u64 = 200;
/// Between two proofs while it waits.
const LOOK: Duration = Duration::from_secs(20);

/// One sandbox.
#[derive(Debug)]
pub struct Sandbox {
    config: ServeConfig,
    token: String,
    /// Where it dials from: an address of its node's on the loopback.
    from: IpAddr,
    manner: Manner,
    /// Whether it finds itself as it must be.
    sound: bool,
    /// What the last welcome said.
    resume: Vec<u8>,
    /// The run that it has been given.
    given: Option<Given>,
}

/// A run, and what became of it.
#[derive(Debug)]
struct Given {
    run: Run,
    began: Instant,
    allowed_ms: u32,
    /// When its time is up, if it has a limit.
    end: Option<Instant>,
    ended: Option<RunReport>,
}

impl Sandbox {
    /// One that has just been started, with its token.
    pub fn new(
        config: ServeConfig,
        token: String,
        from: IpAddr,
        manner: Manner,
        sound: bool,
    ) -> Self {
        Self {
            config,
            token,
            from,
            manner,
            sound,
            resume: Vec::new(),
            given: None,
        }
    }

    /// Dials, talks, and dials again, until it is dropped.
    pub async fn live(mut self) {
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
            run: self.given.as_ref().map(|given| given.run.clone()),
        }))?;
        let mut request = Request::new(reports);
        let bearer = format!("Bearer {}", self.token).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        let mut client = DispatchClient::new(channel);
        let mut orders = client.session(request).await?.into_inner();
        loop {
            let Ok(order) = timeout(self.patience(), orders.message()).await else {
                self.wake()?.into_iter().try_for_each(tell)?;
                continue;
            };
            let Some(Order { kind }) = order? else {
                return Ok(());
            };
            let words = match kind {
                Some(order::Kind::Welcome(welcome)) => {
                    self.resume = welcome.resume;
                    self.news()?
                }
                Some(order::Kind::Assign(assign)) => self.begin(assign)?,
                Some(order::Kind::Look(_)) if self.given.is_none() => vec![self.proof()?],
                Some(order::Kind::Cancel(_)) => self.end(Cause::Canceled).into_iter().collect(),
                Some(order::Kind::Heard(_) | order::Kind::Look(_)) | None => vec![],
            };
            words.into_iter().try_for_each(tell)?;
        }
    }

    /// How long it listens before it has something to do by itself.
    fn patience(&self) -> Duration {
        match &self.given {
            Some(Given {
                end: Some(end),
                ended: None,
                ..
            }) => end.saturating_duration_since(Instant::now()),
            Some(_) | None => LOOK,
        }
    }

    /// What it has to say once nothing was said for so long, if anything.
    fn wake(&mut self) -> Result<Option<Kind>, Anything> {
        match &self.given {
            None => self.proof().map(Some),
            Some(given) if given.end.is_some_and(|end| end <= Instant::now()) => {
                Ok(self.end(Cause::TimedOut))
            }
            Some(_) => Ok(None),
        }
    }

    /// All that may not have arrived.
    fn news(&self) -> Result<Vec<Kind>, Anything> {
        let Some(given) = &self.given else {
            return Ok(vec![self.proof()?]);
        };
        let ended = given.ended.as_ref().map(|report| given.ended(report));
        Ok([given.started()]
            .into_iter()
            .chain(ended.transpose()?)
            .collect())
    }

    /// Begins, unless it has: a sandbox is given one run in its life.
    fn begin(&mut self, assign: Assign) -> Result<Vec<Kind>, Anything> {
        if self.given.is_some() {
            return Ok(vec![]);
        }
        let run = assign.run.ok_or("a run that is none")?;
        let contract: RunContract = serde_json::from_slice(&assign.contract)?;
        self.manner.started.count(&run.execution);
        let limit = contract.time.limit_ms.map(Duration::from_millis);
        let code = match contract.arguments.first().map(String::as_str) {
            Some("wait") => None,
            Some("fail") => Some(1),
            Some("fail-once") => Some(u8::from(run.attempt == 1)),
            _ => Some(0),
        };
        let began = Instant::now();
        self.given = Some(Given {
            run,
            began,
            allowed_ms: assign.allowed_ms,
            end: limit.map(|limit| began + limit),
            ended: code.map(|code| report::ended(Cause::Completed, Exit::Code(code))),
        });
        self.news()
    }

    /// Ends what goes on, if anything does.
    fn end(&mut self, cause: Cause) -> Option<Kind> {
        let given = self.given.as_mut().filter(|given| given.ended.is_none())?;
        let report = report::ended(cause, Exit::Signal(15));
        let word = given.ended(&report).ok();
        given.ended = Some(report);
        word
    }

    fn proof(&self) -> Result<Kind, Anything> {
        let request = &self.config.probe;
        let seen = if self.sound {
            report::proof(request)
        } else {
            report::unsound(request)
        };
        let report = serde_json::to_vec(&seen)?;
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
        let tcp = socket.connect(self.manner.operator).await?;
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

impl Given {
    fn started(&self) -> Kind {
        let age = self.began.elapsed().as_millis();
        Kind::Started(Started {
            run: Some(self.run.clone()),
            age_ms: u32::try_from(age).unwrap_or(u32::MAX),
            allowed_ms: self.allowed_ms,
        })
    }

    fn ended(&self, report: &RunReport) -> Result<Kind, Anything> {
        Ok(Kind::Ended(Ended {
            run: Some(self.run.clone()),
            report: serde_json::to_vec(report)?,
        }))
    }
}
