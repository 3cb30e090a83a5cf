//! Harness.

pub mod cluster;
pub mod rights;
pub mod server;
