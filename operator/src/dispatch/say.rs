//! What is said of a line where time has gone by. Pure.

use std::time::Duration;

use crds::{
    IntegrationStatus,
    condition::{Condition, Verdict},
    execution::ExecutionReason,
    integration::{IntegrationCondition, IntegrationReason},
    text::Text,
};

use jiff::Timestamp;

use super::{
    act::{Act, Purpose},
    book::Book,
    line::{Key, Known, Line},
    outcome::Outcome,
    reach::Unmet,
    run::{self, Run, Stage},
    status::{self, Findings},
    turn::{PROOF_LIMIT, View, write},
};
use crate::conditions;

/// How long an Execution waits before its status says for what.
const SAY_AFTER: Duration = Duration::from_secs(1);
/// How long the same obstacle, in whatever words, is no news; to an Execution also as long as it had
/// waited by then.
const SAY_AGAIN: Duration = Duration::from_mins(1);
/// Statuses that say so being written at once, over all tenants.
const TELLING: usize = 8;
/// Those of a line that are told in other words what they have been told, before others are looked for.
const SAY_AGAIN_AT_ONCE: usize = 16;
/// Statuses of Integrations being written at once, over all tenants. The rest come with the
/// next tick.
const SAYING: usize = 32;
/// Pause after one that the API server did not take.
pub const PAUSE: Duration = Duration::from_secs(5);
/// How long sandboxes may be missing before the status says so: refilling is no news.
const DEFICIT: Duration = Duration::from_secs(10);
/// How long the tenant's isolation may be in doubt before the status says so: that its Tenant has just been
/// changed is no news, though nothing starts meanwhile.
const DOUBT: Duration = Duration::from_secs(2);
/// How soon another reason for the same verdict is said.
const ANOTHER_REASON: Duration = Duration::from_secs(3);

impl Book {
    /// Says what goes on where that takes long, one of a tenant after one of another.
    pub(super) fn tell(&mut self, view: View<'_>, acts: &mut Vec<Act>) {
        // Who starts now comes first.
        let most = if self.under_way.binding > 0 {
            TELLING / 2
        } else {
            TELLING
        };
        while self.under_way.telling < most {
            let Some(key) = self.to_tell.next() else {
                return;
            };
            if let Some(act) = self.next_word(&key, view) {
                self.under_way.telling += 1;
                acts.push(act);
                self.to_tell.hold(&key);
            }
        }
    }

    /// Looks up once which Executions of a line are to be told something: first those that have been
    /// told nothing, and of the others a few. While there are some left, nobody new is looked for.
    pub(super) fn look_for_news(&mut self, key: &Key, view: View<'_>) {
        let Some(line) = self.lines.get(key) else {
            return;
        };
        // What goes with its tenant is told nothing: thousands of words would hold up its end.
        let landlord = self.tenants.get(&key.namespace);
        let going = landlord.is_some_and(|landlord| landlord.going);
        if going || line.live.is_empty() && line.waiting.is_empty() {
            return;
        }
        if line.untold.is_empty() {
            let blocked = self.blocked(key, view);
            let waiting = line.waiting.iter().map(|(_, uid)| uid);
            let all = line.live.iter().chain(waiting);
            let runs = all.filter_map(|uid| self.runs.get(uid));
            let news = runs.filter(|run| word(run, &blocked, view.now).is_some());
            let (first, then): (Vec<&Run>, Vec<&Run>) = news.partition(|run| run.said.is_none());
            let untold = first
                .into_iter()
                .chain(then.into_iter().take(SAY_AGAIN_AT_ONCE));
            let untold = untold.map(|run| run.uid).collect();
            self.line_or_new(key).untold = untold;
        }
        if self
            .lines
            .get(key)
            .is_some_and(|line| !line.untold.is_empty())
        {
            self.to_tell.hold(key);
        }
    }

    /// The next word that an Execution of a line is told.
    fn next_word(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        let blocked = self.blocked(key, view);
        loop {
            let uid = self.lines.get_mut(key)?.untold.pop_front()?;
            let Some(run) = self.runs.get_mut(&uid) else {
                continue;
            };
            let Some((reason, message)) = word(run, &blocked, view.now) else {
                continue;
            };
            let status = status::open(run, reason, message, view.now);
            let why = match run.stage {
                Stage::Waiting => blocked.reason,
                Stage::Binding(_) | Stage::Bound(_) => reason,
            };
            run.said = Some((why, view.now));
            run.writing = true;
            return Some(write(run, status, Purpose::Say));
        }
    }

    /// What keeps those of a line that wait.
    pub(super) fn blocked(&self, key: &Key, view: View<'_>) -> Outcome {
        self.shut(key)
            .unwrap_or_else(|| self.obstacle(key, view.now))
    }

