//! A fake API server: it keeps one Secret, by version, and judges tokens by a list.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/cloister-system/secrets";
const SECRET: &str = "/api/v1/namespaces/cloister-system/secrets/cloister-dispatch";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

#[derive(Default)]
struct State {
    secret: Option<Value>,
    version: u32,
    /// What somebody else makes of the Secret before the next write comes in.
    rival: Option<Value>,
    tokens: HashMap<String, Value>,
    asked: Vec<String>,
}

/// The server. Clones are the same one.
#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<State>>);

impl FakeApi {
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Lets `token` be the one of this pod.
    pub fn admit(&self, token: &str, pod: &str) {
        self.judge(token, good(pod));
    }

    /// Has this said of `token`.
    pub fn judge(&self, token: &str, status: Value) {
        let mut state = self.0.lock().unwrap();
        state.tokens.insert(token.to_owned(), status);
    }

    /// What has been asked since the last time, by method and path.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    pub fn secret(&self) -> Option<Value> {
        self.0.lock().unwrap().secret.clone()
    }

    /// Somebody else's write, as if it came in now.
    pub fn put(&self, secret: Option<Value>) {
        self.0.lock().unwrap().put(secret);
    }

    /// Somebody else's write, as if it came in just before the next one.
    pub fn put_before_next(&self, secret: Value) {
        self.0.lock().unwrap().rival = Some(secret);
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        let path = parts.uri.path();
        let mut state = self.0.lock().unwrap();
        state.asked.push(format!("{} {path}", parts.method));
        let (code, answer) = state.answer(&parts.method, path, body);
        let text = Body::from(serde_json::to_vec(&answer).unwrap());
        Response::builder().status(code).body(text).unwrap()
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        if *method != Method::GET
            && let Some(rival) = self.rival.take_if(|_| path != REVIEWS)
        {
            self.put(Some(rival));
        }
        match (method, path) {
            (&Method::POST, REVIEWS) => self.review(body),
            (&Method::GET, SECRET) => match &self.secret {
                Some(secret) => (200, secret.clone()),
                None => refusal(404, "NotFound"),
            },
            (&Method::POST, SECRETS) if self.secret.is_some() => refusal(409, "AlreadyExists"),
            (&Method::POST, SECRETS) => (201, self.put(Some(body)).unwrap()),
            (&Method::PUT, SECRET) => {
                let version = |secret: &Value| secret["metadata"]["resourceVersion"].clone();
                match self.secret.as_ref().map(version) {
                    None => refusal(404, "NotFound"),
                    Some(held) if held != version(&body) => refusal(409, "Conflict"),
                    Some(_) => (200, self.put(Some(body)).unwrap()),
                }
            }
            _ => refusal(403, "Forbidden"),
        }
    }

    fn put(&mut self, secret: Option<Value>) -> Option<Value> {
        self.version += 1;
        self.secret = secret.map(|mut secret| {
            secret["metadata"]["uid"] = json!("00000000-0000-4000-8000-0000000000f0");
            secret["metadata"]["resourceVersion"] = json!(self.version.to_string());
            secret
        });
        self.secret.clone()
    }

    fn review(&self, mut review: Value) -> (u16, Value) {
        assert_eq!(review["spec"]["audiences"], json!(["cloister-dispatch"]));
        let token = review["spec"]["token"].as_str().unwrap();
        if token == "what breaks the server" {
            return refusal(500, "InternalError");
        }
        let unknown = json!({"authenticated": false, "error": format!("bad token {token}")});
        review["status"] = self.tokens.get(token).cloned().unwrap_or(unknown);
        (201, review)
    }
}

/// What is said of a sandbox's token.
pub fn good(pod: &str) -> Value {
    json!({
        "authenticated": true,
        "audiences": ["cloister-dispatch"],
        "user": {
            "username": "system:serviceaccount:tenant-acme:cloister-sandbox",
            "extra": {
                "authentication.kubernetes.io/pod-name": ["cloister-run-1"],
                "authentication.kubernetes.io/pod-uid": [pod],
            },
        },
    })
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let body = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": "no"});
    (code, body)
}
