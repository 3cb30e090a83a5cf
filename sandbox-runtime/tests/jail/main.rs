//! The built binary runs real commands on this machine's kernel, as process 1 of a PID
//! namespace of its own and as a user without any right.
//!
//! Needs root, to make that namespace and to become that user.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod bundle;
mod confinement;
mod containers;
mod endings;
mod fence;
mod gvisor;
mod harness;
mod operator;
mod outputs;
mod refusals;
mod serve;
mod signals;
mod telling;
mod work;
