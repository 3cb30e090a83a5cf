//! What the operator promises about objects, on a real API server: [`convergence`],
//! [`crashes`], [`teardown`], [`ownership`], [`openings`], [`rights`],
//! [`limits`], [`workers`], [`drills`], [`volumes`], [`worker_crashes`], [`run_crashes`].
//!
//! The operator runs in the test's own process, by the same function as in production,
//! with the rights of its service account. No node, no container: see `tests::control_plane`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::too_many_lines, reason = "a story is told in its order")]

mod convergence;
mod crashes;
mod drills;
mod in_process;
mod limits;
mod openings;
mod ownership;
mod rights;
mod run_crashes;
mod teardown;
mod tenants;
mod volumes;
mod worker_crashes;
mod workers;
