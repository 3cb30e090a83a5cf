//! A client whose process dies in the middle of its n-th write.
//!
//! In: a client of the API server. Out: one that behaves like it until then, and after
//! that never answers again, while nothing it sends arrives any more: what a killed
//! process looks like from outside. The writes of one client are counted.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use tokio::sync::Notify;

/// What becomes of the write in which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// The server has done it; nobody hears the answer.
    AnswerLost,
    /// The server never sees it.
    NeverSent,
}

/// The writes of one client, and its end. Without [`Crash::arm`] it only counts.
#[derive(Debug, Default)]
pub struct Crash {
    state: Mutex<State>,
    dead: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Which write is the last, and how.
    fatal: Option<(usize, Flavour)>,
    writes: Vec<String>,
    dead: bool,
}

/// What to do with one request.
enum Fate {
    Pass,
    Lose,
    Drop,
}

impl Crash {
    /// Dies in the `n`-th write from now on, the first being 1.
    pub fn arm(&self, n: usize, flavour: Flavour) {
        let mut state = self.lock();
        state.fatal = Some((state.writes.len() + n, flavour));
    }

    /// Every write so far, as method and path.
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// Returns when the process has died.
    pub async fn dead(&self) {
        self.dead.notified().await;
    }

    /// This client, until the end. `tenant` is the only one that it is shown, so that
    /// several operators can be looked at side by side.
    pub fn around(self: &Arc<Self>, client: Client, tenant: Option<&str>) -> Client {
        let (crash, tenant) = (self.clone(), tenant.map(ToOwned::to_owned));
        let service = tower::service_fn(move |mut request: Request<Body>| {
            let (client, crash) = (client.clone(), crash.clone());
            if let Some(tenant) = &tenant {
                narrow(&mut request, tenant);
            }
            async move {
                match crash.fate(&request) {
                    Fate::Pass => client.send(request).await,
                    Fate::Lose => {
                        let _ = client.send(request).await;
                        crash.dead.notify_one();
                        never().await
                    }
                    Fate::Drop => {
                        crash.dead.notify_one();
                        never().await
                    }
                }
            }
        });
        Client::new(service, "default")
    }

    fn fate(&self, request: &Request<Body>) -> Fate {
        let mut state = self.lock();
        if state.dead {
            return Fate::Drop;
        }
        let (method, path) = (request.method(), request.uri().path());
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        // The lease is written by the clock, not by what is done.
        if reads || path.contains("/leases") {
            return Fate::Pass;
        }
        state.writes.push(format!("{method} {path}"));
        match state.fatal {
            Some((n, flavour)) if n == state.writes.len() => {
                state.dead = true;
                match flavour {
                    Flavour::AnswerLost => Fate::Lose,
                    Flavour::NeverSent => Fate::Drop,
                }
            }
            _ => Fate::Pass,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn never() -> Result<Response<Body>, kube::Error> {
    std::future::pending().await
}

/// Lists and watches of Tenants show one alone, and those of Drills and Workers what is in its
/// namespace.
fn narrow(request: &mut Request<Body>, tenant: &str) {
    let uri = request.uri().to_string();
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    let field = match path.rsplit_once('/') {
        Some((_, "tenants")) => format!("metadata.name%3D{tenant}"),
        Some((_, "drills" | "workers")) => format!("metadata.namespace%3Dtenant-{tenant}"),
        _ => return,
    };
    if *request.method() == Method::GET {
        let narrowed = format!("{path}?{query}&fieldSelector={field}");
        if let Ok(uri) = narrowed.parse() {
            *request.uri_mut() = uri;
        }
    }
}
