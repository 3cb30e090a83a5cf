//! Which sandboxes go, and what that says of the next ones. Pure.

use std::time::Duration;

use crds::execution::ExecutionReason;
use jiff::Timestamp;

use super::{
    act::Act,
    book::Book,
    line::{Key, Trouble},
    outcome::Outcome,
    run::Stage,
    sandbox::{Proof, Sandbox},
    settle::patience,
    turn::{PROOF_LIMIT, View},
};
use crate::world::facts::Uid;

/// How long a sandbox that nobody has may be without a session.
const UNHEARD: Duration = Duration::from_mins(1);
/// Removals under way at once, over all tenants: a new release outdates every sandbox there is.
pub(super) const REMOVING: usize = 16;
/// The longest pause between two sandboxes that do not come about.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Book {
    /// Removes every sandbox that is used, broken, outdated, unheard of or too many, or that stands
    /// ready in a zone that a Drill takes.
    pub(super) fn sweep_pods(&mut self, key: &Key, view: View<'_>, acts: &mut Vec<Act>) {
        if self.lines.get(key).is_none_or(|line| line.pods.is_empty()) {
            return;
        }
        let mold = self.fingerprint(key);
        let mut spare = self.wanted(key, view.now);
        // Proof of the tenant is lost and found again in seconds; its sandboxes go on proving
        // themselves meanwhile, and none is given anything.
        let doubted = self
            .shut(key)
            .is_some_and(|shut| shut.reason == ExecutionReason::IsolationUnverified);
        // What has been used goes when those who start just now have begun, unless its room in the
        // tenant's quota is waited for.
        let waits = |line| self.first_waiting(line, view.now).is_some();
        let rests = self.is_calm(view.now) || self.resting.contains(key);
        let rests = rests && !self.lines.get(key).is_some_and(waits);
        let mut sandboxes = self.runs_of(key, |line| line.pods.iter().copied().collect());
        // Where there are more than are wanted, those that are not heard go.
        sandboxes.sort_by_cached_key(|uid| {
            let sandbox = self.sandboxes.get(uid);
            sandbox.is_some_and(|sandbox| self.silence.is_late(sandbox, view.now))
        });
        for uid in sandboxes {
            let Some(sandbox) = self.sandboxes.get(&uid) else {
                continue;
            };
            let kept = sandbox.kept.is_some_and(|(until, _)| until > view.now);
            let goes = sandbox.removing || sandbox.pod.deleting && sandbox.pod.end.is_none();
            if kept || goes {
                continue;
            }
            if rests
                && sandbox
                    .claimed
                    .is_some_and(|run| self.ended.contains_key(&run))
            {
                self.resting.insert(key.clone());
                continue;
            }
            let free = sandbox.is_free();
            let due = self.is_due(sandbox, mold.as_deref(), view) || free && view.is_lost(sandbox);
            // While its node is not heard, one is neither of use nor in the way.
            let up = view.is_up(sandbox);
            // One that has not shown itself yet may turn out to be of no use.
            let spared = spare > 0 || doubted || sandbox.proof == Proof::Pending || !up;
            let (broken, name) = (trouble_of(sandbox, free), sandbox.pod.key.clone());
            if due || broken.is_some() || free && !spared {
                if self.under_way.sweeping >= REMOVING {
                    self.held.remove.hold(key);
                    return;
                }
                if let Some(trouble) = broken {
                    self.none_came(key, trouble, view.now);
                }
                let grace = self.remove(uid);
                acts.push(Act::Remove {
                    key: name,
                    pod: uid,
                    grace,
                });
            } else if free {
                spare = spare.saturating_sub(usize::from(up));
                self.note_trouble(key, uid, view.now);
            }
        }
    }

    /// Marks a sandbox as going; gives the seconds that it has. One that may be at work is there
    /// until its node says that it is gone.
    fn remove(&mut self, uid: Uid) -> u32 {
        let Some(sandbox) = self.sandboxes.get_mut(&uid) else {
            return 0;
        };
        sandbox.removing = true;
        self.under_way.sweeping += 1;
        self.sandboxes
            .get(&uid)
            .map_or(0, |one| u32::from(self.is_adrift(one)))
    }

    /// Whether a sandbox may be at work for an Execution that is not there any more. It is not known
    /// of one that has not been heard since this process leads, nor of one that it has put away.
    fn is_adrift(&self, sandbox: &Sandbox) -> bool {
        if sandbox.pod.end.is_some() {
            return false;
        }
        let given = sandbox.given.map(|(run, _)| run);
        if let Some(run) = sandbox.claimed.or(given) {
            return !self.runs.contains_key(&run) && !self.ended.contains_key(&run);
        }
        let put_away = sandbox.removing && sandbox.pod.deleting;
        sandbox.seat.is_none() && (put_away || self.is_unheard(sandbox))
    }

    /// Whether nobody knows yet what a sandbox does that was there before this process led.
    fn is_unheard(&self, sandbox: &Sandbox) -> bool {
        sandbox.seat.is_none() && sandbox.heard <= self.led
    }

    /// The same of one that has been given a run, goes, or of which nothing is known yet, for as long as it
    /// counts: where nothing is heard of it, as long as of one whose Execution is there. That it goes is not
    /// asked of who was given a run: its removal may have to wait for others, or have failed.
    pub(super) fn lingers(&self, sandbox: &Sandbox, now: Timestamp) -> bool {
        let patience = patience(sandbox.is_fenced());
        let counts = sandbox.seat.is_some() || sandbox.heard + patience >= now;
        let goes = sandbox.removing || sandbox.pod.deleting || self.is_unheard(sandbox);
        let used = sandbox.claimed.is_some() || sandbox.given.is_some();
        (goes || used) && counts && self.is_adrift(sandbox)
    }

    /// Whether a sandbox has an attempt that has not begun, as far as is known: a predecessor has begun it,
    /// and the watch has not brought that yet.
    pub(super) fn is_ahead(&self, sandbox: &Sandbox) -> bool {
        let run = sandbox.given.and_then(|(run, attempt)| {
            let run = self.runs.get(&run)?;
            Some((run, i64::from(attempt)))
        });
        sandbox.pod.end.is_none()
            && run.is_some_and(|(run, attempt)| {
                run.stage == Stage::Waiting && attempt > i64::from(run.status.attempt)
            })
    }

    /// Whether a sandbox has to go, broken ones aside.
    fn is_due(&self, sandbox: &Sandbox, mold: Option<&str>, view: View<'_>) -> bool {
        let (pod, now) = (&sandbox.pod, view.now);
        if let Some(claimed) = sandbox.claimed {
            let stage = self.runs.get(&claimed).map(|run| run.stage);
            return stage != Some(Stage::Bound(pod.uid)) && stage != Some(Stage::Binding(pod.uid));
        }
        // Its status is about to say that this is its sandbox.
        if self.is_ahead(sandbox) {
            return false;
        }
        let given = sandbox.given;
        let given = given.is_some_and(|(run, _)| !self.runs.contains_key(&run));
        let heard = sandbox.heard.max(sandbox.begun());
        let unheard = sandbox.seat.is_none() && heard + UNHEARD < now;
        // However long an image takes, taking the pod away would have its node begin anew.
        let fetching = pod.fetching && view.is_up(sandbox);
        let started = pod.trouble.is_none() && pod.node.is_some() && !fetching;
        let stale = match sandbox.proof {
            Proof::Proven { at, .. } => at + PROOF_LIMIT * 2 < now,
            Proof::Doubtful { .. } => sandbox.doubt.is_some_and(|at| at + PROOF_LIMIT * 2 < now),
            Proof::Pending => sandbox.seat.is_some() && sandbox.begun() + PROOF_LIMIT * 2 < now,
            Proof::Broken { .. } => false,
        };
        let known = self
            .lines
            .get(&pod.line)
            .and_then(|line| line.integration.as_ref());
        let orphan = known.map(|known| known.uid) != pod.owner;
        // What it proved last still counts; it will not prove itself again.
        let blind = sandbox.proven(now - PROOF_LIMIT).is_none()
            && pod
                .asked
                .as_ref()
                .is_some_and(|asked| self.decoys.has_left(&asked.request));
        given
            || pod.end.is_some()
            || orphan
            || stale
            || blind
            || unheard && started
            || mold != Some(&pod.mold)
    }

    /// A sandbox came to nothing: the next one waits, longer each time, and who waits longest
    /// ends with the reason, if it is about the sandbox itself.
    fn none_came(&mut self, key: &Key, trouble: Trouble, now: Timestamp) {
        if trouble.reason == ExecutionReason::SandboxUnproven {
            // Those of one moment are broken by the same: only the first ends anybody.
            let line = self.lines.get(key);
            let line = line.filter(|line| !line.setback.waits(now));
            let first = line
                .and_then(|line| line.waiting.first())
                .map(|(_, uid)| *uid);
            if let Some(uid) = first {
                self.conclude(uid, Outcome::new(trouble.reason, trouble.message.clone()));
            }
        }
        if let Some(line) = self.lines.get_mut(key) {
            line.setback.wait(trouble, LONGEST_PAUSE, now);
        }
    }

    /// What keeps a sandbox from starting is what who waits for it waits for; one that has
    /// proven itself has shown that nothing does.
    fn note_trouble(&mut self, key: &Key, pod: Uid, now: Timestamp) {
        let Some(sandbox) = self.sandboxes.get(&pod) else {
            return;
        };
        let proven = sandbox.ready(now - PROOF_LIMIT).is_some();
        let trouble = match &sandbox.proof {
            Proof::Doubtful { fault } => Some(Trouble {
                reason: ExecutionReason::SandboxUnproven,
                message: format!("the sandbox is not proven: {fault}"),
            }),
            Proof::Pending | Proof::Proven { .. } | Proof::Broken { .. } => {
                sandbox.pod.trouble.clone()
            }
        };
        if let Some(line) = self.lines.get_mut(key) {
            if proven {
                line.setback.overcome(pod);
            } else if let Some(trouble) = trouble {
                line.setback.say(trouble);
            }
        }
    }
}

/// Why a sandbox that nobody has is of no use, if it is its own fault.
fn trouble_of(sandbox: &Sandbox, free: bool) -> Option<Trouble> {
    if sandbox.claimed.is_some() {
        return None;
    }
    match &sandbox.proof {
        Proof::Broken { fault } if free => Some(Trouble {
            reason: ExecutionReason::SandboxUnproven,
            message: fault.clone(),
        }),
        Proof::Broken { .. } | Proof::Pending | Proof::Proven { .. } | Proof::Doubtful { .. } => {
            sandbox.pod.end.clone()
        }
    }
}
