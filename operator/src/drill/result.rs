//! What came of a run, in figures and words. Pure.

use crds::drill::{
    DrillExecution, DrillExecutions, DrillReason, DrillResult, DrillRun, DrillWorker,
    DrillWorkerResult, DrillWorkers,
};
use jiff::Timestamp;

use super::{
    apply::Seen,
    course::{Refusal, Trigger},
};
use crate::conditions::shortened;

/// Most Workers that a result names.
const NAMED: usize = 20;

/// Of a run that did not begin.
pub fn refused(trigger: &Trigger, refusal: &Refusal, now: Timestamp) -> DrillResult {
    DrillResult {
        reason: refusal.reason.as_str().to_owned(),
        message: shortened(refusal.message.clone()),
        zone: refusal.zone.clone(),
        request: trigger.request.clone(),
        scheduled: trigger.scheduled,
        begun: now,
        lost: None,
        returned: None,
        ended: now,
        pods: 0,
        held: 0,
        workers: None,
        executions: None,
    }
}

/// Of a run that has ended, with the Executions as they are then.
pub fn of_run(run: &DrillRun, seen: &[Seen], now: Timestamp) -> DrillResult {
    let taken = run.lost.is_some();
    let workers = taken.then(|| workers(run));
    let executions = taken.then(|| executions(run, seen));
    let (reason, message) = judge(run, workers.as_ref(), executions.as_ref());
    DrillResult {
        reason,
        message: shortened(message),
        zone: Some(run.zone.clone()),
        request: run.request.clone(),
        scheduled: run.scheduled,
        begun: run.begun,
        lost: run.lost,
        returned: run.returned,
        ended: now,
        pods: run.pods,
        held: run.held,
        workers,
        executions,
    }
}

fn milliseconds(from: Option<Timestamp>, to: Timestamp) -> Option<i64> {
    Some((to.as_millisecond() - from?.as_millisecond()).max(0))
}

fn of_worker(run: &DrillRun, worker: &DrillWorker) -> DrillWorkerResult {
    let to_min_available_ms = match (worker.below, worker.enough) {
        (None, _) => Some(0),
        (Some(_), enough) => enough.and_then(|at| milliseconds(run.lost, at)),
    };
    DrillWorkerResult {
        name: worker.name.clone(),
        min_available: worker.min_available,
        to_min_available_ms,
        to_full_ms: worker.full.and_then(|at| milliseconds(run.returned, at)),
    }
}

