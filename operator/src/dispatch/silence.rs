//! Nodes of which nothing is heard, before the API server says so. Pure.
//!
//! A node that has lost its network, its power or its kubelet is taken for well for most of a
//! minute (the grace period of the node controller is 40 s), and pods are still placed there. The
//! dispatcher hears of every node every few seconds, by what its sandboxes say: one that says
//! nothing while it should is not waited for, and the next sandboxes are to be placed elsewhere.
//! That is a wish, not a bar: where there is no other node, this one is used.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::sandbox::Sandbox;

/// From its creation, or from when its image was there, a sandbox on a node that is well has
/// dialled by then. Where others took longer, twice as long as they did: on nodes that are full,
/// another one for each would make that worse.
const COMING_UP: Duration = Duration::from_secs(10);
/// The same at the most, before the API server says itself that a node is lost.
const FULL: Duration = Duration::from_secs(35);
/// Of how long the slowest of the others took, so much is forgotten with each that is faster.
const FORGOTTEN: u32 = 8;
/// A session that is lost is opened again by then: the sandbox dials within a second, whoever
/// leads, and a new leader is there within ten.
const DIALLING: Duration = Duration::from_secs(15);

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Silence {
    /// When a sandbox of this node was last heard.
    signs: HashMap<Arc<str>, Timestamp>,
    /// Those that are silent now.
    nodes: BTreeSet<Arc<str>>,
    /// How long those that came up last took, at the most.
    slowest: Duration,
}

impl Silence {
    /// A sandbox has dialled for the first time. What held it up as far as is known, such as its image on
    /// its way, or somebody who removes it, says nothing of how long others take.
    pub fn came_up(&mut self, sandbox: &Sandbox, now: Timestamp) {
        if sandbox.pod.is_held_up() || sandbox.pod.deleting || sandbox.removing {
            return;
        }
        // The clocks of two machines.
        let took = Duration::try_from(now.duration_since(sandbox.begun())).unwrap_or_default();
        let before = self.slowest / FORGOTTEN * (FORGOTTEN - 1);
        self.slowest = took.min(FULL / 2).max(before);
    }

    /// A sandbox has said something.
    pub fn heard(&mut self, sandbox: &Sandbox, now: Timestamp) {
        let Some(node) = &sandbox.pod.node else {
            return;
        };
        self.nodes.remove(node);
        match self.signs.get_mut(node) {
            Some(at) => *at = now,
            None => drop(self.signs.insert(node.clone(), now)),
        }
    }

    /// Looks at all of them anew. Whoever does not lead hears nobody.
    pub fn look<'a>(&mut self, sandboxes: impl Iterator<Item = &'a Sandbox>, now: Timestamp) {
        let expected = |sandbox: &&Sandbox| !sandbox.pod.fetching;
        let silent = sandboxes.filter(expected);
        let silent = silent.filter(|sandbox| self.is_late(sandbox, now));
        let nodes = silent.filter_map(|sandbox| sandbox.pod.node.clone());
        self.nodes = nodes.collect();
    }

    /// From now on this process leads: nobody has been heard of yet.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Nodes that are silent.
    pub const fn nodes(&self) -> &BTreeSet<Arc<str>> {
        &self.nodes
    }

    /// Whether a sandbox should have been heard by now, and its node has given no sign of life
    /// since it was to come up, or is silent for another one's sake. One that has no node is nobody's
    /// fault, and one that cannot start says why.
    pub fn is_late(&self, sandbox: &Sandbox, now: Timestamp) -> bool {
        let Some(node) = &sandbox.pod.node else {
            return false;
        };
        let pod = &sandbox.pod;
        if sandbox.seat.is_some() || pod.end.is_some() || pod.trouble.is_some() || pod.deleting {
            return false;
        }
        let is_silent = self.nodes.contains(node);
        // Its node has taken it up, and says nothing more until the image is there.
        if pod.fetching {
            return is_silent;
        }
        let (since, limit) = if sandbox.welcomed {
            (sandbox.heard, DIALLING)
        } else {
            // A new leader has had nobody's word before it led.
            let since = sandbox.begun().max(sandbox.heard);
            (since, (2 * self.slowest).clamp(COMING_UP, FULL))
        };
        let no_sign = || self.signs.get(node).is_none_or(|at| *at <= since);
        since + limit < now && (is_silent || no_sign())
    }
}
