//! Nothing is written by one who cannot be sure to lead.
//!
//! In: until when the lease holds, from the candidate. Out: a client that sends nothing
//! after that. A process that was stopped and goes on would otherwise finish what it had
//! begun before it looks at the clock. What is under way when the lease ends is dropped, and
//! what of it lies with the kernel is given up soon after (see [`crate::wire`]); no fence on this
//! side can call back what the server already has, so every write says which object it means, too.

use std::{sync::Arc, time::Instant};

use http::{Request, Response};
use kube::{Client, client::Body};
use tokio::{sync::watch, time::timeout};

/// Why a write was not sent.
#[derive(Debug, thiserror::Error)]
#[error("this replica does not hold the lease any more")]
struct Shut;

/// Open until an instant, at first shut. Clones are one fence.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<watch::Sender<Option<Instant>>>);

impl Fence {
    pub(super) fn open_until(&self, end: Instant) {
        self.0.send_replace(Some(end));
    }

    pub(super) fn shut(&self) {
        self.0.send_replace(None);
    }

    /// Whether writes are let out now.
    pub fn is_open(&self) -> bool {
        self.end().is_some_and(|end| Instant::now() < end)
    }

    pub(super) fn end(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Returns once it is shut, or the lease has ended.
    pub(super) async fn closed(&self) {
        let mut said = self.0.subscribe();
        loop {
            let end = *said.borrow_and_update();
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                return;
            };
            // It may be renewed before its end, or shut.
            let _ = timeout(left, said.changed()).await;
        }
    }

    /// A client that sends what `client` would, while the fence is open, and waits no longer than
    /// that for an answer.
    pub fn around(&self, client: Client) -> Client {
        let fence = self.clone();
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, fence) = (client.clone(), fence.clone());
            async move { fence.send(&client, request).await }
        });
        Client::new(service, namespace)
    }

    async fn send(
        &self,
        client: &Client,
        request: Request<Body>,
    ) -> Result<Response<Body>, kube::Error> {
        tokio::select! {
            biased;
            () = self.closed() => Err(kube::Error::Service(Shut.into())),
            answer = client.send(request) => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::{
        apply,
        recording::{Recording, UID},
    };

    #[tokio::test]
    async fn a_write_is_sent_while_the_lease_holds_and_not_after_it() {
        let tenant: crds::Tenant = serde_json::from_value(json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "acme", "uid": UID},
            "spec": {"members": [{"kind": "User", "name": "ada@example.com", "role": "Owner"}]},
        }))
        .unwrap();
        let server = Recording::of(&tenant);
        let fence = Fence::default();
        let client = fence.around(server.context(&tenant).client);
        let write = async || apply::status(&client, &tenant, &json!({}), false).await;

        let never_led = write().await.unwrap_err();
        assert!(
            never_led.to_string().contains("hold the lease"),
            "{never_led}"
        );
        fence.open_until(Instant::now() + Duration::from_hours(1));
        write().await.unwrap();
        assert_eq!(server.take().len(), 1);
        fence.open_until(Instant::now());
        write().await.unwrap_err();
        fence.open_until(Instant::now() + Duration::from_hours(1));
        fence.shut();
        write().await.unwrap_err();
        assert_eq!(server.take(), []);
    }

    #[tokio::test]
    async fn what_is_under_way_is_dropped_when_the_lease_ends_and_not_before() {
        let never =
            |_: Request<Body>| std::future::pending::<Result<Response<Body>, kube::Error>>();
        let server = Client::new(tower::service_fn(never), "default");
        let fence = Fence::default();
        let client = fence.around(server);
        let begun = Instant::now();
        let end = |millis| begun + Duration::from_millis(millis);
        fence.open_until(end(50));
        let request = Request::get("/").body(Body::empty()).unwrap();
        let renewed = async {
            timeout(Duration::from_millis(20), std::future::pending::<()>())
                .await
                .unwrap_err();
            fence.open_until(end(150));
        };
        let (answer, ()) = tokio::join!(client.send(request), renewed);
        assert!(answer.unwrap_err().to_string().contains("hold the lease"));
        assert!(Instant::now() >= end(150), "dropped before its end");
        fence.open_until(begun + Duration::from_hours(1));
        let request = Request::get("/").body(Body::empty()).unwrap();
        let shut = async { fence.shut() };
        let (answer, ()) = tokio::join!(client.send(request), shut);
        answer.unwrap_err();
    }
}
