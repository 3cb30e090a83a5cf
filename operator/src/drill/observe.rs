//! What was planned and what became of it → how far the run has come, and when to look again. Pure.

use std::time::Duration;

use crds::{
    DrillStatus,
    drill::{
        DrillCut, DrillExecution, DrillPhase, DrillResult, DrillRun, MAX_FOLLOWED, MAX_NODES,
        MAX_RESULTS,
    },
};
use jiff::Timestamp;

use super::{
    apply::{Applied, Seen},
    course::{Course, Refusal, Trigger, interjected},
    measure::{baseline, measured},
    result,
    validate::ValidDrill,
};
use crate::{conditions::shortened, dispatch::Step, world::facts::Loss};

/// How long nothing is looked at that no watch told of: a watch can miss what it was not told.
const AGAIN: Duration = Duration::from_mins(10);
/// The same while a run is in progress.
const RUNNING: Duration = Duration::from_secs(30);
/// Until who is held is asked again.
const HELD: Duration = Duration::from_secs(2);
/// A timer does not come before its time.
const LATER: Duration = Duration::from_millis(1);

/// The facts.
#[derive(Clone, Debug)]
pub struct Observed {
    /// How far it has come; without conditions.
    pub status: DrillStatus,
    /// What of the spec keeps everything from starting.
    pub fault: Option<String>,
    /// The namespace still says that the zone is lost.
    pub given_back: bool,
    /// When to look again.
    pub again: Duration,
}

/// Boils down.
pub fn observe(valid: &ValidDrill, applied: &Applied) -> Observed {
    let mut status = valid.before.clone();
    step(valid, applied, &mut status);
    if let Some((trigger, refusal)) = interjected(valid) {
        status.request.clone_from(&trigger.request);
        keep(&mut status, result::refused(&trigger, &refusal, valid.now));
    }
    status.schedule = scheduled(valid, &status);
    Observed {
        again: again(valid, &status, applied.held),
        given_back: valid.around.loss().drill != Some(valid.uid),
        fault: valid.fault.clone(),
        status,
    }
}

fn step(valid: &ValidDrill, applied: &Applied, status: &mut DrillStatus) {
    match &valid.course {
        Course::Rest => {}
        Course::Refuse(trigger, refusal) => {
            take_up(status, trigger);
            if refusal.zone.is_some() {
                status.zone.clone_from(&refusal.zone);
            }
            keep(status, result::refused(trigger, refusal, valid.now));
        }
        Course::Claim(trigger, zone) => {
            take_up(status, trigger);
            status.zone = Some(zone.clone());
            status.run = Some(claimed(trigger, zone, valid.now));
        }
        Course::Finish => {
            if let Some(mut run) = status.run.take() {
                run.workers = measured(valid, &run.workers, None);
                keep(status, result::of_run(&run, &applied.executions, valid.now));
            }
        }
        Course::Await | Course::Take | Course::Hold | Course::Return(_) | Course::Restore => {
            if let Some(run) = &mut status.run {
                go_on(valid, applied, run);
            }
        }
    }
}

fn go_on(valid: &ValidDrill, applied: &Applied, run: &mut DrillRun) {
    match &valid.course {
        Course::Take => take(valid, &applied.executions, run),
        Course::Hold => {
            run.nodes = nodes(&valid.around.loss());
            run.workers = measured(valid, &run.workers, Some(&run.zone));
        }
        Course::Return(cut) => give_back(valid, cut.as_ref(), run),
        Course::Restore => {
            let gone = valid.around.loss().drill == Some(valid.uid);
            let lost = gone.then_some(run.zone.as_str());
            run.workers = measured(valid, &run.workers, lost);
        }
        Course::Rest | Course::Refuse(..) | Course::Claim(..) | Course::Await | Course::Finish => {}
    }
}

