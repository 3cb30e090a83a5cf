//! Connections to the API server on which nothing stays behind.
//!
//! In: a configuration. Out: a client as kube makes it by default, but that the kernel gives up what
//! nobody has confirmed for [`UNCONFIRMED`]. Otherwise it would go on sending a request for a minute
//! or more, also for a process that has ended: a leader that was cut off would write when the network
//! is back, long after another one has taken over. And an eviction is asked once: a budget's refusal
//! is an answer, which kube's own client would wait out.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper_util::{
    client::legacy::{Client as Connections, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _, retry::RetryPolicy},
};
use tower::{
    BoxError, ServiceBuilder,
    retry::{Policy, RetryLayer},
};

use crate::lease;

/// How long what was sent may go without the other kernel's word that it is there: what is begun
/// while a lease holds has come, or never comes, before another may have it.
pub const UNCONFIRMED: Duration = lease::DURATION.saturating_sub(lease::GIVE_UP);

/// A client for what this process finds around it: a kubeconfig, or its service account.
///
/// # Errors
/// If there is neither, or what is there is broken.
pub async fn client() -> Result<Client, kube::Error> {
    let config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    if config.proxy_url.is_some() {
        // It says that proxies are not for this build.
        return Client::try_from(config);
    }
    around(config)
}

fn around(config: Config) -> Result<Client, kube::Error> {
    let mut connector = connector();
    connector.set_connect_timeout(config.connect_timeout);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let connections = Connections::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let retry = config
        .default_retry
        .then(|| RetryLayer::new(Again(RetryPolicy::server_retry())));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace))
}

/// Asks again where kube does: where a server has no time. But not for an eviction: that a disruption
/// budget is in the way is answered with the same 429. And not for a write that may be done: its
/// second answer would say that somebody was faster, which was the first one.
#[derive(Clone)]
struct Again(RetryPolicy);

impl<R> Policy<Request<Body>, Response<R>, BoxError> for Again {
    type Future = <RetryPolicy as Policy<Request<Body>, Response<R>, BoxError>>::Future;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<R>, BoxError>,
    ) -> Option<Self::Future> {
        let answer = result.as_ref().map(Response::status);
        let doubtful = answer.is_ok_and(|status| status == StatusCode::GATEWAY_TIMEOUT);
        if doubtful && request.method() != Method::GET {
            return None;
        }
        self.0.retry(request, result)
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if request.uri().path().ends_with("/eviction") {
            return None;
        }
        Policy::<_, Response<R>, _>::clone_request(&mut self.0, request)
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_tcp_user_timeout(Some(UNCONFIRMED));
    connector
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsFd as _,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use serde_json::json;
    use tokio::time::timeout;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        apply::{self, Target},
        world::facts::Uid,
    };

    #[tokio::test]
    async fn what_is_not_confirmed_is_given_up_before_another_may_lead() {
        assert!(lease::GIVE_UP + UNCONFIRMED <= lease::DURATION);
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", server.local_addr().unwrap());
        let stream = connector().oneshot(uri.parse().unwrap()).await.unwrap();
        let given = rustix::net::sockopt::tcp_user_timeout(stream.inner().as_fd()).unwrap();
        assert_eq!(u128::from(given), UNCONFIRMED.as_millis());
    }

    #[tokio::test]
    async fn a_budget_is_asked_once_and_a_server_that_has_no_time_again() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let asked = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let counted = asked.clone();
        let answer = async move |request: Request<axum::body::Body>| {
            let evicts = request.uri().path() == "/api/v1/namespaces/a/pods/b/eviction";
            counted[usize::from(evicts)].fetch_add(1, Ordering::Relaxed);
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "code": 429, "reason": "TooManyRequests", "message": "the budget needs it"});
            (http::StatusCode::TOO_MANY_REQUESTS, status.to_string())
        };
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", server.local_addr().unwrap());
        let client = around(Config::new(uri.parse().unwrap())).unwrap();
        let evict = async {
            let pod = Target {
                namespace: "a",
                name: "b",
                uid: Uid::parse("00000000-0000-4000-8000-00000000000b"),
            };
            let held = apply::evict(&client, pod).await.unwrap();
            assert_eq!(held.as_deref(), Some("the budget needs it"));
            // For as long as some pauses, which double from 5 ms.
            let version = client.apiserver_version();
            timeout(Duration::from_millis(200), version).await.ok();
        };
        tokio::select! {
            () = evict => {}
            ended = axum::serve(server, axum::Router::new().fallback(answer)) => unreachable!("{ended:?}"),
        }
        let [versions, evictions] = [0, 1].map(|kind| asked[kind].load(Ordering::Relaxed));
        assert_eq!(evictions, 1);
        assert!(versions > 1, "the control: {versions}");
    }

    #[test]
    fn a_write_that_may_be_done_is_not_sent_again() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let _within = runtime.as_ref().unwrap().enter();
        for (method, status, again) in [
            (Method::GET, 504, true),
            (Method::PATCH, 503, true),
            (Method::PATCH, 504, false),
            (Method::POST, 504, false),
            (Method::GET, 200, false),
        ] {
            let what = format!("{method} {status}");
            let mut request = Request::new(Body::empty());
            *request.method_mut() = method;
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let mut policy = Again(RetryPolicy::server_retry());
            let retry = policy.retry(&mut request, &mut Ok(response));
            assert_eq!(retry.is_some(), again, "{what}");
        }
    }

    #[tokio::test]
    async fn a_server_is_asked_as_the_configuration_says() {
        // As `main` does; another test may have done it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let said = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "",
            "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
        let answer = axum::routing::get(async move |headers: http::HeaderMap| {
            let shown = headers.get("authorization").cloned();
            assert_eq!(shown.unwrap(), "Bearer word");
            said.to_string()
        });
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/prefix", server.local_addr().unwrap());
        let mut config = Config::new(uri.parse().unwrap());
        config.auth_info.token = Some("word".to_owned().into());
        let router = axum::Router::new().route("/prefix/version", answer);
        let client = around(config).unwrap();
        tokio::select! {
            version = client.apiserver_version() => assert_eq!(version.unwrap().minor, "34"),
            ended = axum::serve(server, router) => unreachable!("{ended:?}"),
        }
    }
}
