//! Sets a line right: sees what has ended, tells what waits, removes what is used. Pure.

use std::time::Duration;

use crds::{execution::ExecutionReason, integration::ConcurrencyPolicy};
use jiff::Timestamp;

use super::{
    act::Act,
    book::Book,
    line::{Key, Line, Trouble},
    orders,
    outcome::Outcome,
    pod::FENCE_MS,
    register::Twin,
    run::{Run, Stage},
    sandbox::{Proof, Sandbox},
    turn::{PROOF_LIMIT, View},
};
use crate::world::facts::Uid;

/// How long the sandbox of a run may be silent before it counts as lost. Sessions end within
/// 10 s of their peer's, and are opened again within 2 s of a new leader.
const SILENCE: Duration = Duration::from_secs(30);
/// The same of one that ends its command when it is cut off: 10 s until it knows, and time to do so.
const FENCED: Duration = Duration::from_secs(FENCE_MS as u64 / 1000 + 15);
/// What a supervisor may take beyond timeout and grace.
const OVERTIME: Duration = Duration::from_secs(20);
/// A session that has just been opened is about to tell an end, if there was one.
const OPENING: Duration = Duration::from_secs(5);
/// What is shut for less than this keeps nobody from the sandbox that was just given to it.
const SETTLING: Duration = Duration::from_secs(10);
/// Of a run that nothing was begun of.
const NEVER_STARTED: &str = "canceled before it started";
/// Start deadline without one.
const DEFAULT_DEADLINE: Duration = Duration::from_mins(5);

impl Book {
    /// Sets one line right. What only time changes is looked at where that has gone by: an event
    /// costs as much as sandboxes are there, and not as Executions wait.
    pub(super) fn settle(&mut self, key: &Key, ticked: bool, view: View<'_>, acts: &mut Vec<Act>) {
        if !self.lines.contains_key(key) {
            return;
        }
        self.weigh(key, view);
        self.sweep_pods(key, view, acts);
        self.watch_waiting(key, ticked, view);
        self.watch_live(key, view, acts);
        if self
            .lines
            .get(key)
            .is_some_and(|line| !line.closing.is_empty())
        {
            self.to_close.hold(key);
        }
        if ticked {
            self.look_for_news(key, view);
        }
        self.look_at_schedule(key, view.now);
        self.say_of_line(key, view, acts);
    }

    pub(super) fn runs_of(&self, key: &Key, of: impl Fn(&Line) -> Vec<Uid>) -> Vec<Uid> {
        self.lines.get(key).map(of).unwrap_or_default()
    }

    /// Looks after who has a sandbox.
    fn watch_live(&mut self, key: &Key, view: View<'_>, acts: &mut Vec<Act>) {
        let now = view.now;
        self.replace(key, now);
        for uid in self.runs_of(key, |line| line.live.iter().copied().collect()) {
            let Some(run) = self.runs.get_mut(&uid) else {
                continue;
            };
            let pod = match run.stage {
                Stage::Bound(pod) => pod,
                // Whether it was written is not known: the same again, which lands once.
                Stage::Binding(pod) => {
                    let due = run.is_writable(now);
                    if due && self.sandboxes.contains_key(&pod) {
                        acts.extend(self.bind(uid, pod, view));
                    } else if due {
                        // Another one, then; should it have been written, that is refused.
                        self.unbind(uid);
                    }
                    continue;
                }
                Stage::Waiting => continue,
            };
            let sandbox = self.sandboxes.get_mut(&pod);
            if run.cancel
                && let Some(seat) = sandbox.and_then(|sandbox| sandbox.seat.as_mut())
                && seat.is_told()
                && !seat.canceled
            {
                seat.canceled = seat.orders.send(orders::cancel(run)).is_ok();
                run.told_to_end |= seat.canceled;
            }
            let Some(run) = self.runs.get(&uid).filter(|run| run.outcome.is_none()) else {
                continue;
            };
            let sandbox = self.sandboxes.get(&pod);
            let untold = sandbox.and_then(|sandbox| {
                taken(run, sandbox).or_else(|| self.never_told(run, sandbox, now))
            });
            let over = untold
                .or_else(|| lost(run, sandbox, now))
                .or_else(|| self.overdue(run, sandbox?, now));
            if let Some(outcome) = over {
                self.conclude(uid, outcome);
            } else {
                self.assign(pod, now);
            }
        }
    }

