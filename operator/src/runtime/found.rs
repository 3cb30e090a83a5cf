//! Where sandboxes find the leader: put there when it begins to lead, and put back whenever
//! somebody has taken it away or made it another. Who has a session does not notice; without it
//! no new sandbox would get one, until another one leads.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{apply, error::Error, room::Context};

/// From one repair to the next: somebody who does not stop costs a write each time.
const PACE: Duration = Duration::from_secs(2);

/// An address that sandboxes find.
pub(super) struct Found {
    context: Arc<Context>,
    address: SocketAddr,
    /// The version that was written.
    written: u64,
    /// The version that is seen.
    seen: watch::Receiver<Option<u64>>,
}

impl Found {
    /// Has this address found, and no other.
    ///
    /// # Errors
    /// [`Error::Write`] if the server refuses.
    pub(super) async fn at(context: &Arc<Context>, address: SocketAddr) -> Result<Self, Error> {
        // Before the write, so that nothing after it is missed.
        let seen = context.world.dialled();
        let written = apply::endpoints(&context.client, address).await?;
        Ok(Self {
            context: context.clone(),
            address,
            written,
            seen,
        })
    }

    /// Keeps it so, for ever.
    pub(super) async fn keep(mut self) -> Infallible {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The world outlives this, as the context holds it.
        while self.seen.changed().await.is_ok() {
            // What the watch brings of our own write is no news.
            if *self.seen.borrow_and_update() == Some(self.written) {
                continue;
            }
            pace.tick().await;
            self.seen.mark_unchanged();
            match apply::endpoints(&self.context.client, self.address).await {
                Ok(version) => self.written = version,
                Err(error) => {
                    tracing::warn!(%error, "sandboxes may not find this replica");
                    self.seen.mark_changed();
                }
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use crds::well_known::{DISPATCH, SYSTEM_NAMESPACE};
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde_json::json;

    use super::*;
    use crate::recording::{Recording, UID, Write};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn slice(version: u64) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": DISPATCH, "namespace": SYSTEM_NAMESPACE,
                "resourceVersion": version.to_string()},
            "addressType": "IPv4", "endpoints": [],
        }))
        .unwrap()
    }

    /// The next write.
    async fn next(server: &Recording) -> Write {
        let mut tick = interval(Duration::from_millis(10));
        let write = async {
            loop {
                if let Some(write) = server.take().pop() {
                    return write;
                }
                tick.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, write).await.unwrap()
    }

    /// Time for a write that is not to come.
    async fn nothing(server: &Recording) {
        let mut tick = interval(Duration::from_millis(10));
        for _ in 0..10 {
            tick.tick().await;
        }
        assert_eq!(server.take(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_away_or_changed_is_put_back_and_what_is_as_written_is_not() {
        let tenant = json!({"metadata": {"name": "acme", "uid": UID}, "spec": {"members": []}});
        let tenant = serde_json::from_value(tenant).unwrap();
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let address = "10.0.0.9:9443".parse().unwrap();
        let found = Found::at(&context, address).await.unwrap();
        let (first, written) = (next(&server).await, found.written);
        let told = async {
            nothing(&server).await;
            context.world.see(&slice(written));
            nothing(&server).await;
            // The server of this test counts its writes.
            context.world.lose(&slice(written));
            assert_eq!(next(&server).await, first);
            context.world.see(&slice(written + 1));
            nothing(&server).await;
            context.world.see(&slice(written + 7));
            assert_eq!(next(&server).await, first);
            // It is not there now, and cannot be put there yet.
            server.refuse("endpointslices");
            context.world.lose(&slice(written + 7));
            for _ in 0..3 {
                assert_eq!(next(&server).await, first);
            }
        };
        tokio::select! {
            never = found.keep() => match never {},
            () = told => {}
        }
    }
}
