//! Cloister's operator: what `main.rs` starts, and what tests reach into.
//!
//! The way through: [`world`] (reads) → [`room`] (the driver) → a room such as [`tenant`]
//! → [`apply`] (writes).

pub mod admin;
pub mod apply;
#[cfg(test)]
mod cases;
pub mod cli;
pub mod conditions;
pub mod counts;
pub mod deadline;
pub mod dispatch;
pub mod drill;
pub mod egress;
pub mod error;
#[cfg(test)]
mod gatekeeper;
pub mod lease;
pub mod meta;
pub mod names;
pub mod probe;
#[cfg(test)]
mod recording;
pub mod render;
pub mod report;
pub mod retry;
pub mod room;
pub mod rules;
pub mod runtime;
pub mod session;
pub mod supervised;
pub mod telemetry;
pub mod tenant;
pub mod wire;
pub mod worker;
pub mod world;
