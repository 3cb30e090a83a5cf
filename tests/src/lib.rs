//! Harness.

pub mod asked;
pub mod cluster;
pub mod control_plane;
pub mod crash;
pub mod live;
pub mod measure;
pub mod rights;
pub mod server;
pub mod stand_in;
