//! Cloister's operator: what `main.rs` starts, and what tests reach into.

pub mod cli;
pub mod render;
pub mod rules;
