//! What the operator promises about objects, on a real API server: [`convergence`],
//! [`crashes`], [`teardown`], [`ownership`], [`rights`].
//!
//! The operator runs in the test's own process, by the same function as in production,
//! with the rights of its service account. No node, no container: see `tests::control_plane`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod convergence;
mod crashes;
mod in_process;
mod ownership;
mod rights;
mod teardown;
mod tenants;
