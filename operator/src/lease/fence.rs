//! Nothing is written by one who cannot be sure to lead.
//!
//! In: until when the lease holds, from the candidate. Out: a client that sends nothing
//! after that. A process that was stopped and goes on would otherwise finish what it had
//! begun before it looks at the clock. What is under way when the lease ends is dropped
//! with the passes; no fence on this side can call back what the server already has, so
//! every write says which object it means, too.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use http::{Request, Response};
use kube::{Client, client::Body};

/// Why a write was not sent.
#[derive(Debug, thiserror::Error)]
#[error("this replica does not hold the lease any more")]
struct Shut;

/// Open until an instant, at first shut. Clones are one fence.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

impl Fence {
    pub(super) fn open_until(&self, end: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    pub(super) fn shut(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether writes are let out now.
    pub fn is_open(&self) -> bool {
        self.end().is_some_and(|end| Instant::now() < end)
    }

    pub(super) fn end(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that sends what `client` would, while the fence is open.
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
        if !self.is_open() {
            return Err(kube::Error::Service(Shut.into()));
        }
        client.send(request).await
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
}