    /// What became of a run that its sandbox was never told of, and will not be; or may not be for
    /// as long as one may wait for a start, because the tenant is shut again, or the sandbox cannot
    /// tell.
    fn never_told(&self, run: &Run, sandbox: &Sandbox, now: Timestamp) -> Option<Outcome> {
        let seat = sandbox.seat.as_ref()?;
        if seat.is_told() || run.started.is_some() {
            return None;
        }
        if run.cancel {
            return Some(Outcome::new(ExecutionReason::Canceled, NEVER_STARTED));
        }
        let unproven =
            |fault: &String| Outcome::new(ExecutionReason::SandboxUnproven, fault.clone());
        if let Proof::Broken { fault } = &sandbox.proof {
            return Some(unproven(fault));
        }
        let terms = self.lines.get(&run.line).and_then(Line::terms);
        let deadline = terms.map_or(DEFAULT_DEADLINE, |terms| terms.start_deadline);
        let claimed = run.status.times.claimed?;
        // What came before another attempt is not its own.
        let since = if run.status.attempt > 1 {
            claimed
        } else {
            run.since
        };
        let due = since + deadline;
        if let Some(why) = self.shut(&run.line) {
            return (due.max(claimed + SETTLING) < now).then_some(why);
        }
        // A new leader, or a new session, is owed another look first.
        if due.max(seat.since + PROOF_LIMIT) >= now || sandbox.proven(now - PROOF_LIMIT).is_some() {
            return None;
        }
        Some(if let Proof::Doubtful { fault } = &sandbox.proof {
            unproven(fault)
        } else {
            let message = "its sandbox has not proven itself again";
            Outcome::new(ExecutionReason::StartDeadlineExceeded, message)
        })
    }

    /// What became of a run that its sandbox should have ended. Who was never told has no time yet;
    /// and of who has no session, nothing is known that would be late.
    fn overdue(&self, run: &Run, sandbox: &Sandbox, now: Timestamp) -> Option<Outcome> {
        let seat = sandbox.seat.as_ref()?;
        // Between the two it may have waited for as long as one may wait for a start.
        let told = run.status.times.claimed.max(seat.assigned);
        let begun = run.started.or(told)?;
        let terms = self.lines.get(&run.line).and_then(Line::terms);
        // One that has begun says by itself what it was given, which the spec may not be any more.
        let terms = terms.filter(|_| run.started.is_none());
        let allowed = run.allowed.or(terms.map(|terms| terms.allowed()))?;
        let late =
            !sandbox.is_untold() && seat.since + OPENING < now && begun + allowed + OVERTIME < now;
        let message = "its sandbox did not end it in time, and was removed";
        late.then(|| Outcome::new(ExecutionReason::TimedOut, message))
    }

    /// Where the policy says so, the one that runs longest makes room for who waits.
    fn replace(&mut self, key: &Key, now: Timestamp) {
        let Some(line) = self.lines.get(key) else {
            return;
        };
        let Some(terms) = line.terms() else { return };
        // Who needs no place makes nobody leave.
        let in_need = |uid| matches!(self.twin(key, uid), Twin::None);
        let crowded =
            line.live.len() >= terms.limit && self.first_waiting(line, now).is_some_and(in_need);
        if terms.policy != ConcurrencyPolicy::Replace || !crowded || self.shut(key).is_some() {
            return;
        }
        let runs = line.live.iter().filter_map(|uid| self.runs.get(uid));
        // One at a time: it has been asked to, or is ending anyhow.
        if runs.clone().any(|run| run.cancel || run.outcome.is_some()) {
            return;
        }
        let bound = runs.filter(|run| matches!(run.stage, Stage::Bound(_)));
        let oldest = bound
            .min_by_key(|run| run.status.times.claimed)
            .map(|run| run.uid);
        if let Some(run) = oldest.and_then(|uid| self.runs.get_mut(&uid)) {
            (run.cancel, run.replaced) = (true, true);
        }
    }

