//! Lines that wait until one write fewer is under way. Pure.
//!
//! In: lines that had to wait. Out: one line for each write that may begin, so that thousands
//! that wait cost no more than one does. Tenants come one after the other, whatever each has.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use super::line::Key;

/// More than any name of an object, which is ASCII.
const LAST_NAME: &str = "\u{10ffff}";

/// The lines.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeSet<Key>,
    /// The namespace of who came last.
    last: Option<Arc<str>>,
}

/// Lines for which too many writes are under way, by what they would do.
#[derive(Debug, Default)]
pub struct Held {
    /// Give an Execution its sandbox.
    pub bind: Queue,
    /// Make a sandbox for who waits.
    pub make: Queue,
    /// Make one ahead.
    pub make_ahead: Queue,
    /// Remove one.
    pub remove: Queue,
}

impl Queue {
    /// So many, or all.
    pub fn take(&mut self, count: usize) -> impl Iterator<Item = Key> {
        std::iter::from_fn(|| self.next()).take(count)
    }

    /// One has to wait. Once is enough.
    pub fn hold(&mut self, key: &Key) {
        if !self.waiting.contains(key) {
            self.waiting.insert(key.clone());
        }
    }

    /// The next one: of the first tenant behind the last one that has any.
    pub fn next(&mut self) -> Option<Key> {
        let behind = self.last.as_deref().map(|last| Key::new(last, LAST_NAME));
        let behind = behind.and_then(|last| self.waiting.range((Excluded(last), Unbounded)).next());
        let key = behind.or_else(|| self.waiting.first())?.clone();
        self.waiting.remove(&key);
        self.last = Some(key.namespace.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_come_one_after_the_other_and_each_line_once() {
        let mut queue = Queue::default();
        for (namespace, name) in [
            ("b", "x"),
            ("a", "x"),
            ("a", "y"),
            ("a", "z"),
            ("c", "x"),
            ("a", "x"),
            ("c", "y"),
        ] {
            queue.hold(&Key::new(namespace, name));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.next())
            .map(|key| format!("{}{}", key.namespace, key.name))
            .collect();
        assert_eq!(order, ["ax", "bx", "cx", "ay", "cy", "az"]);
        queue.hold(&Key::new("a", "x"));
        assert_eq!(queue.next(), Some(Key::new("a", "x")));
        assert_eq!(queue.next(), None);
    }
}
