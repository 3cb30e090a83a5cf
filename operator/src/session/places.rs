//! Places that are given out a few to each: so that no one of many takes all.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// So many places for each key. Clones are the same places.
#[derive(Clone, Debug)]
pub struct Places<K> {
    each: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// `each` places for every key.
    pub fn new(each: usize) -> Self {
        let taken = Arc::default();
        Self { each, taken }
    }

    /// A place for this key, if there is one left.
    pub fn take(&self, key: K) -> Option<Place<K>> {
        self.take_of(self.each, key)
    }

    /// The same, of this many at most.
    pub fn take_of(&self, most: usize, key: K) -> Option<Place<K>> {
        let mut held = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(key.clone()).or_default();
        // With no place at all there is nothing to be dropped that would forget the key.
        if *count >= most.min(self.each) {
            if *count == 0 {
                held.remove(&key);
            }
            return None;
        }
        *count += 1;
        let taken = self.taken.clone();
        Some(Place { key, taken })
    }

    /// How many of this key are taken.
    pub fn taken(&self, key: &K) -> usize {
        let held = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(key).copied().unwrap_or_default()
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_their_own_places_and_one_that_is_left_is_free() {
        let places = Places::new(2);
        let first = places.take("a");
        let second = places.take("a");
        assert!(first.is_some() && second.is_some());
        assert!(places.take("a").is_none());
        let other = places.take("b");
        assert!(other.is_some());
        drop(first);
        assert!(places.take("a").is_some());
        drop((second, other));
        assert!(places.taken.lock().unwrap().is_empty(), "forgets who left");
    }
}
