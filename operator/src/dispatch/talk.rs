//! What sandboxes say → the book. Pure.
//!
//! Whom it believes: a session whose token the API server vouches for, of a pod that the watch
//! has brought; of one that has been given a run, only who knows what its first session was told.

use std::time::Duration;

use contract::dispatch::{Hello, Output, report};
use crds::execution::ExecutionReason;
use jiff::Timestamp;

use super::{
    book::Book,
    orders,
    outcome::Outcome,
    run::{Run, Stage},
    sandbox::{Proof, Seat},
    turn::PROOF_LIMIT,
};
use crate::{probe::judge, session::Session, world::facts::Uid};

/// How long a session of a pod that no watch has brought yet is kept.
const STRANGER: Duration = Duration::from_secs(10);

/// A session that has just come up, not yet answered.
#[derive(Debug)]
pub struct Opening {
    /// The session.
    pub session: Session,
    /// What it said first.
    pub hello: Hello,
    /// It showed what the pod's last Welcome held.
    pub resumed: bool,
    /// What the next one will hold.
    pub resume: Vec<u8>,
}

impl Book {
    /// A sandbox has dialled. Whoever is refused finds its session closed.
    pub fn opened(&mut self, opening: Opening, now: Timestamp) {
        let Opening {
            session,
            hello,
            resumed,
            resume,
        } = &opening;
        let uid = session.peer.uid;
        let Some(sandbox) = self.sandboxes.get_mut(&uid) else {
            self.strangers
                .retain(|_, (_, since)| *since + STRANGER > now);
            self.strangers.insert(uid, (opening, now));
            return;
        };
        let key = sandbox.pod.line.clone();
        let given = hello
            .run
            .as_ref()
            .map(|run| (Uid::parse(&run.execution), run.attempt));
        // Whoever runs a command has been welcomed before it was given that: one that cannot
        // show the welcome is the command itself, with the pod's token.
        let used = sandbox.claimed.is_some() || given.is_some() || sandbox.welcomed;
        let at_home = *sandbox.pod.key.namespace == *session.peer.namespace
            && *sandbox.pod.key.name == *session.peer.pod;
        if used && !resumed || !at_home {
            return;
        }
        let run = sandbox.claimed.and_then(|run| self.runs.get(&run));
        let welcome = orders::welcome(resume.clone(), run);
        if session.orders.send(welcome).is_err() {
            return;
        }
        sandbox.given = given.or(sandbox.given);
        sandbox.seat = Some(Seat {
            session: session.id,
            since: now,
            orders: session.orders.clone(),
            given,
            assigned: None,
            canceled: false,
        });
        // One that was there before may have had a session with somebody else.
        if !sandbox.welcomed && sandbox.begun() >= self.led {
            self.silence.came_up(sandbox, now);
        }
        sandbox.welcomed = true;
        sandbox.heard = now;
        self.silence.heard(sandbox, now);
        let pod = sandbox.pod.uid;
        let run = sandbox.claimed.and_then(|run| self.runs.get_mut(&run));
        if let Some(run) = run.filter(|run| run.stage.names(pod)) {
            run.silent_since = None;
        }
        self.touch(&key);
    }

    /// A session is over.
    pub fn closed(&mut self, pod: Uid, session: u64, now: Timestamp) {
        let same = |(opening, _): &(Opening, Timestamp)| opening.session.id == session;
        if self.strangers.get(&pod).is_some_and(same) {
            self.strangers.remove(&pod);
        }
        let Some(sandbox) = self.sandboxes.get_mut(&pod) else {
            return;
        };
        if sandbox
            .seat
            .take_if(|seat| seat.session == session)
            .is_none()
        {
            return;
        }
        sandbox.heard = now;
        let key = sandbox.pod.line.clone();
        let run = sandbox.claimed.and_then(|run| self.runs.get_mut(&run));
        // One that has another sandbox by now hears that one.
        if let Some(run) = run.filter(|run| run.stage.names(pod)) {
            run.silent_since = Some(now);
        }
        self.touch(&key);
    }

