//! One leader at a time, by a `coordination.k8s.io/v1` Lease.
//!
//! A lease is judged by what this process saw and when (client-go's rule): whoever has not
//! seen it renewed for its whole duration may take it. No two clocks are ever compared.
//! The holder stops acting before anyone else may begin: it gives up [`GIVE_UP`] after it
//! began its last successful renewal, and others wait for [`DURATION`]. What it writes goes
//! through a [`Fence`], which lets nothing out after that. It is renewed on a thread that does
//! nothing else: a leader that is behind with its work is slow, and none that comes after it would
//! be faster, but for all that had to be done anew.
#![expect(
    clippy::disallowed_methods,
    reason = "a lease is time itself: it is written here, by this process alone"
)]

mod fence;

use std::time::{Duration, Instant};

use crds::well_known::OPERATOR_SERVICE_ACCOUNT;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};

pub use self::fence::Fence;

/// How long a lease is good for after its last renewal.
pub const DURATION: Duration = Duration::from_secs(7);
/// When the holder itself stops believing in it: enough before, for what is under way to
/// end.
pub const GIVE_UP: Duration = Duration::from_secs(5);
/// Pause between renewals, and between looks at somebody else's lease. A lease given back
/// is taken within one such pause.
const PAUSE: Duration = Duration::from_millis(800);
/// Pause between two questions whether this process is fit to lead.
const UNFIT: Duration = Duration::from_millis(100);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(2);

/// Name of the Lease.
pub const NAME: &str = OPERATOR_SERVICE_ACCOUNT;

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The server took what was sent.
    Written,
    /// Not ours to write: somebody else has it, or may be counting on it.
    Others,
    /// Somebody wrote between the look and the write.
    Raced,
}

/// This process, as a candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    api: Api<Lease>,
    keeper: Handle,
    me: String,
    /// The version last seen, and when it was first seen.
    seen: Option<(String, Instant)>,
    /// The lease as this process wrote it last, while nothing says that it is another's.
    mine: Option<Lease>,
    /// When the last renewal that succeeded was begun: the server counts from later on.
    renewed: Instant,
    fence: Fence,
}