fn workers(run: &DrillRun) -> DrillWorkers {
    let mut each: Vec<_> = run.workers.iter().map(|one| of_worker(run, one)).collect();
    // The slowest of all, if none is missing: nobody waits for who never came.
    let slowest = |of: fn(&DrillWorkerResult) -> Option<i64>| {
        let times: Option<Vec<i64>> = each.iter().map(of).collect();
        times.map(|times| times.into_iter().max().unwrap_or_default())
    };
    let to_min_available_ms = slowest(|one| one.to_min_available_ms);
    let to_full_ms = slowest(|one| one.to_full_ms);
    let never = |time: Option<i64>| time.unwrap_or(i64::MAX);
    each.sort_by_key(|one| {
        let key = (never(one.to_min_available_ms), never(one.to_full_ms));
        std::cmp::Reverse(key)
    });
    each.truncate(NAMED);
    DrillWorkers {
        count: count(run.workers.len()),
        to_min_available_ms,
        to_full_ms,
        slowest: each,
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn executions(run: &DrillRun, seen: &[Seen]) -> DrillExecutions {
    let mut counts = DrillExecutions {
        running: run.running,
        ..DrillExecutions::default()
    };
    for DrillExecution { name, attempt } in &run.executions {
        let now = seen.iter().find(|one| one.name == *name);
        let counted = match now {
            Some(now) if now.attempt > *attempt => &mut counts.retried,
            Some(Seen {
                well: Some(true), ..
            }) => &mut counts.completed,
            Some(Seen {
                well: Some(false), ..
            }) => &mut counts.failed,
            Some(_) | None => &mut counts.unknown,
        };
        *counted += 1;
    }
    counts
}

/// Why it ended so, and the same in words.
fn judge(
    run: &DrillRun,
    workers: Option<&DrillWorkers>,
    executions: Option<&DrillExecutions>,
) -> (String, String) {
    if let Some(cut) = &run.cut {
        return (cut.reason.clone(), cut.message.clone());
    }
    let zone = &run.zone;
    let returned = run.returned.unwrap_or(Timestamp::MAX);
    let late = |one: &&DrillWorker| one.enough.is_none_or(|at| at > returned);
    let short = run.workers.iter().filter(|one| one.below.is_some());
    let short = short.clone().find(late);
    let weak = run.workers.iter().find(|one| one.full.is_none());
    let (reason, words) = if run.held > 0 {
        let words = format!(
            "{} of {} pods stayed in {zone}: their disruption budget let none of them go, so the \
             zone was not lost",
            run.held, run.pods
        );
        (DrillReason::EvictionRefused, words)
    } else if let Some(worker) = short {
        let words = format!(
            "without {zone}, Worker {} had fewer than its minAvailable of {} when the zone was \
             given back; raise replicas, or spread over more zones",
            worker.name, worker.min_available
        );
        (DrillReason::BelowMinAvailable, words)
    } else if let Some(worker) = weak {
        let words = format!(
            "{zone} was given back, and Worker {} was not at full strength within spec.timeout; \
             look at its Ready and ZoneRedundant",
            worker.name
        );
        (DrillReason::NotRestored, words)
    } else {
        let words = format!(
            "the tenant stood the loss of {zone}{}",
            figures(run, workers, executions)
        );
        (DrillReason::Recovered, words)
    };
    (reason.as_str().to_owned(), words)
}

fn figures(
    run: &DrillRun,
    workers: Option<&DrillWorkers>,
    executions: Option<&DrillExecutions>,
) -> String {
    let mut words = vec![format!(": {} pods had to leave", run.pods)];
    if let Some(workers) = workers.filter(|workers| workers.count > 0) {
        let time = |time: Option<i64>| time.map_or("?".to_owned(), |time| format!("{time} ms"));
        words.push(format!(
            "minAvailable {} after the loss, full strength {} after the return",
            time(workers.to_min_available_ms),
            time(workers.to_full_ms)
        ));
    }
    if let Some(executions) = executions.filter(|executions| executions.running > 0) {
        words.push(format!(
            "of {} Executions there, {} retried and {} failed",
            executions.running, executions.retried, executions.failed
        ));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use crds::drill::{DrillCut, DrillPhase};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn worker(name: &str, times: [Option<i64>; 3]) -> DrillWorker {
        let [below, enough, full] = times.map(|second| second.map(at));
        DrillWorker {
            name: name.to_owned(),
            min_available: 2,
            ready: 3,
            redundant: true,
            below,
            enough,
            full,
        }
    }

    fn run(workers: Vec<DrillWorker>) -> DrillRun {
        DrillRun {
            phase: DrillPhase::Returning,
            zone: "zone-a".to_owned(),
            request: Some("one".to_owned()),
            scheduled: None,
            begun: at(9),
            lost: Some(at(10)),
            returned: Some(at(70)),
            nodes: vec![],
            pods: 5,
            workers,
            running: 6,
            executions: vec![],
            held: 0,
            cut: None,
        }
    }

    #[test]
    fn times_are_those_of_the_slowest_and_from_what_they_are_about() {
        let fast = worker("fast", [None, None, Some(71)]);
        let slow = worker("slow", [Some(11), Some(14), Some(75)]);
        let result = of_run(&run(vec![fast.clone(), slow.clone()]), &[], at(80));
        assert_eq!(result.reason, "Recovered");
        let figures = result.workers.unwrap();
        assert_eq!(figures.to_min_available_ms, Some(4000));
        assert_eq!(figures.to_full_ms, Some(5000));
        assert_eq!(figures.slowest[0].name, "slow");
        assert_eq!(figures.slowest[1].to_min_available_ms, Some(0));
        assert!(
            result.message.contains("5 pods had to leave"),
            "{}",
            result.message
        );
        assert!(
            result.message.contains("4000 ms after the loss"),
            "{}",
            result.message
        );
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_the_reason() {
        let reason = |run: &DrillRun| of_run(run, &[], at(80)).reason;
        let whole = worker("a", [None, None, Some(71)]);
        let late = worker("b", [Some(11), Some(72), Some(73)]);
        let never = worker("c", [Some(11), None, None]);
        let weak = worker("d", [None, None, None]);
        assert_eq!(
            reason(&run(vec![whole.clone(), late.clone()])),
            "BelowMinAvailable"
        );
        assert_eq!(
            reason(&run(vec![whole.clone(), never])),
            "BelowMinAvailable"
        );
        assert_eq!(reason(&run(vec![whole, weak])), "NotRestored");
        let mut held = run(vec![late]);
        held.held = 1;
        assert_eq!(reason(&held), "EvictionRefused");
        held.cut = Some(DrillCut {
            reason: "Canceled".to_owned(),
            message: String::new(),
        });
        assert_eq!(reason(&held), "Canceled");
        assert_eq!(reason(&run(vec![])), "Recovered");
    }

    #[test]
    fn who_never_came_leaves_no_time() {
        let never = worker("never", [Some(11), None, None]);
        let other = worker("other", [None, None, Some(71)]);
        let figures = of_run(&run(vec![other, never]), &[], at(80))
            .workers
            .unwrap();
        assert_eq!(
            (figures.to_min_available_ms, figures.to_full_ms),
            (None, None)
        );
        assert_eq!(figures.slowest[0].name, "never");
    }

    #[test]
    fn executions_are_counted_by_what_became_of_the_attempt_that_ran_there() {
        let mut run = run(vec![]);
        let names = ["retried", "failed", "completed", "runs", "gone"];
        run.executions = names
            .map(|name| DrillExecution {
                name: name.to_owned(),
                attempt: 1,
            })
            .into();
        let seen = |name: &str, attempt, well| Seen {
            name: name.to_owned(),
            attempt,
            node: None,
            well,
        };
        let seen = [
            seen("retried", 2, Some(true)),
            seen("failed", 1, Some(false)),
            seen("completed", 1, Some(true)),
            seen("runs", 1, None),
            seen("another", 1, Some(false)),
        ];
        let counts = of_run(&run, &seen, at(80)).executions.unwrap();
        let DrillExecutions {
            running,
            retried,
            failed,
            completed,
            unknown,
        } = counts;
        assert_eq!(
            [running, retried, failed, completed, unknown],
            [6, 1, 1, 1, 2]
        );
    }
}
