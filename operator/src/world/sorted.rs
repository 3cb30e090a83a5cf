//! A map kept as a sorted vector, for what is few and of which there are many.
//!
//! In: keys and values. Out: what a `BTreeMap` would say, in hardly more memory than they need
//! themselves: the smallest node of a `BTreeMap` has room for eleven, and stays when its last one goes.
//! Ten thousand tenants have six such maps each.

use std::borrow::Borrow;

/// The map. Looked up in O(log n), changed in O(n). The first one that comes makes room for `FIRST`: what
/// grows one by one in ten thousand maps leaves holes behind that are too small for the next size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted<K, V, const FIRST: usize = 1>(Vec<(K, V)>);

impl<K, V, const FIRST: usize> Default for Sorted<K, V, FIRST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V, const FIRST: usize> Sorted<K, V, FIRST> {
    /// Where the key is, or where it would be.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(held, _)| held.borrow().cmp(key))
    }

    /// What is held under this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// Whether anything is held under this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// What is held under this key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Puts a value under a key. Gives back what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => {
                let held = self.0.get_mut(place)?;
                Some(std::mem::replace(&mut held.1, value))
            }
            Err(place) => {
                // By an eighth, where a vector would double.
                if self.0.len() == self.0.capacity() {
                    let more = if self.0.is_empty() {
                        FIRST
                    } else {
                        self.0.len() / 8 + 1
                    };
                    self.0.reserve_exact(more);
                }
                self.0.insert(place, (key, value));
                None
            }
        }
    }

    /// Takes the value under a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        let (_, value) = self.0.remove(place);
        self.give_back();
        Some(value)
    }

    /// Drops everything for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
        self.give_back();
    }

    /// Gives memory back once less than half of it is used.
    fn give_back(&mut self) {
        if self.0.len() < self.0.capacity() / 2 || self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, by key.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.0.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_says_what_a_tree_would() {
        let (mut sorted, mut tree) = (Sorted::<_, _>::default(), BTreeMap::new());
        let mut number = 1_u32;
        for step in 0..2000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = number >> 26;
            match number >> 8 & 7 {
                0..4 => assert_eq!(sorted.insert(key, step), tree.insert(key, step)),
                4..7 => assert_eq!(sorted.remove(&key), tree.remove(&key)),
                _ => {
                    sorted.retain(|key, _| key % 7 != 0);
                    tree.retain(|key, _| key % 7 != 0);
                }
            }
            assert_eq!(sorted.get(&key), tree.get(&key));
            assert_eq!(sorted.get_mut(&7), tree.get_mut(&7));
            assert!(sorted.iter().eq(&tree));
            assert!(sorted.keys().eq(tree.keys()) && sorted.values().eq(tree.values()));
            assert_eq!(
                (sorted.len(), sorted.is_empty()),
                (tree.len(), tree.is_empty())
            );
        }
        assert!(!tree.is_empty());
    }

    #[test]
    fn it_holds_little_more_than_is_in_it() {
        let mut sorted = Sorted::<_, _, 16>::default();
        assert_eq!(sorted.0.capacity(), 0);
        for number in 0..16 {
            sorted.insert(number, 0_u8);
            assert_eq!(sorted.0.capacity(), 16);
        }
        let mut sorted = Sorted::<_, _>::default();
        for number in 0..14 {
            sorted.insert(number, 0_u8);
        }
        assert_eq!(sorted.0.capacity(), 14);
        for number in 0..14 {
            sorted.remove(&number);
            assert!(sorted.0.capacity() <= 2 * sorted.len().max(7));
        }
        assert_eq!(sorted.0.capacity(), 0);
    }
}