    /// A sandbox says something.
    pub fn said(&mut self, pod: Uid, session: u64, said: report::Kind, now: Timestamp) {
        let Some(sandbox) = self.sandboxes.get_mut(&pod) else {
            return;
        };
        if sandbox
            .seat
            .as_ref()
            .is_none_or(|seat| seat.session != session)
        {
            return;
        }
        sandbox.heard = now;
        self.silence.heard(sandbox, now);
        let key = sandbox.pod.line.clone();
        let (run, what) = match said {
            report::Kind::Hello(_) => return,
            report::Kind::Proof(proof) => {
                let at = now - Duration::from_millis(proof.age_ms.into());
                let text = String::from_utf8_lossy(&proof.report).into_owned();
                self.judge(pod, &text, at);
                self.touch(&key);
                return;
            }
            // Nothing is decided by it, so nothing is looked at again.
            report::Kind::Output(piece) => return self.overhear(pod, &piece),
            report::Kind::Started(it) => {
                let age = Duration::from_millis(it.age_ms.into());
                // A supervisor of an earlier release does not say it.
                let allowed =
                    (it.allowed_ms > 0).then(|| Duration::from_millis(it.allowed_ms.into()));
                (it.run, Ok((now - age, allowed)))
            }
            report::Kind::Ended(it) => (it.run, Err(it.report)),
        };
        let Some(run) = run else { return };
        let given = (Uid::parse(&run.execution), run.attempt);
        sandbox.given = Some(given);
        if let Some(seat) = &mut sandbox.seat {
            seat.given = Some(given);
        }
        if let Some(run) = self.run_on(pod, given) {
            match what {
                Ok((since, allowed)) => {
                    run.started.get_or_insert(since);
                    run.allowed = run.allowed.or(allowed);
                }
                Err(report) => {
                    run.started.get_or_insert(now);
                    let outcome = outcome(run, &report);
                    self.conclude(given.0, outcome);
                }
            }
        }
        self.touch(&key);
    }

    /// What the command of a sandbox says.
    fn overhear(&mut self, pod: Uid, piece: &Output) {
        let Some(attempt) = &piece.run else { return };
        let given = (Uid::parse(&attempt.execution), attempt.attempt);
        let Some(run) = self.run_on(pod, given) else {
            return;
        };
        run.output.take(piece);
        let heard = orders::heard(run);
        if let Some(seat) = self.sandboxes.get(&pod).and_then(|one| one.seat.as_ref()) {
            // A session that has just ended is told of by its end.
            let _ = seat.orders.send(heard);
        }
    }

    /// The Execution that this sandbox may speak for.
    fn run_on(&mut self, pod: Uid, (uid, attempt): (Uid, u32)) -> Option<&mut Run> {
        let run = self.runs.get_mut(&uid)?;
        let current = u32::try_from(run.status.attempt) == Ok(attempt);
        (run.stage == Stage::Bound(pod) && current).then_some(run)
    }

    /// What a sandbox saw, held against what it was asked and how it must be confined.
    pub(super) fn judge(&mut self, pod: Uid, text: &str, at: Timestamp) {
        let Some(sandbox) = self.sandboxes.get(&pod) else {
            return;
        };
        let wanted = self.confinement(&sandbox.pod.line);
        let verdict = match (&sandbox.pod.asked, wanted) {
            (Some(asked), Some(confinement)) => {
                let wanted = asked.wanted(confinement);
                let seen = (&self.decoys, at);
                let judged = judge::of_sandbox(text, &asked.request, wanted, seen);
                if judged.void && sandbox.proven(at - PROOF_LIMIT).is_some() {
                    // It says nothing at all: what was proven before stands until its own end.
                    return;
                }
                match judged.outcome {
                    crds::tenant::Outcome::Proven => Proof::Proven {
                        at,
                        passed: judged.checks.len(),
                    },
                    crds::tenant::Outcome::Inconclusive => Proof::Doubtful {
                        fault: judged.fault,
                    },
                    crds::tenant::Outcome::Breached => Proof::Broken {
                        fault: judged.fault,
                    },
                }
            }
            // The watch has not brought its node's address yet, or nobody knows how it must be.
            (None, _) | (_, None) => Proof::Pending,
        };
        let is_doubtful = matches!(verdict, Proof::Doubtful { .. });
        if let Some(sandbox) = self.sandboxes.get_mut(&pod) {
            let seat = sandbox.seat.as_ref();
            if let Some(seat) = seat.filter(|_| is_doubtful && self.decoys.is_newer(at)) {
                // A leader that has just begun, or a decoy that has just changed: who waits need not
                // wait for the clock. A session that has just ended is told of by its end.
                let _ = seat.orders.send(orders::look());
            }
            sandbox.unjudged = (verdict == Proof::Pending).then(|| (text.to_owned(), at));
            sandbox.doubt = match verdict {
                Proof::Doubtful { .. } => Some(sandbox.doubt.unwrap_or(at)),
                Proof::Pending | Proof::Proven { .. } | Proof::Broken { .. } => None,
            };
            sandbox.proof = verdict;
        }
    }
}

/// What became of a run by its sandbox's report. A request to end that came from outside the
/// pod, and not from us, was the node's or somebody's who deleted the pod.
fn outcome(run: &Run, report: &[u8]) -> Outcome {
    let mut outcome = Outcome::of_report(report, !run.output.is_empty());
    if outcome.reason == ExecutionReason::Canceled && !run.told_to_end {
        outcome.reason = ExecutionReason::Evicted;
        "the pod was asked to end: evicted, drained or deleted".clone_into(&mut outcome.message);
    }
    outcome
}
