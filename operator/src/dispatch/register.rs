//! Executions → the book: who waits, who has a sandbox, who has ended. Pure.

use crds::{Execution, execution::ExecutionReason};
use jiff::Timestamp;

use super::{
    book::Book,
    line::Key,
    outcome::Outcome,
    run::{self, Ended, Progress, Run, Stage},
    sandbox::Sandbox,
};
use crate::world::facts::Uid;

/// Whether another Execution stands for one.
pub(super) enum Twin {
    /// None does.
    None,
    /// One is being bound: it is known in a moment.
    Undecided,
    /// One has begun.
    Stands(Outcome),
}

impl Book {
    /// An Execution, as it is now.
    pub fn execution(&mut self, object: &Execution, now: Timestamp) {
        let uid = Uid::of(&object.metadata);
        if self.ended.contains_key(&uid) {
            return;
        }
        if !self.runs.contains_key(&uid) {
            let line = self.line_or_new(&run::line_of(object));
            line.arrivals.note(run::created(object, now), now);
        }
        match run::of(object, now) {
            Progress::Over(ended) => self.over(uid, ended),
            Progress::Open(next) => self.open(*next, now),
        }
    }

    fn over(&mut self, uid: Uid, mut ended: Ended) {
        self.delist(uid);
        self.runs.remove(&uid);
        let line = self.line_or_new(&ended.line);
        if let Some(key) = &ended.idempotency_key {
            line.keyed.entry(key.clone()).or_insert(uid);
        }
        ended.line = self.named.share(ended.line);
        let kept = self.shelf.entry(Key::clone(&ended.line)).or_default();
        kept.insert(uid, &ended);
        self.touch(&ended.line);
        self.ended.insert(uid, ended);
    }

    fn open(&mut self, mut next: Run, now: Timestamp) {
        let uid = next.uid;
        let mut unheard = None;
        if let Some(held) = self.runs.get_mut(&uid) {
            if held.version >= next.version {
                return;
            }
            next.seen = held.seen;
            next.writing = held.writing;
            next.not_before = held.not_before;
            let again = matches!(held.stage, Stage::Bound(_))
                && (next.stage == Stage::Waiting || next.status.attempt != held.status.attempt);
            // What it waited for in vain, it had not to wait for any more.
            let bound = held.stage == Stage::Waiting && matches!(next.stage, Stage::Bound(_));
            if bound {
                unheard = next.stage.pod();
            }
            if !again {
                next.started = held.started.or(next.started);
                next.said = held.said;
                next.output = std::mem::take(&mut held.output);
                next.outcome = held.outcome.clone().filter(|_| !bound);
                next.allowed = held.allowed;
                next.terms = held.terms.take();
                next.told_to_end = held.told_to_end;
                next.replaced = held.replaced;
                next.cancel |= held.replaced;
            }
            let (stage, doubtful) = (held.stage, held.doubtful);
            match (stage, next.stage) {
                // Nothing of it was written, and at this version nothing can be any more.
                (Stage::Binding(pod), Stage::Waiting) if doubtful => self.release(pod, uid),
                (Stage::Binding(pod), Stage::Waiting) => next.stage = Stage::Binding(pod),
                (Stage::Binding(pod), next) if !next.names(pod) => self.release(pod, uid),
                _ => {}
            }
        }
        self.hear_again(uid, unheard);
        next.silent_since = self.silent_since(uid, next.stage, now);
        if next.outcome.is_none() {
            next.outcome = fault_of_input(next.input.as_deref());
        }
        self.delist(uid);
        self.runs.insert(uid, next);
        self.enlist(uid);
    }

    /// What a sandbox has said of its run so far was said to nobody. In its next session it says all of it.
    fn hear_again(&mut self, run: Uid, pod: Option<Uid>) {
        let sandbox = pod.and_then(|pod| self.sandboxes.get_mut(&pod));
        let of_run = |sandbox: &&mut Sandbox| sandbox.given.is_some_and(|(given, _)| given == run);
        if let Some(sandbox) = sandbox.filter(of_run) {
            sandbox.seat = None;
        }
    }

    /// Since when a run at this stage has been without word of its sandbox: since it is known to
    /// be, or from now on. Nobody is who has none, or one with a session.
    pub(super) fn silent_since(&self, uid: Uid, stage: Stage, now: Timestamp) -> Option<Timestamp> {
        let pod = stage.pod()?;
        let sandbox = self.sandboxes.get(&pod);
        let known = self.runs.get(&uid).filter(|run| run.stage.names(pod));
        let since = known.and_then(|run| run.silent_since);
        let heard = sandbox.is_some_and(|sandbox| sandbox.seat.is_some());
        (!heard).then(|| since.unwrap_or(now))
    }

    /// This Execution does not have this sandbox: nothing of it has been sent there.
    pub(super) fn release(&mut self, pod: Uid, run: Uid) {
        if let Some(sandbox) = self.sandboxes.get_mut(&pod) {
            sandbox.claimed.take_if(|holder| *holder == run);
        }
    }