fn take_up(status: &mut DrillStatus, trigger: &Trigger) {
    if trigger.request.is_some() {
        status.request.clone_from(&trigger.request);
    }
    if trigger.record.is_some() {
        status.schedule.clone_from(&trigger.record);
    }
}

fn keep(status: &mut DrillStatus, result: DrillResult) {
    status.results.insert(0, result);
    status.results.truncate(MAX_RESULTS);
}

fn claimed(trigger: &Trigger, zone: &str, now: Timestamp) -> DrillRun {
    DrillRun {
        phase: DrillPhase::Claiming,
        zone: zone.to_owned(),
        request: trigger.request.clone(),
        scheduled: trigger.scheduled,
        begun: now,
        lost: None,
        returned: None,
        nodes: vec![],
        pods: 0,
        workers: vec![],
        running: 0,
        executions: vec![],
        held: 0,
        cut: None,
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn nodes(loss: &Loss) -> Vec<String> {
    let nodes = loss.nodes.iter().take(MAX_NODES);
    nodes.map(ToString::to_string).collect()
}

/// From here on the zone is lost. Written before the first pod is asked to leave.
fn take(valid: &ValidDrill, seen: &[Seen], run: &mut DrillRun) {
    let loss = valid.around.loss();
    let there = |one: &&Seen| {
        let node = one.node.as_deref().unwrap_or_default();
        one.well.is_none() && loss.nodes.contains(node)
    };
    let running: Vec<&Seen> = seen.iter().filter(there).collect();
    run.phase = DrillPhase::Lost;
    run.lost = Some(valid.now);
    run.nodes = nodes(&loss);
    run.pods = count(valid.staying(&run.zone).len());
    run.workers = baseline(valid);
    run.running = count(running.len());
    let followed = running.into_iter().take(MAX_FOLLOWED);
    run.executions = followed
        .map(|one| DrillExecution {
            name: one.name.clone(),
            attempt: one.attempt,
        })
        .collect();
}

fn give_back(valid: &ValidDrill, cut: Option<&Refusal>, run: &mut DrillRun) {
    if run.lost.is_some() {
        run.workers = measured(valid, &run.workers, Some(&run.zone));
        run.held = count(valid.staying(&run.zone).len());
    }
    run.phase = DrillPhase::Returning;
    run.returned = Some(valid.now);
    run.nodes = vec![];
    run.cut = cut.map(|cut| DrillCut {
        reason: cut.reason.as_str().to_owned(),
        message: shortened(cut.message.clone()),
    });
}

/// How far the schedule has come: what is behind another one, or was missed, is left out.
fn scheduled(
    valid: &ValidDrill,
    status: &DrillStatus,
) -> Option<crds::integration::ScheduleStatus> {
    let record = status.schedule.clone();
    if valid.fault.is_some() {
        return record;
    }
    let schedule = valid.terms.schedule.as_ref()?;
    let open = status.run.is_none() && !valid.terms.suspend;
    match schedule.step(record.as_ref(), open, valid.now) {
        Step::Keep(next) => Some(next),
        Step::Wait | Step::Create(_) => record,
    }
}

/// When to look again: at the next thing that only time brings about.
fn again(valid: &ValidDrill, status: &DrillStatus, held: usize) -> Duration {
    let now = valid.now;
    let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
    let Some(run) = &status.run else {
        let next = status
            .schedule
            .as_ref()
            .map(|it| until(it.next_schedule_time));
        let due = next.filter(|_| !valid.terms.suspend && valid.fault.is_none());
        return due.unwrap_or(AGAIN).clamp(LATER, AGAIN);
    };
    let step = match run.phase {
        DrillPhase::Claiming => RUNNING,
        DrillPhase::Lost => until(run.lost.unwrap_or(run.begun) + valid.terms.hold),
        DrillPhase::Returning => until(run.returned.unwrap_or(run.begun) + valid.terms.timeout),
    };
    let most = if held > 0 { HELD } else { RUNNING };
    (step + LATER).min(most)
}