    /// Writes the status of the Integration, if there is news.
    pub(super) fn say_of_line(&mut self, key: &Key, view: View<'_>, acts: &mut Vec<Act>) {
        let findings = self.findings(key, view);
        let Some(line) = self.lines.get_mut(key).filter(|line| !line.writing) else {
            return;
        };
        let (Some(known), Some(findings)) = (&line.integration, findings) else {
            return;
        };
        let timing = line.timer.record.clone();
        let status = status::integration(known, findings, timing, view.now);
        let pause = news(&known.status, &status);
        let just_said = line.said.is_some_and(|at| at + pause > view.now);
        let waits =
            line.not_said_before.is_some_and(|at| at > view.now) || self.under_way.saying >= SAYING;
        if known.deleting || waits || status == known.status || just_said {
            return;
        }
        self.under_way.saying += 1;
        line.writing = true;
        line.said = Some(view.now);
        acts.push(Act::LineStatus {
            key: key.clone(),
            uid: known.uid,
            status: Box::new(status),
        });
    }

    fn findings(&mut self, key: &Key, view: View<'_>) -> Option<Findings> {
        let (shut, unmet) = (self.shut(key), self.unmet(key));
        let open = self.may_create(key);
        let oldest = view.now - PROOF_LIMIT;
        let line = self.lines.get(key)?;
        let sandboxes = line.pods.iter().filter_map(|uid| self.sandboxes.get(uid));
        let good = sandboxes.filter(|one| one.claimed.is_some() || one.ready(oldest).is_some());
        let missing = line.terms().is_some_and(|terms| good.count() < terms.warm);
        let line = self.lines.get_mut(key)?;
        line.deficit = missing.then(|| line.deficit.unwrap_or(view.now));
        line.shut = shut.is_some().then(|| line.shut.unwrap_or(view.now));
        let known = line.integration.as_ref()?;
        let closed = (!open).then(|| match &shut {
            Some(outcome) if !known.suspend => why_shut(outcome.reason, false, unmet.as_ref()),
            _ => IntegrationReason::Suspended,
        });
        let scheduled = timing(line, known, closed);
        let ready = match (&known.terms, shut) {
            (Err(fault), _) => (
                Verdict::False,
                IntegrationReason::InvalidSpec,
                fault.clone(),
            ),
            (Ok(_), Some(outcome)) if !is_passing(line, known, &outcome, view.now) => {
                let reason = why_shut(outcome.reason, known.suspend, unmet.as_ref());
                (Verdict::False, reason, outcome.message)
            }
            (Ok(_), _) => {
                let message = "Executions of it can start";
                (
                    Verdict::True,
                    IntegrationReason::Accepted,
                    message.to_owned(),
                )
            }
        };
        let shut = (ready.0 == Verdict::False).then_some(ready.1);
        let warm = warmth(line, known, shut, view.now);
        Some(Findings {
            ready,
            warm,
            scheduled,
        })
    }
}

/// How long after the last status this one is no news: another verdict is at once, other words are later.
fn news(before: &IntegrationStatus, status: &IntegrationStatus) -> Duration {
    let all = |of: fn(&Condition) -> &Text| {
        let [before, now] = [before, status].map(|status| status.conditions.iter().map(of));
        before.eq(now)
    };
    let anew = before.observed_generation != status.observed_generation
        || before.schedule != status.schedule
        || !all(|condition| &condition.status);
    if anew {
        Duration::ZERO
    } else if all(|condition| &condition.reason) {
        SAY_AGAIN
    } else {
        ANOTHER_REASON
    }
}

/// Whether an Integration whose status says that it is ready may go on saying so for a moment.
fn is_passing(line: &Line, known: &Known, shut: &Outcome, now: Timestamp) -> bool {
    let brief = line.shut.is_some_and(|since| since + DOUBT > now);
    brief
        && shut.reason == ExecutionReason::IsolationUnverified
        && said(known, IntegrationCondition::Ready)
}

/// Whether the status says of the spec of today that a condition is true.
fn said(known: &Known, condition: IntegrationCondition) -> bool {
    let before = crds::condition::find(&known.status.conditions, condition.as_str());
    known.status.observed_generation == known.generation
        && before.is_some_and(|said| said.status == "True")
}

