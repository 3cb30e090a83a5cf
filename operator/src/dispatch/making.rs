//! How many sandboxes a line should have, and the next one to be made. Pure.
//!
//! In: the [`Book`], the shared cluster, now. Out: the act that posts one pod, or none.

use std::{sync::Arc, time::Duration};

use crds::execution::ExecutionReason;
use jiff::Timestamp;

use super::{
    act::Act,
    book::Book,
    line::{Key, Trouble},
    pod::{self, Mold},
    turn::View,
};
use crate::{probe::targets, supervised::HOST_ADDRESS};

/// Pods being posted at once, over all tenants: refilling must not keep statuses waiting.
const POSTING: usize = 8;
/// How long after a sandbox was given out none is made ahead, and no used one removed: those who
/// start now, perhaps many at once, have the API server and the node to themselves. The next such
/// time does not begin before as long again has gone by, so that a pool is refilled under any load.
const CALM: Duration = Duration::from_millis(250);
/// How long a blocked dial of a sandbox waits for an answer, in milliseconds. An answer inside
/// one cluster takes a few; nothing may start before all of them are over.
const DIAL_TIMEOUT_MS: u32 = 250;

impl Book {
    /// A sandbox is given out.
    pub(super) fn given_out(&mut self, now: Timestamp) {
        if self.calm_from.is_none_or(|at| at + CALM <= now) {
            self.calm_from = Some(now + CALM);
        }
    }

    /// Whether those who start now have the nodes to themselves.
    pub(super) fn is_calm(&self, now: Timestamp) -> bool {
        self.calm_from.is_some_and(|at| at > now)
    }

    /// Whether something waits for that to be over.
    pub fn rests(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Fingerprint of what the sandboxes of a line are made from now; made once.
    pub(super) fn fingerprint(&mut self, key: &Key) -> Option<Arc<str>> {
        if let Some(known) = &self.lines.get(key)?.mold {
            return Some(known.clone());
        }
        let made: Arc<str> = self.mold(key)?.fingerprint().into();
        self.lines.get_mut(key)?.mold = Some(made.clone());
        Some(made)
    }

    /// What the sandboxes of a line are made from now.
    fn mold(&self, key: &Key) -> Option<Mold> {
        let landlord = self.tenants.get(&key.namespace)?;
        let terms = self.lines.get(key)?.terms()?;
        let residency = landlord.residency.as_ref();
        Some(Mold::of(
            &self.workshop,
            terms,
            self.confinement(key)?,
            residency,
            self.policy_in_force(key),
        ))
    }

    /// Sandboxes that a line should have beyond those that run something: as many as wait for one,
    /// and if those are fewer than are kept ready, as many as that. What is made ahead would take
    /// the nodes' time from those who wait.
    pub(super) fn wanted(&self, key: &Key, now: Timestamp) -> usize {
        if self.shut(key).is_some() {
            return 0;
        }
        let Some((line, terms)) = self
            .lines
            .get(key)
            .and_then(|line| Some((line, line.terms()?)))
        else {
            return 0;
        };
        let due = line.waiting.iter().take_while(|(since, _)| *since <= now);
        let room = terms.limit.saturating_sub(self.occupied(line, now));
        let waiting = due.take(room).count();
        waiting.max(line.ready(now))
    }

    /// Sandboxes of the right mold that nobody has: those that may come up in time, and all.
    fn free(&self, key: &Key, mold: &str, view: View<'_>) -> (usize, usize) {
        let Some(line) = self.lines.get(key) else {
            return (0, 0);
        };
        let sandboxes = line.pods.iter().filter_map(|uid| self.sandboxes.get(uid));
        let free = sandboxes.filter(|sandbox| {
            sandbox.is_free() && sandbox.pod.mold == mold && !view.is_lost(sandbox)
        });
        let (mut expected, mut all) = (line.posting, line.posting);
        for sandbox in free {
            all += 1;
            let late = self.silence.is_late(sandbox, view.now);
            expected += usize::from(!late && view.is_up(sandbox));
        }
        (expected, all)
    }

    /// How many pods more may be posted, for who waits or ahead.
    pub(super) fn makeable(&self, ahead: bool) -> usize {
        if ahead && self.under_way.binding > 0 {
            return 0;
        }
        POSTING.saturating_sub(self.under_way.posting)
    }

    /// Makes a sandbox, if one is missing.
    pub(super) fn make(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        let wanted = self.wanted(key, view.now);
        if wanted == 0 {
            return None;
        }
        let fingerprint = self.fingerprint(key)?;
        // One on a node that has fallen silent is not waited for; nor are more than twice as
        // many made for it.
        let (expected, all) = self.free(key, &fingerprint, view);
        if expected >= wanted || all >= 2 * wanted {
            return None;
        }
        if self.lines.get(key)?.setback.holds(view.now) {
            return None;
        }
        // What is made ahead waits for what somebody waits for: both are the API server's work.
        let ahead = self.first_waiting(self.lines.get(key)?, view.now).is_none();
        if self.makeable(ahead) == 0 {
            let held = &mut self.held;
            let queue = if ahead {
                &mut held.make_ahead
            } else {
                &mut held.make
            };
            queue.hold(key);
            return None;
        }
        if ahead && self.is_calm(view.now) {
            self.resting.insert(key.clone());
            return None;
        }
        self.post(key, view)
    }

    /// Has a pod posted for a line, if it is known whom it is to dial.
    fn post(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        let mold = self.mold(key)?;
        let landlord = self.tenants.get(&key.namespace)?;
        let uid = self.lines.get(key)?.integration.as_ref()?.uid;
        let peers = match targets::peers(view.cluster, landlord.owner.uid) {
            Ok(peers) => peers,
            Err(missing) => {
                let message = missing.remedy().to_owned();
                let reason = ExecutionReason::StartDeadlineExceeded;
                let trouble = Trouble { reason, message };
                self.lines.get_mut(key)?.setback.say(trouble);
                return None;
            }
        };
        let mut probe = targets::request_from(
            view.cluster,
            view.probing,
            peers,
            &[HOST_ADDRESS.to_owned()],
        );
        probe.timeout_ms = DIAL_TIMEOUT_MS;
        self.spare_allowed(key, &mut probe, view);
        let tag = format!("{}/{}", view.now.as_nanosecond(), self.made);
        let pod = pod::pod(&pod::Order {
            owner: &landlord.owner,
            line: key,
            uid,
            mold: &mold,
            probe,
            tag: &tag,
            avoid: self.silence.nodes(),
            lost: view.lost.get(&*key.namespace),
        });
        self.made += 1;
        self.under_way.posting += 1;
        self.lines.get_mut(key)?.posting += 1;
        Some(Act::Make {
            line: key.clone(),
            pod: Box::new(pod),
        })
    }
}
