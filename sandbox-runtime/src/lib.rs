//! What runs inside Cloister's pods, as one static binary.
//!
//! [`cli`] turns what was typed into a [`cli::Command`]; [`probe`] looks at the network and
//! at its own process and reports; [`canary`] is the peer that probes look for. The probe
//! states facts and judges nothing: the operator compares them with what has to be.
//!
//! [`policy`] is the list of system calls that a user's command is refused.

pub mod canary;
pub mod cli;
pub mod greeting;
pub mod policy;
pub mod probe;