/// Whether as many sandboxes stand ready as are asked for. A few that are being replaced are no
/// news; that the first ones are not there yet is, and that none are kept because nothing may start.
fn warmth(
    line: &Line,
    known: &Known,
    shut: Option<IntegrationReason>,
    now: Timestamp,
) -> (Verdict, IntegrationReason, String) {
    let say = |verdict, reason, message: &str| (verdict, reason, message.to_owned());
    if line.terms().is_none_or(|terms| terms.warm == 0) {
        let message = "spec.warm.min is 0; each Execution waits for its sandbox";
        return say(Verdict::True, IntegrationReason::NotRequested, message);
    }
    if let Some(reason) = shut.filter(|_| line.deficit.is_some()) {
        let message = "none is made while Ready is False";
        return say(Verdict::False, reason, message);
    }
    let was = said(known, IntegrationCondition::Warm);
    let lasts = |since: Timestamp| !was || since + DEFICIT < now;
    match (line.deficit.is_some_and(lasts), line.setback.trouble()) {
        (false, _) => {
            let message = "as many sandboxes as asked for are proven, or in use";
            say(Verdict::True, IntegrationReason::Filled, message)
        }
        (true, Some(trouble)) => say(Verdict::False, why_cold(trouble.reason), &trouble.message),
        (true, None) => {
            let message = "sandboxes are on their way";
            say(Verdict::False, IntegrationReason::Filling, message)
        }
    }
}

/// Whether what is due is created, or why nothing may be.
fn timing(
    line: &Line,
    known: &Known,
    closed: Option<IntegrationReason>,
) -> (Verdict, IntegrationReason, String) {
    let say = |verdict, reason, message: &str| (verdict, reason, message.to_owned());
    let Ok(terms) = &known.terms else {
        let message = "nothing is created; Ready says why";
        return say(Verdict::Unknown, IntegrationReason::InvalidSpec, message);
    };
    if terms.schedule.is_none() {
        let message = "no schedule is asked for";
        return say(Verdict::True, IntegrationReason::NotRequested, message);
    }
    if let Some(reason) = closed {
        let message = "nothing is created while that is so";
        return say(Verdict::False, reason, message);
    }
    if let Some(trouble) = &line.timer.trouble {
        return say(Verdict::False, IntegrationReason::Blocked, trouble);
    }
    let message = "each Execution is created when it is due";
    say(Verdict::True, IntegrationReason::OnSchedule, message)
}

const fn why_shut(
    reason: ExecutionReason,
    suspend: bool,
    unmet: Option<&Unmet>,
) -> IntegrationReason {
    match (reason, unmet) {
        (ExecutionReason::TenantSuspended, _) => IntegrationReason::Suspended,
        (ExecutionReason::IsolationUnverified, _) => IntegrationReason::IsolationUnverified,
        (ExecutionReason::Rejected, Some(Unmet::Misfit(_))) => IntegrationReason::InvalidSpec,
        (ExecutionReason::Rejected, Some(Unmet::Beyond(_))) => {
            IntegrationReason::EgressBeyondCeiling
        }
        (ExecutionReason::Rejected, _) => IntegrationReason::NoTenant,
        _ if suspend => IntegrationReason::Suspended,
        (_, Some(Unmet::NotInForce)) => IntegrationReason::PolicyNotInForce,
        _ => IntegrationReason::InvalidSpec,
    }
}

const fn why_cold(reason: ExecutionReason) -> IntegrationReason {
    match reason {
        ExecutionReason::SandboxUnproven => IntegrationReason::SandboxUnproven,
        _ => IntegrationReason::Blocked,
    }
}

/// What is to be said of an Execution now, if anything is.
fn word<'a>(run: &Run, blocked: &'a Outcome, now: Timestamp) -> Option<(ExecutionReason, &'a str)> {
    if !run.is_writable(now) || run.outcome.is_some() {
        return None;
    }
    let (why, reason, message, since) = match (run.stage, run.started) {
        (Stage::Binding(_), _) | (Stage::Bound(_), None) => return None,
        (Stage::Bound(_), Some(started)) => {
            let reason = ExecutionReason::Running;
            (reason, reason, "the command runs", started)
        }
        // What it says of the attempt that failed, the next one is judged by.
        (Stage::Waiting, _) if run::is_retrying(&run.status) => return None,
        (Stage::Waiting, _) => {
            let reason = ExecutionReason::Queued;
            (blocked.reason, reason, blocked.message.as_str(), run.since)
        }
    };
    // Words that change from one try to the next are no news.
    let pause = |said: Timestamp| {
        let waited = Duration::try_from(said.duration_since(since)).unwrap_or_default();
        waited.max(SAY_AGAIN)
    };
    let fresh = |(said, at): (ExecutionReason, Timestamp)| said == why && at + pause(at) > now;
    let silent = since + SAY_AFTER > now || run.said.is_some_and(fresh);
    (!silent && !says(run, reason, message)).then_some((reason, message))
}

/// Whether its status says so already.
fn says(run: &Run, reason: ExecutionReason, message: &str) -> bool {
    let condition = run::succeeded(&run.status);
    let message = conditions::shortened(message.to_owned());
    condition.is_some_and(|said| said.reason == reason.as_str() && *said.message == *message)
}
