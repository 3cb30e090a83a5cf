//! A client whose process dies in the middle of one of its writes.
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

/// A write of an operator, told from others by what does not differ from one time to the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    /// Method and path, without what names have of pods, the tenant and the owner. Events are all
    /// alike: the second of a kind is the first one, changed.
    pub request: String,
    /// How many such came before it.
    pub before: usize,
}

impl Write {
    /// The last of these, which are about a tenant.
    pub fn last(writes: &[String], tenant: &str) -> Option<Self> {
        let plain = |write: &String| {
            if write.contains("/events") {
                return "event".to_owned();
            }
            let write = write.replace(tenant, "TENANT");
            if let Some((path, _)) = write.split_once("/pods/") {
                return format!("{path}/pods/POD");
            }
            // What has the digest of its owner's identity in its name.
            let is_digest =
                |tail: &str| tail.len() == 8 && tail.chars().all(|digit| digit.is_ascii_hexdigit());
            match write.rsplit_once('-') {
                Some((path, tail)) if is_digest(tail) => format!("{path}-DIGEST"),
                Some(_) | None => write,
            }
        };
        let (last, before) = writes.split_last()?;
        let request = plain(last);
        let alike = before.iter().filter(|write| plain(write) == request);
        Some(Self {
            before: alike.count(),
            request,
        })
    }

    /// Each of these.
    pub fn all(writes: &[String], tenant: &str) -> Vec<Self> {
        let each = 1..=writes.len();
        each.filter_map(|n| Self::last(&writes[..n], tenant))
            .collect()
    }
}

/// The writes of one client, and its end. Without [`Crash::arm_in`] it only counts.
#[derive(Debug, Default)]
pub struct Crash {
    state: Mutex<State>,
    dead: Notify,
}

#[derive(Debug, Default)]
struct State {
    fatal: Option<Fatal>,
    writes: Vec<String>,
    dead: bool,
}

/// Which write is the last, and how: this one of those after so many, which are about a tenant.
#[derive(Debug)]
struct Fatal {
    write: Write,
    after: usize,
    tenant: String,
    flavour: Flavour,
}

impl Fatal {
    fn is_last(&self, writes: &[String]) -> bool {
        Write::last(&writes[self.after..], &self.tenant).as_ref() == Some(&self.write)
    }
}

/// What to do with one request.
enum Fate {
    Pass,
    Lose,
    Drop,
}

impl Crash {
    /// Dies in this write about a tenant, counted from now on.
    pub fn arm_in(&self, write: &Write, tenant: &str, flavour: Flavour) {
        let mut state = self.lock();
        state.fatal = Some(Fatal {
            write: write.clone(),
            after: state.writes.len(),
            tenant: tenant.to_owned(),
            flavour,
        });
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
        match &state.fatal {
            Some(fatal) if fatal.is_last(&state.writes) => {
                let flavour = fatal.flavour;
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
