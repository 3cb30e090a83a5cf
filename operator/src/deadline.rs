//! No answer is waited for without end.
//!
//! In: a client. Out: one whose requests fail when nothing has come of them in time. kube
//! itself sets no limit to that, so that a connection which has died without a word, or a
//! proxy that takes a request and hangs, would hold a pass or a watch for ever.

use std::time::Duration;

use http::{Request, Response};
use kube::{Client, client::Body};
use tokio::time::timeout;

/// How long an answer may take. A page of a listing and a write take far less.
pub const ANSWER: Duration = Duration::from_secs(30);

/// The answer, or the rest of it, did not come.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {}s", .0.as_secs())]
struct Silence(Duration);

/// A client that does what `client` would, or fails after `within`.
pub fn around(client: Client, within: Duration) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            timeout(within, answer(&client, request))
                .await
                .unwrap_or_else(|_| Err(kube::Error::Service(Silence(within).into())))
        }
    });
    Client::new(service, namespace)
}

/// The whole answer. Of a watch only its beginning, which comes at once: the watcher itself
/// notices when an open stream goes silent.
async fn answer(client: &Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
    let query = request.uri().query().unwrap_or_default();
    let watches = query.split('&').any(|pair| pair == "watch=true");
    let response = client.send(request).await?;
    if watches {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = body.collect_bytes().await?;
    Ok(Response::from_parts(head, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use k8s_openapi::api::core::v1::Node;
    use kube::{
        Api,
        api::{ListParams, WatchParams},
    };

    use super::*;

    /// An API server that says 200, and not one word more.
    fn speechless() -> Client {
        let service = tower::service_fn(async |_: Request<Body>| {
            let words = stream::pending::<Result<Vec<u8>, Infallible>>();
            let response = Response::new(axum::body::Body::from_stream(words));
            Ok::<_, Infallible>(response)
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn an_answer_comes_to_an_end_and_a_watch_need_only_begin() {
        let nodes = |within| Api::<Node>::all(around(speechless(), within));
        let listing = nodes(Duration::from_millis(10));
        let error = listing.list(&ListParams::default()).await.unwrap_err();
        assert!(error.to_string().contains("no answer within"), "{error}");
        let watch = nodes(ANSWER).watch(&WatchParams::default(), "7").await;
        assert!(watch.is_ok());
    }
}
