//! Sets a line right: ends what has ended, tells what waits, removes what is used. Pure.

use std::time::Duration;

use crds::{execution::ExecutionReason, integration::ConcurrencyPolicy};
use jiff::Timestamp;

use super::{
    act::{Act, Purpose},
    book::Book,
    line::{Key, Line, Trouble},
    orders,
    outcome::Outcome,
    run::{Run, Stage},
    sandbox::{Proof, Sandbox},
    status,
    turn::{PROOF_LIMIT, View, write},
};
use crate::world::facts::Uid;

/// How long the sandbox of a run may be silent before it counts as lost. Sessions end within
/// 10 s of their peer's, and are opened again within 2 s of a new leader.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a sandbox that nobody has may be without a session.
const UNHEARD: Duration = Duration::from_mins(1);
/// What a supervisor may take beyond timeout and grace.
const OVERTIME: Duration = Duration::from_secs(20);
/// Start deadline without one.
const DEFAULT_DEADLINE: Duration = Duration::from_mins(5);
/// The longest pause between two sandboxes that do not come about.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Book {
    /// Sets one line right. What only time changes is looked at where that has gone by: an event
    /// costs as much as sandboxes are there, and not as Executions wait.
    pub(super) fn settle(&mut self, key: &Key, ticked: bool, view: View<'_>, acts: &mut Vec<Act>) {
        if !self.lines.contains_key(key) {
            return;
        }
        self.sweep_pods(key, view, acts);
        self.watch_live(key, view);
        self.watch_waiting(key, ticked, view);
        self.write_ends(key, view, acts);
        if ticked {
            self.say(key, view, acts);
            self.forget(key, view, acts);
        }
        self.say_of_line(key, view, acts);
    }

    pub(super) fn runs_of(&self, key: &Key, of: impl Fn(&Line) -> Vec<Uid>) -> Vec<Uid> {
        self.lines.get(key).map(of).unwrap_or_default()
    }

    /// Removes every sandbox that is used, broken, outdated, unheard of or too many.
    fn sweep_pods(&mut self, key: &Key, view: View<'_>, acts: &mut Vec<Act>) {
        let mold = self.mold(key).map(|mold| mold.fingerprint());
        let mut spare = self.wanted(key, view.now);
        for uid in self.runs_of(key, |line| line.pods.iter().copied().collect()) {
            let Some(sandbox) = self.sandboxes.get(&uid) else {
                continue;
            };
            if sandbox.removing || sandbox.pod.deleting && sandbox.pod.end.is_none() {
                continue;
            }
            let due = self.is_due(sandbox, mold.as_deref(), view.now);
            let free = sandbox.is_free();
            // One that has not shown itself yet may turn out to be of no use.
            let spared = spare > 0 || sandbox.proof == Proof::Pending;
            let (broken, name) = (trouble_of(sandbox, free), sandbox.pod.key.clone());
            if due || broken.is_some() || free && !spared {
                if let Some(trouble) = broken {
                    self.none_came(key, trouble, view.now);
                }
                if let Some(sandbox) = self.sandboxes.get_mut(&uid) {
                    sandbox.removing = true;
                }
                acts.push(Act::Remove {
                    key: name,
                    pod: uid,
                    grace: 0,
                });
            } else if free {
                spare = spare.saturating_sub(1);
                self.note_trouble(key, uid, view.now);
            }
        }
    }

    /// Whether a sandbox has to go, broken ones aside.
    fn is_due(&self, sandbox: &Sandbox, mold: Option<&str>, now: Timestamp) -> bool {
        let pod = &sandbox.pod;
        if let Some(claimed) = sandbox.claimed {
            let stage = self.runs.get(&claimed).map(|run| run.stage);
            return stage != Some(Stage::Bound(pod.uid)) && stage != Some(Stage::Binding(pod.uid));
        }
        let given = sandbox
            .seat
            .as_ref()
            .is_some_and(|seat| seat.given.is_some());
        let unheard = sandbox.seat.is_none() && sandbox.heard + UNHEARD < now;
        let started = pod.trouble.is_none() && pod.node.is_some();
        let stale = match sandbox.proof {
            Proof::Proven { at, .. } => at + PROOF_LIMIT * 2 < now,
            Proof::Doubtful { .. } | Proof::Pending => {
                sandbox.seat.is_some() && pod.created + PROOF_LIMIT * 2 < now
            }
            Proof::Broken { .. } => false,
        };
        let known = self
            .lines
            .get(&pod.line)
            .and_then(|line| line.integration.as_ref());
        let orphan = known.map(|known| known.uid) != pod.owner;
        given
            || pod.end.is_some()
            || orphan
            || stale
            || unheard && started
            || mold != Some(&pod.mold)
    }

    /// A sandbox came to nothing: the next one waits, longer each time, and who waits longest
    /// ends with the reason, if it is about the sandbox itself.
    fn none_came(&mut self, key: &Key, trouble: Trouble, now: Timestamp) {
        if trouble.reason == ExecutionReason::SandboxUnproven {
            let line = self.lines.get(key);
            let first = line
                .and_then(|line| line.waiting.first())
                .map(|(_, uid)| *uid);
            if let Some(uid) = first {
                self.conclude(uid, Outcome::new(trouble.reason, trouble.message.clone()));
            }
        }
        if let Some(line) = self.lines.get_mut(key) {
            line.failures = line.failures.saturating_add(1);
            line.not_before = Some(now + pause(line.failures));
            line.trouble = Some(trouble);
        }
    }

    /// What keeps a sandbox from starting is what who waits for it waits for; one that has
    /// proven itself has shown that nothing does.
    fn note_trouble(&mut self, key: &Key, pod: Uid, now: Timestamp) {
        let Some(sandbox) = self.sandboxes.get(&pod) else {
            return;
        };
        let proven = sandbox.ready(now - PROOF_LIMIT).is_some();
        let trouble = sandbox.pod.trouble.clone();
        if let Some(line) = self.lines.get_mut(key) {
            if proven {
                (line.failures, line.not_before, line.trouble) = (0, None, None);
            } else if trouble.is_some() {
                line.trouble = trouble;
            }
        }
    }

    /// Looks after who has a sandbox.
    fn watch_live(&mut self, key: &Key, view: View<'_>) {
        let now = view.now;
        self.replace(key);
        let terms = self.lines.get(key).and_then(Line::terms).cloned();
        let most = terms.map(|terms| terms.timeout + terms.grace + OVERTIME);
        for uid in self.runs_of(key, |line| line.live.iter().copied().collect()) {
            let Some(run) = self.runs.get_mut(&uid) else {
                continue;
            };
            let Stage::Bound(pod) = run.stage else {
                continue;
            };
            let sandbox = self.sandboxes.get(&pod);
            let seat = sandbox.and_then(|sandbox| sandbox.seat.as_ref());
            if run.cancel
                && !run.told_to_end
                && let Some(seat) = seat
            {
                run.told_to_end = seat.orders.send(orders::cancel(run)).is_ok();
            }
            if run.outcome.is_some() {
                continue;
            }
            let begun = run.started.or(run.status.times.claimed).unwrap_or(now);
            let late = most.is_some_and(|most| begun + most < now);
            let overtime = late.then(|| {
                let message = "its sandbox did not end it in time, and was removed";
                Outcome::new(ExecutionReason::TimedOut, message)
            });
            if let Some(outcome) = lost(run, sandbox, now).or(overtime) {
                self.conclude(uid, outcome);
            }
        }
    }

    /// Where the policy says so, the one that runs longest makes room for who waits.
    fn replace(&mut self, key: &Key) {
        let Some(line) = self.lines.get(key) else {
            return;
        };
        let Some(terms) = line.terms() else { return };
        let crowded = line.live.len() >= terms.limit && !line.waiting.is_empty();
        if terms.policy != ConcurrencyPolicy::Replace || !crowded {
            return;
        }
        let runs = line.live.iter().filter_map(|uid| self.runs.get(uid));
        // One at a time: it has been asked to, or is ending anyhow.
        if runs.clone().any(|run| run.cancel || run.outcome.is_some()) {
            return;
        }
        let oldest = runs
            .min_by_key(|run| run.status.times.claimed)
            .map(|run| run.uid);
        if let Some(run) = oldest.and_then(|uid| self.runs.get_mut(&uid)) {
            run.cancel = true;
        }
    }

    /// Ends who has waited too long, or need not wait.
    fn watch_waiting(&mut self, key: &Key, ticked: bool, view: View<'_>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let fresh = std::mem::take(&mut line.fresh);
        for uid in fresh {
            if let Some(outcome) = self.need_not_wait(key, uid) {
                self.conclude(uid, outcome);
            }
        }
        if !ticked {
            return;
        }
        let blocked = self.shut(key).unwrap_or_else(|| self.obstacle(key));
        let Some(line) = self.lines.get(key) else {
            return;
        };
        let deadline = line
            .terms()
            .map_or(DEFAULT_DEADLINE, |terms| terms.start_deadline);
        let late = line
            .waiting
            .iter()
            .take_while(|(since, _)| *since + deadline < view.now);
        for (_, uid) in late.copied().collect::<Vec<_>>() {
            self.conclude(uid, blocked.clone());
        }
    }

    /// What becomes of an Execution that has just begun to wait, if it is known at once.
    fn need_not_wait(&self, key: &Key, uid: Uid) -> Option<Outcome> {
        let line = self.lines.get(key)?;
        if self.runs.get(&uid)?.cancel {
            let message = "canceled before it started";
            return Some(Outcome::new(ExecutionReason::Canceled, message));
        }
        let crowded = line.terms().is_some_and(|terms| {
            terms.policy == ConcurrencyPolicy::Skip && line.live.len() >= terms.limit
        });
        let skipped = crowded.then(|| {
            let message = "as many run as spec.concurrency.limit of the Integration allows, and its \
                           policy is Skip";
            Outcome::new(ExecutionReason::Rejected, message)
        });
        self.stands_for(key, uid).or(skipped)
    }

    /// What becomes of an Execution if another one has its idempotency key.
    pub(super) fn stands_for(&self, key: &Key, uid: Uid) -> Option<Outcome> {
        let keyed = self.runs.get(&uid)?.idempotency_key.as_ref()?;
        let other = *self.lines.get(key)?.keyed.get(keyed)?;
        let open = self.runs.get(&other).map(|run| &run.key);
        let named = open.or_else(|| self.ended.get(&other).map(|ended| &ended.key))?;
        (other != uid).then(|| {
            let name = &named.name;
            let message =
                format!("Execution {name} has the same spec.idempotencyKey and stands for it");
            Outcome::new(ExecutionReason::Duplicate, message)
        })
    }

    /// What keeps an Execution waiting where nothing is shut.
    pub(super) fn obstacle(&self, key: &Key) -> Outcome {
        let deadline = ExecutionReason::StartDeadlineExceeded;
        let Some(line) = self.lines.get(key) else {
            return Outcome::new(deadline, "its Integration is not known");
        };
        let limit = line.terms().map_or(0, |terms| terms.limit);
        if line.live.len() >= limit {
            let message = "as many run as spec.concurrency.limit of the Integration allows";
            return Outcome::new(deadline, message);
        }
        match &line.trouble {
            Some(Trouble { reason, message }) => Outcome::new(*reason, message.clone()),
            None => Outcome::new(deadline, "a sandbox is being made"),
        }
    }

    /// Writes what has ended.
    fn write_ends(&mut self, key: &Key, view: View<'_>, acts: &mut Vec<Act>) {
        let terms = self.lines.get(key).and_then(Line::terms).cloned();
        for uid in self.runs_of(key, |line| line.closing.iter().copied().collect()) {
            let Some(run) = self.runs.get_mut(&uid) else {
                continue;
            };
            let waits = run.writing || run.not_before.is_some_and(|at| at > view.now);
            let (Some(outcome), false) = (run.outcome.clone(), waits) else {
                continue;
            };
            if let Stage::Binding(_) = run.stage {
                continue;
            }
            let bound = matches!(run.stage, Stage::Bound(_));
            let attempts = u32::try_from(run.status.attempt).unwrap_or(u32::MAX);
            let more = terms
                .as_ref()
                .is_some_and(|terms| attempts <= terms.retries);
            let retry = bound && more && !run.cancel && outcome.may_be_retried();
            let (status, purpose) = if retry {
                (status::retrying(run, &outcome, view.now), Purpose::Retry)
            } else {
                (status::ended(run, &outcome, view.now), Purpose::Finish)
            };
            run.writing = true;
            acts.push(write(run, status, purpose));
        }
    }
}

/// 0.5 s, twice as long each time.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    (Duration::from_millis(500) * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
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

/// What became of a run of which its sandbox will say nothing any more.
fn lost(run: &Run, sandbox: Option<&Sandbox>, now: Timestamp) -> Option<Outcome> {
    let unknown = "the command may have run, and nothing is known of its end";
    let Some(sandbox) = sandbox else {
        let message = format!("the pod was deleted; {unknown}");
        return Some(Outcome::new(ExecutionReason::NodeLost, message));
    };
    if let Some(Trouble { reason, message }) = &sandbox.pod.end {
        return Some(Outcome::new(*reason, message.clone()));
    }
    let silent = run.silent_since.is_some_and(|since| since + SILENCE < now);
    let node = sandbox.pod.node.as_deref().unwrap_or("its node");
    silent.then(|| {
        let message = format!("no word from the sandbox on {node} for 30 s; {unknown}");
        Outcome::new(ExecutionReason::NodeLost, message)
    })
}