    /// Ends who has waited too long, or need not wait.
    fn watch_waiting(&mut self, key: &Key, ticked: bool, view: View<'_>) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let fresh = std::mem::take(&mut line.fresh);
        for uid in fresh {
            let canceled = self.runs.get(&uid).is_some_and(|run| run.cancel);
            let twin = if canceled {
                Twin::None
            } else {
                self.twin(key, uid)
            };
            match twin {
                Twin::Stands(outcome) => self.conclude(uid, outcome),
                Twin::None => {
                    if let Some(outcome) = self.need_not_wait(key, uid) {
                        self.conclude(uid, outcome);
                    }
                }
                Twin::Undecided => {
                    self.line_or_new(key).fresh.insert(uid);
                }
            }
        }
        if !ticked {
            return;
        }
        let blocked = self.blocked(key, view);
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
        let run = self.runs.get(&uid)?;
        if run.cancel {
            return Some(Outcome::new(ExecutionReason::Canceled, NEVER_STARTED));
        }
        let ahead = line.waiting.range(..(run.since, uid));
        let crowded = line.terms().is_some_and(|terms| {
            let full = || line.live.len() + ahead.take(terms.limit).count() >= terms.limit;
            terms.policy == ConcurrencyPolicy::Skip && run.status.attempt == 0 && full()
        });
        crowded.then(|| {
            let message = "as many run as spec.concurrency.limit of the Integration allows, and its \
                           policy is Skip";
            Outcome::new(ExecutionReason::Rejected, message)
        })
    }

    /// What keeps an Execution waiting where nothing is shut.
    pub(super) fn obstacle(&self, key: &Key, now: Timestamp) -> Outcome {
        let deadline = ExecutionReason::StartDeadlineExceeded;
        let Some(line) = self.lines.get(key) else {
            return Outcome::new(deadline, "its Integration is not known");
        };
        let limit = line.terms().map_or(0, |terms| terms.limit);
        if self.occupied(line, now) >= limit {
            let message = "as many run as spec.concurrency.limit of the Integration allows";
            return Outcome::new(deadline, message);
        }
        match line.setback.trouble() {
            Some(Trouble { reason, message }) => Outcome::new(*reason, message.clone()),
            None => Outcome::new(deadline, self.expected(line)),
        }
    }

    /// What the sandbox lacks that will be the next one's to be ready.
    fn expected(&self, line: &Line) -> &'static str {
        let sandboxes = line.pods.iter().filter_map(|uid| self.sandboxes.get(uid));
        let free = sandboxes.filter(|sandbox| sandbox.is_free());
        let lacks = free.map(|sandbox| match (&sandbox.pod.node, &sandbox.seat) {
            (None, _) => (3, "a sandbox waits for a node"),
            (_, None) if sandbox.welcomed => (
                2,
                "a sandbox has lost its session with the operator, and dials again",
            ),
            (_, None) if sandbox.pod.fetching => (1, "a sandbox's node fetches its image"),
            (_, None) => (
                1,
                "a sandbox starts on its node, and has not dialled the operator yet",
            ),
            (_, Some(_)) => (0, "a sandbox is there, and its proof is awaited"),
        });
        lacks
            .min()
            .map_or("a sandbox is being made", |(_, words)| words)
    }
}

/// How long a sandbox may be silent before it counts for nothing any more.
pub(super) const fn patience(fenced: bool) -> Duration {
    if fenced { FENCED } else { SILENCE }
}

/// What became of a run whose sandbox was another's already.
fn taken(run: &Run, sandbox: &Sandbox) -> Option<Outcome> {
    sandbox.claimed.filter(|holder| *holder != run.uid)?;
    let message = "its sandbox was another Execution's already; nothing of this one was started";
    let reason = ExecutionReason::StartDeadlineExceeded;
    Some(Outcome::new(reason, message))
}

/// What became of a run of which its sandbox will say nothing any more.
fn lost(run: &Run, sandbox: Option<&Sandbox>, now: Timestamp) -> Option<Outcome> {
    let unknown = "the command may have run, and nothing is known of its end";
    if let Some(Trouble { reason, message }) = sandbox.and_then(|one| one.pod.end.as_ref()) {
        return Some(Outcome::new(*reason, message.clone()));
    }
    let place = run.status.sandbox.as_ref();
    let fenced = sandbox.map_or_else(
        || place.is_some_and(|place| place.fenced),
        Sandbox::is_fenced,
    );
    let limit = patience(fenced);
    if run.silent_since.is_none_or(|since| since + limit >= now) {
        return None;
    }
    let Some(sandbox) = sandbox else {
        return Some(Outcome::taken(!fenced));
    };
    let node = sandbox.pod.node.as_deref().unwrap_or("its node");
    let seconds = limit.as_secs();
    let message = format!("no word from the sandbox on {node} for {seconds} s; {unknown}");
    Some(if fenced {
        Outcome::new(ExecutionReason::NodeLost, message)
    } else {
        Outcome::adrift(ExecutionReason::NodeLost, message)
    })
}
