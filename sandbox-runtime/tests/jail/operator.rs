//! The operator's side of a session, as far as a sandbox can tell: a certificate, a token seen,
//! reports heard and orders given. Every connection is real: TCP, TLS 1.3, HTTP/2.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use contract::dispatch::dispatch_server::{Dispatch, DispatchServer};
use contract::dispatch::{Assign, Cancel, Heard, Order, Report, Run, Welcome, order, report};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who signs the operator's certificate.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For 127.0.0.1 and localhost.
    fn identity(&self) -> Identity {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    }
}

/// An operator that listens. Dropped, it is gone, and every connection with it.
pub struct Operator {
    pub address: SocketAddr,
    sessions: Receiver<Session>,
    runtime: Option<Runtime>,
}

impl Operator {
    pub fn start(authority: &Authority) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), authority)
    }

    /// At the address of one that is gone.
    pub fn at(address: SocketAddr, authority: &Authority) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let (open, sessions) = channel();
        let tls = ServerTlsConfig::new().identity(authority.identity());
        let router = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_service(DispatchServer::new(Desk(open)));
        runtime.spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        Self {
            address,
            sessions,
            runtime: Some(runtime),
        }
    }

    /// The next session that a sandbox opens.
    pub fn session(&self) -> Session {
        self.sessions.recv_timeout(PATIENCE).expect("a session")
    }

    /// That no sandbox opens one.
    pub fn is_left_alone(&self, time: Duration) -> bool {
        self.sessions.recv_timeout(time).is_err()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// One session. Dropped, it is closed.
pub struct Session {
    /// What was shown as `authorization`.
    pub authorization: String,
    heard: Receiver<(Instant, report::Kind)>,
    say: UnboundedSender<Result<Order, Status>>,
}

impl Session {
    /// The next report, and when it came.
    pub fn hear_at(&self) -> (Instant, report::Kind) {
        self.heard.recv_timeout(PATIENCE).expect("a report")
    }

    pub fn hear(&self) -> report::Kind {
        self.hear_at().1
    }

    /// The next one that is no proof and no output.
    pub fn hear_of_run(&self) -> report::Kind {
        loop {
            match self.hear() {
                report::Kind::Proof(_) | report::Kind::Output(_) => {}
                other => return other,
            }
        }
    }

    pub fn is_silent(&self, time: Duration) -> bool {
        self.heard.recv_timeout(time).is_err()
    }

    pub fn welcome(&self, resume: &[u8]) {
        self.welcome_back(resume, None);
    }

    pub fn welcome_back(&self, resume: &[u8], heard: Option<Heard>) {
        let resume = resume.to_vec();
        self.say(order::Kind::Welcome(Welcome { resume, heard }));
    }

    pub fn assign(&self, run: &Run, contract: &str) {
        self.say(order::Kind::Assign(Assign {
            run: Some(run.clone()),
            contract: contract.into(),
            allowed_ms: 0,
        }));
    }

    pub fn cancel(&self, run: &Run) {
        let run = Some(run.clone());
        self.say(order::Kind::Cancel(Cancel { run }));
    }

    pub fn say(&self, kind: order::Kind) {
        self.say.send(Ok(Order { kind: Some(kind) })).unwrap();
    }
}

struct Desk(Sender<Session>);

#[tonic::async_trait]
impl Dispatch for Desk {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<Order, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let shown = request.metadata().get("authorization");
        let shown = shown.map(|shown| shown.to_str().unwrap().to_owned());
        let (note, heard) = channel();
        let (say, said) = unbounded_channel();
        let mut reports = request.into_inner();
        Handle::current().spawn(async move {
            while let Some(Ok(report)) = reports.next().await {
                let _ = note.send((Instant::now(), report.kind.unwrap()));
            }
        });
        let authorization = shown.unwrap_or_default();
        let _ = self.0.send(Session {
            authorization,
            heard,
            say,
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(said))))
    }
}
