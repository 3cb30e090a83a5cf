//! An API server that takes everything down, for tests: it answers every write with what it
//! was sent, under a new UID, version and generation, and knows one Tenant.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use clap::Parser;
use crds::Tenant;
use http::{Method, Request, Response};
use jiff::Timestamp;
use kube::{
    Client,
    client::Body,
    runtime::{reflector, watcher},
};
use serde_json::{Value, json};

use crate::{
    cli::{Cli, Command, Settings},
    report::Report,
    room::Context,
    world::World,
};

/// UID of the one Tenant.
pub const UID: &str = "00000000-0000-4000-8000-00000000000a";

/// When all of this happens.
pub fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// One write that came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Method and path, without a query.
    pub what: String,
    /// What was sent.
    pub body: Value,
}

#[derive(Debug, Default)]
struct Log {
    writes: Vec<Write>,
    refuse: Option<(String, Value)>,
    tenant: Value,
    lists: BTreeMap<String, Value>,
    known: Vec<(String, Value)>,
    count: u32,
}

/// The server.
#[derive(Clone, Debug, Default)]
pub struct Recording(Arc<Mutex<Log>>);

impl Recording {
    /// That knows this Tenant.
    pub fn of(tenant: &Tenant) -> Self {
        let server = Self::default();
        server.0.lock().unwrap().tenant = json!(tenant);
        server
    }

    /// Refuses writes to paths that hold this text.
    pub fn refuse(&self, text: &str) {
        let refusal = json!({"kind": "Status", "status": "Failure", "code": 500,
            "reason": "InternalError", "message": "the disk is full"});
        self.refuse_with(text, refusal);
    }

    /// Refuses writes whose method and path hold this text, with this answer.
    pub fn refuse_with(&self, text: &str, answer: Value) {
        self.0.lock().unwrap().refuse = Some((text.to_owned(), answer));
    }

    /// Answers a list of this path with these objects, instead of none.
    pub fn list(&self, path: &str, items: Value) {
        let mut log = self.0.lock().unwrap();
        log.lists.insert(path.to_owned(), items);
    }

    /// Answers writes to paths that hold this text with this object.
    pub fn know(&self, text: &str, object: Value) {
        self.0.lock().unwrap().known.push((text.to_owned(), object));
    }

    /// What came in since the last time, events aside.
    pub fn take(&self) -> Vec<Write> {
        let writes = std::mem::take(&mut self.0.lock().unwrap().writes);
        let events = |write: &Write| write.what.contains("/events");
        writes.into_iter().filter(|write| !events(write)).collect()
    }

    /// Everything that a pass may reach, with this server behind it.
    pub fn context(&self, tenant: &Tenant) -> Context {
        let (store, mut writer) = reflector::store();
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(tenant.clone()),
            watcher::Event::InitDone,
        ] {
            writer.apply_watcher_event(&event);
        }
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let client = Client::new(service, "default");
        Context {
            world: Arc::new(World::new(store)),
            settings: settings(),
            report: Report::new(client.clone(), "operator-0"),
            client,
            now,
        }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let (code, answer) = self.take_down(&parts.method, parts.uri.path(), body);
        let text = Body::from(serde_json::to_vec(&answer).unwrap());
        Response::builder().status(code).body(text).unwrap()
    }

    fn take_down(&self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let mut log = self.0.lock().unwrap();
        if *method == Method::GET {
            let items = log.lists.get(path).cloned().unwrap_or_else(|| json!([]));
            return (200, json!({"metadata": {}, "items": items}));
        }
        let what = format!("{method} {path}");
        let refusal = log.refuse.as_ref().filter(|(text, _)| what.contains(text));
        let refusal = refusal.map(|(_, answer)| answer.clone());
        let sent = body.clone();
        log.writes.push(Write { what, body: sent });
        log.count += 1;
        if let Some(refusal) = refusal {
            let code = refusal["code"]
                .as_u64()
                .and_then(|code| u16::try_from(code).ok());
            return (code.unwrap(), refusal);
        }
        if *method == Method::DELETE {
            return (200, json!({"kind": "Status", "status": "Success"}));
        }
        if path.contains("/tenants/") {
            return (200, log.tenant.clone());
        }
        let known = log.known.iter().find(|(text, _)| path.contains(text));
        if let Some((_, object)) = known {
            return (200, object.clone());
        }
        let mut object = body;
        object["metadata"]["uid"] = json!(format!(
            "00000000-0000-4000-8000-{:012x}",
            0x100 + log.count
        ));
        object["metadata"]["resourceVersion"] = json!((1000 + log.count).to_string());
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!(now());
        (if *method == Method::POST { 201 } else { 200 }, object)
    }
}

/// What an operator is set to that was told nothing.
fn settings() -> Settings {
    let Command::Operator(arguments) = Cli::parse_from(["cloister", "operator"]).command else {
        panic!("not what was typed")
    };
    Settings::from(&*arguments)
}
