//! Executions: who waits gets a sandbox that has proven itself, runs in it once, and ends.
//!
//! Not a reconcile loop: between an Execution that comes and its first instruction there are
//! milliseconds, one write and one message. Instead: [`desk`] hears everything, [`book`] knows
//! it, [`turn`] and [`settle`] decide (pure), [`act`] is what they decide, and the desk does it.
//! What must survive this process is in the objects' status before it has any effect.

mod act;
mod book;
mod contract;
pub mod desk;
mod line;
mod orders;
mod outcome;
mod pod;
mod receipt;
mod run;
mod sandbox;
mod settle;
mod status;
mod tenant;
mod turn;
