//! Which finished Executions are kept, and which one goes next. Pure.
//!
//! In: those of a line that have ended, by when and how; what the Integration says of them. Out:
//! the next one to go, or none. One at a time, and few at once over all tenants, so that
//! thousands that end together hold nothing up; what is being removed is not looked at again.

use std::{collections::BTreeSet, time::Duration};

use crds::Integration;
use jiff::Timestamp;

use super::{
    act::Act,
    book::Book,
    line::{self, Key, Line},
    run::Ended,
    turn::View,
    under_way,
};
use crate::world::facts::Uid;

/// Executions that are being removed at once, over all tenants. As few as keep up: each is the
/// API server's work while somebody waits for a start.
const FORGETTING: usize = 4;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// How long.
    pub ttl: Duration,
    /// At most so many of those that went well.
    pub succeeded: Option<usize>,
    /// At most so many of the others.
    pub failed: Option<usize>,
}

impl Default for Keep {
    /// Without an Integration that says how long.
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(1),
            succeeded: None,
            failed: None,
        }
    }
}

impl Keep {
    /// Reads what an Integration says.
    ///
    /// # Errors
    /// Field and problem, for people.
    pub fn of(object: &Integration) -> Result<Self, String> {
        let spec = &object.spec;
        let most = |field: &str, number: Option<i32>| {
            number.map(|number| line::count(field, number)).transpose()
        };
        Ok(Self {
            ttl: line::span("spec.ttl", &spec.ttl, line::MONTH)?,
            succeeded: most("spec.history.succeeded", spec.history.succeeded)?,
            failed: most("spec.history.failed", spec.history.failed)?,
        })
    }
}

/// What is kept of a line's Executions, but for those that are being removed.
#[derive(Debug, Default)]
pub struct Shelf {
    /// By when they ended: those that went well.
    succeeded: BTreeSet<(Timestamp, Uid)>,
    /// And the others.
    failed: BTreeSet<(Timestamp, Uid)>,
}

impl Shelf {
    fn side(&mut self, ended: &Ended) -> &mut BTreeSet<(Timestamp, Uid)> {
        if ended.succeeded {
            &mut self.succeeded
        } else {
            &mut self.failed
        }
    }

    /// Puts one in.
    pub fn insert(&mut self, uid: Uid, ended: &Ended) {
        self.side(ended).insert((ended.at, uid));
    }

    /// Takes one out.
    pub fn remove(&mut self, uid: Uid, ended: &Ended) {
        self.side(ended).remove(&(ended.at, uid));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.succeeded.is_empty() && self.failed.is_empty()
    }

    /// The one to go next: of those that are too many or too old, the oldest.
    pub fn next(&self, keep: Keep, now: Timestamp) -> Option<Uid> {
        let Keep {
            ttl,
            succeeded,
            failed,
        } = keep;
        let sides = [(&self.succeeded, succeeded), (&self.failed, failed)];
        let due = sides.into_iter().filter_map(|(side, most)| {
            let oldest = side.first()?;
            let crowded = most.is_some_and(|most| side.len() > most);
            (crowded || oldest.0 + ttl <= now).then_some(*oldest)
        });
        due.min().map(|(_, uid)| uid)
    }
}

impl Book {
    /// Removes one that has been kept long enough, or is one too many.
    pub(super) fn forget(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        let line = self.lines.get(key);
        let keep = match line.and_then(|line| line.integration.as_ref()) {
            // Whatever else is wrong with the spec; where this is, nothing goes.
            Some(known) => known.keep?,
            None => Keep::default(),
        };
        let uid = self.shelf.get(key)?.next(keep, view.now)?;
        // Of one that a schedule has created, the status has to say so first: else it would be
        // created again, if this process ended now.
        if line.is_some_and(Line::owes_record) {
            return None;
        }
        if self.under_way.forgetting >= FORGETTING {
            self.to_forget.hold(key);
            return None;
        }
        let ended = self.ended.get_mut(&uid)?;
        ended.removing = true;
        self.shelf.get_mut(key)?.remove(uid, ended);
        self.under_way.forgetting += 1;
        Some(Act::Forget {
            key: ended.key(),
            run: uid,
        })
    }

