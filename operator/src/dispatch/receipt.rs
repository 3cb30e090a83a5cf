//! What became of writes → the book. Pure.

use std::time::Duration;

use crds::execution::ExecutionReason;
use jiff::Timestamp;

use super::{
    act::{Purpose, Receipt},
    book::Book,
    line::{Key, Trouble},
    run::Stage,
    sandbox::Facts,
    say::PAUSE,
    under_way,
};
use crate::{error::Error, world::facts::Uid};

/// Pause after a write that another one was faster than: what it wrote is about to come.
const CONFLICT: Duration = Duration::from_millis(50);
/// Pause after a write that failed, and the longest where it is twice as long each time.
const FAILURE: Duration = Duration::from_secs(1);
const LONGEST_FAILURE: Duration = Duration::from_secs(30);
/// The longest pause between pods that the server refuses.
const LONGEST_REFUSAL: Duration = Duration::from_secs(5);

impl Book {
    /// Takes note of what became of an act.
    pub fn receipt(&mut self, receipt: Receipt, now: Timestamp) {
        match receipt {
            Receipt::Status {
                run,
                purpose,
                result,
            } => {
                match purpose {
                    Purpose::Bind => under_way::end(&mut self.under_way.binding),
                    Purpose::Retry | Purpose::Finish => {
                        under_way::end(&mut self.under_way.closing);
                        self.dirty.extend(self.to_close.next());
                    }
                    Purpose::Say => under_way::end(&mut self.under_way.telling),
                }
                match result {
                    Ok(object) => {
                        if let Some(run) = self.runs.get_mut(&run) {
                            (run.writing, run.not_before) = (false, None);
                            run.doubtful = false;
                            // An end that came meanwhile may be all that is left to write.
                            let key = run.line.clone();
                            self.touch(&key);
                        }
                        self.execution(&object, now);
                        self.assign_if_bound(run, now);
                    }
                    Err(error) => self.unwritten(run, purpose, &error, now),
                }
            }
            Receipt::LineStatus { key, result } => {
                under_way::end(&mut self.under_way.saying);
                if let Some(line) = self.lines.get_mut(&key) {
                    line.writing = false;
                    // One that failed is written again at a tick from then on.
                    line.not_said_before = result.is_err().then(|| now + PAUSE);
                    if let (Some(known), Ok(status)) = (&mut line.integration, result) {
                        known.status = *status;
                    }
                }
            }
            Receipt::Make { line, result } => self.made(&line, result, now),
            Receipt::Remove { pod, result } => self.removed(pod, result.is_err(), now),
            Receipt::Create {
                line,
                uid,
                due,
                result,
            } => self.created((&line, uid, due), result, now),
            Receipt::Forget { run, result } => self.forgotten(run, result.is_ok()),
        }
    }

    /// What has its sandbox in writing is sent there.
    fn assign_if_bound(&mut self, run: Uid, now: Timestamp) {
        let stage = self.runs.get(&run).map(|run| run.stage);
        if let Some(Stage::Bound(pod)) = stage {
            self.assign(pod, now);
        }
    }

    fn unwritten(&mut self, uid: Uid, purpose: Purpose, error: &Error, now: Timestamp) {
        let Some(run) = self.runs.get_mut(&uid) else {
            return;
        };
        run.writing = false;
        if purpose == Purpose::Say {
            run.said = None;
        }
        let (conflict, gone) = (error.is_conflict(), error.is_gone());
        // After a write that may have landed, a conflict may be with that.
        let refused = error.is_refused() && !(conflict && run.doubtful);
        run.doubtful |= !refused;
        run.not_before = Some(now + if conflict { CONFLICT } else { FAILURE });
        let (key, ends) = (run.line.clone(), run.outcome.is_some());
        if gone {
            self.execution_gone(uid);
        } else if purpose == Purpose::Bind && refused {
            // Not written, so nobody has the sandbox: nothing has been sent to it.
            self.unbind(uid);
        } else if let Some(line) = self.lines.get_mut(&key).filter(|_| ends) {
            line.closing.insert(uid);
        }
        self.touch(&key);
    }

    /// It has no sandbox after all.
    pub(super) fn unbind(&mut self, uid: Uid) {
        let Some(run) = self.runs.get(&uid) else {
            return;
        };
        let Stage::Binding(pod) = run.stage else {
            return;
        };
        self.delist(uid);
        self.release(pod, uid);
        if let Some(run) = self.runs.get_mut(&uid) {
            run.stage = Stage::Waiting;
            (run.silent_since, run.doubtful) = (None, false);
        }
        self.enlist(uid);
    }

    fn removed(&mut self, pod: Uid, failed: bool, now: Timestamp) {
        under_way::end(&mut self.under_way.sweeping);
        let Some(sandbox) = self.sandboxes.get_mut(&pod) else {
            return;
        };
        sandbox.removing = !failed;
        let pause = sandbox.kept.map_or(FAILURE, |(_, pause)| pause * 2);
        let pause = pause.min(LONGEST_FAILURE);
        sandbox.kept = failed.then(|| (now + pause, pause));
    }

    fn made(
        &mut self,
        key: &Key,
        result: Result<Box<k8s_openapi::api::core::v1::Pod>, Error>,
        now: Timestamp,
    ) {
        under_way::end(&mut self.under_way.posting);
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        under_way::end(&mut line.posting);
        match result {
            Ok(pod) => {
                if let Some(facts) = Facts::of(&pod) {
                    line.setback.made(facts.uid);
                    self.pod(facts, now);
                }
            }
            Err(error) => {
                let trouble = refusal(&error);
                // A quota's own bookkeeping, mostly, which pods that end keep busy.
                if error.is_conflict() {
                    line.setback.give_way(trouble, CONFLICT, now);
                } else {
                    line.setback.wait(trouble, LONGEST_REFUSAL, now);
                }
                self.touch(key);
            }
        }
    }
}

/// Why the server refuses a pod, for who waits for it.
fn refusal(error: &Error) -> Trouble {
    let message = error.to_string();
    let reason = if message.contains("exceeded quota") {
        ExecutionReason::QuotaExceeded
    } else {
        ExecutionReason::StartDeadlineExceeded
    };
    Trouble { reason, message }
}