impl Candidate {
    /// A candidate of this name, whose lease is renewed by the `keeper`, to which the client belongs.
    pub fn new((client, keeper): (Client, Handle), namespace: &str, me: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            keeper,
            me: me.to_owned(),
            seen: None,
            mine: None,
            renewed: Instant::now(),
            fence: Fence::default(),
        }
    }

    /// What everything has to go through that only the holder may write.
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Returns once the lease is held, with the fence open. It is asked for only while this
    /// process is `fit` to lead.
    pub async fn acquired(&mut self, fit: impl Fn() -> bool) {
        loop {
            if !fit() {
                sleep(UNFIT).await;
                continue;
            }
            let begun = Instant::now();
            match timeout(REQUEST, self.attempt(false)).await {
                Ok(Ok(Outcome::Written)) => return self.renewed_at(begun),
                Ok(Ok(Outcome::Others | Outcome::Raced)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "lease could not be looked at"),
                Err(_) => tracing::warn!("lease could not be looked at in time"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Renews for ever; returns when the lease can no longer be counted on, with the fence
    /// shut. Whatever is under way then, it returns [`GIVE_UP`] after the last renewal at
    /// the latest.
    pub async fn lost(&mut self) {
        let mut renewing = JoinSet::new();
        let mut keeping = self.clone();
        self.mine = None;
        renewing.spawn_on(async move { keeping.renew().await }, &self.keeper);
        tokio::select! {
            // A process that was halted looks at the clock before it hears of the keeper.
            biased;
            () = self.fence.closed() => {}
            _ = renewing.join_next() => {}
        }
        self.fence.shut();
    }

    async fn renew(&mut self) {
        loop {
            let left = GIVE_UP.saturating_sub(self.renewed.elapsed());
            let attempt = async {
                sleep(PAUSE).await;
                let begun = Instant::now();
                (begun, timeout(REQUEST, self.attempt(false)).await)
            };
            let answer = timeout(left, attempt).await;
            match answer {
                Ok((begun, Ok(Ok(Outcome::Written)))) => self.renewed_at(begun),
                Ok((_, Ok(Ok(Outcome::Others | Outcome::Raced)))) => return,
                Ok((_, Ok(Err(error)))) => tracing::warn!(%error, "lease could not be renewed"),
                Ok((_, Err(_))) => tracing::warn!("lease could not be renewed in time"),
                Err(_) => {
                    let late = self.renewed.elapsed();
                    tracing::warn!(?late, "lease could not be renewed before its end");
                    return;
                }
            }
        }
    }

    fn renewed_at(&mut self, begun: Instant) {
        self.renewed = begun;
        self.fence.open_until(begun + GIVE_UP);
    }

    /// Gives the lease back, so that the next one need not wait.
    pub async fn release(&mut self) {
        self.fence.shut();
        // A renewal that was dropped midway may arrive between our look and our write. It is
        // the only one under way, so that a second look is enough.
        for _ in 0..2 {
            match timeout(REQUEST, self.attempt(true)).await {
                Ok(Ok(Outcome::Written | Outcome::Others)) => return,
                Ok(Ok(Outcome::Raced)) => {}
                Ok(Err(error)) => {
                    return tracing::warn!(%error, "lease could not be given back");
                }
                Err(_) => return tracing::warn!("lease could not be given back in time"),
            }
        }
        tracing::warn!("lease could not be given back: written by somebody else meanwhile");
    }

    /// Takes, renews or gives back, if that is ours to do.
    async fn attempt(&mut self, release: bool) -> Result<Outcome, kube::Error> {
        // Not read again while it is ours: each renewal is one request, and not two.
        if let Some(mine) = self.mine.take()
            && self.write(Some(&mine), release).await? == Outcome::Written
        {
            return Ok(Outcome::Written);
        }
        let Some(lease) = self.api.get_opt(NAME).await? else {
            return self.write(None, release).await;
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, Instant::now()));
        }
        let held = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        if !self.may_write(held) || release && held != Some(&self.me) {
            return Ok(Outcome::Others);
        }
        self.write(Some(&lease), release).await
    }

    /// Writes over `previous`. A race that is lost is an answer, not an error.
    async fn write(
        &mut self,
        previous: Option<&Lease>,
        release: bool,
    ) -> Result<Outcome, kube::Error> {
        let next = self.lease(previous, release);
        let parameters = PostParams::default();
        let answer = match previous {
            Some(_) => self.api.replace(NAME, &parameters, &next).await,
            None => self.api.create(&parameters, &next).await,
        };
        match answer {
            Ok(lease) => {
                self.mine = Some(lease);
                Ok(Outcome::Written)
            }
            Err(kube::Error::Api(status))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                Ok(Outcome::Raced)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether nobody else can be counting on the lease.
    fn may_write(&self, held: Option<&str>) -> bool {
        let quiet = self
            .seen
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= DURATION);
        held.is_none_or(|holder| holder.is_empty() || holder == self.me) || quiet
    }

    /// The lease as it is to be written over `previous`, whose version it carries: if
    /// somebody else wrote meanwhile, the server refuses.
    fn lease(&self, previous: Option<&Lease>, release: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = previous
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let mine = spec.holder_identity.as_deref() == Some(&self.me);
        let transitions = spec.lease_transitions.unwrap_or_default();
        let acquired = spec.acquire_time.filter(|_| mine);
        Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                resource_version: previous.and_then(|l| l.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
                holder_identity: Some(if release {
                    String::new()
                } else {
                    self.me.clone()
                }),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                lease_transitions: Some(transitions + i32::from(!mine)),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

impl Drop for Candidate {
    /// Whoever is still at work for it writes no more. The keeper's copy goes when the lease has ended.
    fn drop(&mut self) {
        self.fence.shut();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    const ME: &str = "operator-0";

    /// An API server with a lease that `holder` has. It takes what it is sent, unless the
    /// request of this number, from 1 on, is one of those that come `late`.
    struct Server {
        client: Client,
        asked: Arc<Mutex<Vec<(Method, Instant)>>>,
    }

    impl Server {
        fn with(holder: &'static str, late: &'static [usize]) -> Self {
            let asked = Arc::new(Mutex::new(Vec::new()));
            let log = asked.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let mut log = log.lock().unwrap();
                log.push((request.method().clone(), Instant::now()));
                let late = late.contains(&log.len());
                async move { Ok::<_, Infallible>(answer(request, holder, late).await) }
            });
            let client = Client::new(service, "default");
            Self { client, asked }
        }

        fn candidate(&self) -> Candidate {
            Candidate::new(
                (self.client.clone(), Handle::current()),
                "cloister-system",
                ME,
            )
        }

        fn methods(&self) -> String {
            let asked = self.asked.lock().unwrap();
            let methods: Vec<_> = asked.iter().map(|(method, _)| method.as_str()).collect();
            methods.join(" ")
        }
    }

    async fn answer(request: Request<Body>, holder: &str, late: bool) -> Response<Body> {
        let found =
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": holder}});
        let refused = json!({"status": "Failure", "code": 409, "reason": "Conflict"});
        let (code, body) = match (request.method(), late) {
            (&Method::GET, _) => (200, found.to_string().into_bytes()),
            (_, true) => (409, refused.to_string().into_bytes()),
            (_, false) => {
                let sent = request.into_body().collect_bytes().await.unwrap();
                (200, sent.to_vec())
            }
        };
        let response = Response::builder().status(code);
        response.body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn the_lease_is_counted_from_before_it_was_asked_for() {
        let server = Server::with("", &[]);
        let mut candidate = server.candidate();
        assert_eq!(candidate.fence().end(), None);
        candidate.acquired(|| true).await;
        let (_, asked) = server.asked.lock().unwrap()[0];
        assert!(candidate.renewed <= asked);
        let end = candidate.renewed + GIVE_UP;
        assert_eq!(candidate.fence().end(), Some(end));
        candidate.release().await;
        assert_eq!(candidate.fence().end(), None);
    }

    #[tokio::test]
    async fn who_is_not_fit_to_lead_does_not_ask_for_the_lease() {
        let server = Server::with("", &[]);
        let asked = Mutex::new(0);
        let fit = || {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            assert_eq!(server.methods(), "");
            *asked > 3
        };
        server.candidate().acquired(fit).await;
        assert_eq!(server.methods(), "GET PUT");
    }

    #[tokio::test]
    async fn a_lease_that_is_held_is_renewed_without_being_read() {
        // The first renewal finds that somebody else wrote; what is there then is read.
        let server = Server::with(ME, &[3]);
        let mut candidate = server.candidate();
        for _ in 0..3 {
            assert_eq!(candidate.attempt(false).await.unwrap(), Outcome::Written);
        }
        assert_eq!(server.methods(), "GET PUT PUT GET PUT PUT");
    }

    #[tokio::test]
    async fn a_renewal_that_comes_late_does_not_keep_the_lease_from_being_given_back() {
        let server = Server::with(ME, &[2]);
        server.candidate().release().await;
        assert_eq!(server.methods(), "GET PUT GET PUT");
        // Whose it is not, looks and leaves it.
        let server = Server::with("operator-1", &[]);
        server.candidate().release().await;
        assert_eq!(server.methods(), "GET");
    }

    #[tokio::test]
    async fn a_lease_that_ends_shuts_the_fence() {
        let server = Server::with(ME, &[]);
        let mut candidate = server.candidate();
        candidate.renewed_at(Instant::now().checked_sub(GIVE_UP).unwrap());
        assert!(candidate.fence().end().is_some());
        candidate.lost().await;
        assert_eq!(candidate.fence().end(), None);
        assert_eq!(server.methods(), "", "it was not renewed in the end");
    }
}