    /// One is gone, or could not be removed: then it is tried again when time has gone by.
    pub(super) fn forgotten(&mut self, uid: Uid, gone: bool) {
        under_way::end(&mut self.under_way.forgetting);
        self.dirty.extend(self.to_forget.next());
        if !gone {
            self.unforgotten.push(uid);
        }
    }

    /// Has those that could not be removed tried again.
    pub(super) fn keep_again(&mut self) {
        for uid in std::mem::take(&mut self.unforgotten) {
            self.put_back(uid);
        }
    }

    /// Nothing is being removed any more.
    pub(super) fn keep_all(&mut self) {
        self.unforgotten.clear();
        let removing = self.ended.iter().filter(|(_, ended)| ended.removing);
        for uid in removing.map(|(uid, _)| *uid).collect::<Vec<_>>() {
            self.put_back(uid);
        }
    }

    fn put_back(&mut self, uid: Uid) {
        let Some(ended) = self.ended.get_mut(&uid) else {
            return;
        };
        ended.removing = false;
        let (key, ended) = (Key::clone(&ended.line), ended.clone());
        self.shelf
            .entry(key.clone())
            .or_default()
            .insert(uid, &ended);
        // Forgotten, perhaps, while this was its last one; and what has no line is not looked at.
        self.line_or_new(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(second: i64, succeeded: bool) -> Ended {
        Ended {
            name: "one".into(),
            line: Key::new("tenant-acme", "hello").into(),
            at: Timestamp::from_second(second).unwrap(),
            succeeded,
            idempotency_key: None,
            removing: false,
        }
    }

    fn uid(number: u8) -> Uid {
        Uid::parse(&format!("00000000-0000-4000-8000-0000000000{number:02x}"))
    }

    /// In which order those go that ended at second 1, 2, …, well or not.
    fn goes(how: &[bool], keep: Keep, now: i64) -> Vec<u8> {
        let mut shelf = Shelf::default();
        let all: Vec<_> = (1..)
            .zip(how)
            .map(|(n, well)| (n, ended(n.into(), *well)))
            .collect();
        for (n, ended) in &all {
            shelf.insert(uid(*n), ended);
        }
        let mut gone = Vec::new();
        while let Some(next) = shelf.next(keep, Timestamp::from_second(now).unwrap()) {
            let (n, ended) = all.iter().find(|(n, _)| uid(*n) == next).unwrap();
            shelf.remove(next, ended);
            gone.push(*n);
        }
        gone
    }

    #[test]
    fn the_oldest_go_that_are_too_many_or_too_old() {
        let (well, ill) = (true, false);
        let how = [well, ill, well, well, ill, well];
        let hour = 3600;
        for (succeeded, failed, now, expected) in [
            (None, None, 10, [].as_slice()),
            (Some(4), Some(2), 10, &[]),
            (Some(3), Some(2), 10, &[1]),
            (Some(1), None, 10, &[1, 3, 4]),
            (None, Some(1), 10, &[2]),
            (Some(2), Some(0), 10, &[1, 2, 3, 5]),
            (Some(0), Some(0), 10, &[1, 2, 3, 4, 5, 6]),
            // Whatever the numbers say, nothing outlives its time.
            (Some(4), Some(2), hour + 3, &[1, 2, 3]),
            (Some(1), None, hour + 2, &[1, 2, 3, 4]),
            (None, None, hour + 6, &[1, 2, 3, 4, 5, 6]),
        ] {
            let keep = Keep {
                succeeded,
                failed,
                ..Keep::default()
            };
            assert_eq!(goes(&how, keep, now), expected, "{keep:?} at {now}");
        }
    }
}
