//! Writes what has ended, or that another attempt is to come. Pure.

use crds::integration::Logs;

use super::{
    act::{Act, Purpose},
    book::Book,
    line::Key,
    output::Tail,
    run::{Run, Stage},
    status,
    turn::{View, write},
};

/// Ends being written at once, over all tenants.
const CLOSING: usize = 32;

impl Book {
    /// Writes what has ended, one of a tenant after one of another.
    pub(super) fn write_ends(&mut self, view: View<'_>, acts: &mut Vec<Act>) {
        while self.under_way.closing < CLOSING {
            let Some(key) = self.to_close.next() else {
                return;
            };
            if let Some(act) = self.write_end(&key, view) {
                acts.push(act);
                self.under_way.closing += 1;
                self.to_close.hold(&key);
            }
        }
    }

    /// The first of a line whose end can be written now.
    fn write_end(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        let line = self.lines.get_mut(key)?;
        let due = |run: &&Run| {
            run.is_writable(view.now)
                && run.outcome.is_some()
                && !matches!(run.stage, Stage::Binding(_))
        };
        let mut ending = line.closing.iter().filter_map(|uid| self.runs.get(uid));
        let uid = ending.find(due)?.uid;
        line.closing.remove(&uid);
        let terms = line.terms();
        let run = self.runs.get_mut(&uid)?;
        // Also where that was changed while it ran.
        if terms.is_some_and(|terms| terms.logs == Logs::Off) {
            run.output = Tail::default();
        }
        let outcome = run.outcome.clone()?;
        let bound = matches!(run.stage, Stage::Bound(_));
        let attempts = u32::try_from(run.status.attempt).unwrap_or(u32::MAX);
        let more = terms.is_some_and(|terms| attempts <= terms.retries);
        let retry = bound && more && !run.cancel && outcome.may_be_retried();
        let (status, purpose) = if retry {
            (status::retrying(run, &outcome, view.now), Purpose::Retry)
        } else {
            let pod = run.stage.pod().and_then(|pod| self.sandboxes.get(&pod));
            let pod = pod.map(|sandbox| &sandbox.pod);
            (status::ended(run, &outcome, pod, view.now), Purpose::Finish)
        };
        run.writing = true;
        Some(write(run, status, purpose))
    }
}
