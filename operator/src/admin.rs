//! Health and metrics, on a port of their own.
//!
//! `/healthz` says that the process turns; `/readyz` that it knows the cluster: a replica
//! whose caches are not filled could not take over.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::{report::Report, world::World};

/// Counts down to ready.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicUsize>);

impl Readiness {
    /// Ready after so many calls of [`Readiness::one_more`].
    pub fn after(count: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(count)))
    }

    /// One of the things waited for is there.
    pub fn one_more(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all are.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// What the pages show.
#[derive(Clone)]
pub struct Admin {
    /// Caches filled?
    pub readiness: Readiness,
    /// Metrics.
    pub report: Report,
    /// For what is counted when asked.
    pub world: Arc<World>,
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

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.readiness.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "caches are being filled\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> Result<String, StatusCode> {
    admin.report.count_tenants(&admin.world.tenants().state());
    admin
        .report
        .metrics()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