    /// Takes an Execution out of its line.
    pub(super) fn delist(&mut self, uid: Uid) {
        let Some(run) = self.runs.get(&uid) else {
            return;
        };
        let (key, since) = (run.line.clone(), run.since);
        let keyed = run.idempotency_key.clone();
        if let Some(line) = self.lines.get_mut(&key) {
            if let Some(keyed) = keyed.filter(|keyed| line.keyed.get(keyed) == Some(&uid)) {
                line.keyed.remove(&keyed);
            }
            line.waiting.remove(&(since, uid));
            line.fresh.remove(&uid);
            line.live.remove(&uid);
            line.closing.remove(&uid);
        }
    }

    /// Puts it in, where it stands now.
    pub(super) fn enlist(&mut self, uid: Uid) {
        let Some(run) = self.runs.get(&uid) else {
            return;
        };
        let (key, since, stage) = (run.line.clone(), run.since, run.stage);
        let (keyed, closes) = (run.idempotency_key.clone(), run.outcome.is_some());
        let begun = run.status.attempt > 0;
        let claimed = run.status.times.claimed;
        let line = self.line_or_new(&key);
        if closes {
            line.closing.insert(uid);
        }
        match stage {
            Stage::Waiting => {
                // Thousands that only have to be closed are in nobody's way.
                if !closes {
                    line.waiting.insert((since, uid));
                }
                line.fresh.insert(uid);
                // One that is to be tried again has begun.
                if let Some(keyed) = keyed.filter(|_| begun) {
                    line.keyed.entry(keyed).or_insert(uid);
                }
            }
            Stage::Binding(pod) | Stage::Bound(pod) => {
                line.live.insert(uid);
                if let Some(keyed) = keyed {
                    line.keyed.entry(keyed).or_insert(uid);
                }
                if let Some(sandbox) = self.sandboxes.get_mut(&pod) {
                    let other = sandbox.claimed.and_then(|other| self.runs.get(&other));
                    // Who had it first keeps it: a leader that had not seen that gave it away again.
                    let taken = other.is_some_and(|other| {
                        other.stage == Stage::Bound(pod) && other.status.times.claimed < claimed
                    });
                    if !taken {
                        sandbox.claimed = Some(uid);
                    }
                }
            }
        }
        self.touch(&key);
    }

    /// Whether another Execution with the same idempotency key stands for this one.
    pub(super) fn twin(&self, key: &Key, uid: Uid) -> Twin {
        let keyed = self.runs.get(&uid).map(|run| run.idempotency_key.as_ref());
        let keyed = keyed.flatten().zip(self.lines.get(key));
        let other = keyed.and_then(|(keyed, line)| line.keyed.get(keyed));
        let Some(other) = other.filter(|other| **other != uid) else {
            return Twin::None;
        };
        let name = match (self.runs.get(other), self.ended.get(other)) {
            // One that comes to nothing stands for nothing.
            (Some(run), _) if matches!(run.stage, Stage::Binding(_)) => return Twin::Undecided,
            (Some(run), _) => &*run.key.name,
            (None, Some(ended)) => &ended.name,
            (None, None) => return Twin::None,
        };
        let message =
            format!("Execution {name} has the same spec.idempotencyKey and stands for it");
        Twin::Stands(Outcome::new(ExecutionReason::Duplicate, message))
    }

    /// It is known what became of an Execution. What was known first, stands; but one that was
    /// taken for lost, and speaks before that is written, was not.
    pub(super) fn conclude(&mut self, uid: Uid, mut outcome: Outcome) {
        let Some(run) = self.runs.get_mut(&uid) else {
            return;
        };
        let line = self.lines.get(&run.line);
        let known = line.and_then(|line| line.integration.as_ref());
        outcome.explain(
            run.replaced,
            known.is_none_or(|known| known.deleting),
            &run.line.name,
        );
        let lost = |outcome: &Outcome| outcome.reason == ExecutionReason::NodeLost;
        if run.outcome.as_ref().is_some_and(lost) && !run.writing {
            run.outcome = Some(outcome);
        } else {
            run.outcome.get_or_insert(outcome);
        }
        let (key, since) = (run.line.clone(), run.since);
        let line = self.line_or_new(&key);
        line.waiting.remove(&(since, uid));
        line.closing.insert(uid);
        self.touch(&key);
    }

    /// An Execution that is gone. Its sandbox, if it has one, is nobody's any more.
    pub fn execution_gone(&mut self, uid: Uid) {
        self.delist(uid);
        if let Some(run) = self.runs.remove(&uid) {
            self.touch(&run.line);
        }
        let Some(ended) = self.ended.remove(&uid) else {
            return;
        };
        if let Some(shelf) = self.shelf.get_mut(&ended.line) {
            shelf.remove(uid, &ended);
        }
        let line = self.line_or_new(&ended.line);
        if let Some(keyed) = &ended.idempotency_key
            && line.keyed.get(keyed) == Some(&uid)
        {
            line.keyed.remove(keyed);
        }
        self.touch(&ended.line);
    }
}

/// An input that is not JSON runs nothing.
fn fault_of_input(input: Option<&str>) -> Option<Outcome> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(input?).err()?;
    let message = format!("spec.input: is not JSON: {error}; create another Execution");
    Some(Outcome::new(ExecutionReason::Rejected, message))
}
