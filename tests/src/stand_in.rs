//! Stand-ins for what a control plane without nodes lacks: scheduler and kubelet ([`node`]), and the
//! sandboxes that these would start. They make up everything that they say. What they say it with is
//! real: pods, tokens, TLS, the protocol.

pub mod node;
mod report;
mod sandbox;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Address that an operator says of itself, of nobody: endpoints may not be on the loopback. The
/// stand-ins are told where it is.
pub const NOBODY: &str = "192.0.2.50";

/// What sandboxes do beside being what they must be. Their commands end well at once, but for these
/// by their first argument: `fail` ends with code 1, `fail-once` at the first attempt alone, `wait`
/// goes on until it is asked to end or its time is up.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Where the operator listens.
    pub operator: SocketAddr,
    /// Integration whose sandboxes find that they can write to their root.
    pub unsound: Option<&'static str>,
    /// Counts their commands.
    pub started: Started,
}

impl Manner {
    /// All are as they must be.
    pub fn sound(operator: SocketAddr) -> Self {
        Self {
            operator,
            unsound: None,
            started: Started::default(),
        }
    }
}

/// How many commands began, by UID of the Execution: the side effect.
#[derive(Clone, Debug, Default)]
pub struct Started(Arc<Mutex<HashMap<String, u32>>>);

impl Started {
    /// Of this one, so far.
    pub fn of(&self, execution: &str) -> u32 {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.get(execution).copied().unwrap_or_default()
    }

    fn count(&self, execution: &str) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.entry(execution.to_owned()).or_default() += 1;
    }
}
