//! Connections to the API server on which nothing stays behind.
//!
//! In: a configuration. Out: a client as kube makes it by default, but that the kernel gives up what
//! nobody has confirmed for [`UNCONFIRMED`]. Otherwise it would go on sending a request for a minute
//! or more, also for a process that has ended: a leader that was cut off would write when the network
//! is back, long after another one has taken over.

use std::time::Duration;

use hyper_util::{
    client::legacy::{Client as Connections, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

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
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace))
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_tcp_user_timeout(Some(UNCONFIRMED));
    connector
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use serde_json::json;
    use tower::ServiceExt as _;

    use super::*;

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
