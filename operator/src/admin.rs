//! Health and metrics, on a port of their own.
//!
//! `/healthz` says that the process turns; `/readyz` that it knows the cluster: a replica
//! whose caches are not filled, or no longer kept, could not take over; and that Kubernetes
//! counts Cloister's kinds, before which a tenant could create nothing.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, sync::watch::Receiver};

use crate::{counts::Counts, report::Report, world::World};

/// What the pages show.
#[derive(Clone)]
pub struct Admin {
    /// Metrics.
    pub report: Report,
    /// For what is counted when asked, and for what of it can be seen.
    pub world: Arc<World>,
    /// Whether Cloister's kinds are counted.
    pub counts: Receiver<Counts>,
}

/// Serves for ever.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(address: SocketAddr, admin: Admin) -> io::Result<()> {
    let pages = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin);
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, pages).await
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let missing = admin.world.sight().missing();
    if !missing.is_empty() {
        let why = format!("no sight of {}\n", missing.join(", "));
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    if *admin.counts.borrow() != Counts::Known {
        let why = "Kubernetes does not count Cloister's kinds for quotas yet\n".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    (StatusCode::OK, "ok\n".to_owned())
}

async fn metrics(State(admin): State<Admin>) -> Result<String, StatusCode> {
    let tenants = admin.world.tenants().state();
    admin
        .report
        .metrics(&tenants)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recording::Recording;

    #[tokio::test]
    async fn ready_is_who_sees_everything_and_who_is_not_says_what_is_missing() {
        let tenant = json!({"metadata": {"name": "acme"}, "spec": {"members": []}});
        let tenant = serde_json::from_value(tenant).unwrap();
        let context = Recording::of(&tenant).context(&tenant);
        let (report, world) = (context.report, context.world);
        let (counted, counts) = tokio::sync::watch::channel(Counts::default());
        let admin = Admin {
            report,
            world,
            counts,
        };
        let asked = async || {
            let (code, text) = ready(State(admin.clone())).await;
            (code.as_u16(), text)
        };
        let sight = admin.world.sight();
        sight.expect("Node");
        sight.expect("Pod");
        assert_eq!(asked().await, (503, "no sight of Node, Pod\n".to_owned()));
        sight.clear("Node");
        sight.clear("Pod");
        let (code, why) = asked().await;
        assert!(code == 503 && why.contains("quotas"), "{why}");
        counted.send_replace(Counts::Known);
        assert_eq!(asked().await, (200, "ok\n".to_owned()));
        sight.lose("Pod");
        assert_eq!(asked().await, (503, "no sight of Pod\n".to_owned()));
    }
}
