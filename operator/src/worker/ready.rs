//! Whether as many run as were asked for, and if not, why: the API's own words where it has any.
//! Pure.

use crds::{condition::Verdict, worker::WorkerReason};

use super::{
    validate::{Course, ValidWorker},
    zones::Pod,
};
use crate::{names, world::facts::Trouble};

type Said = (Verdict, WorkerReason, String);

/// What is known of how far it has come.
pub struct Progress<'a> {
    /// Pods that have not ended.
    pub pods: &'a [Pod<'a>],
    /// Fingerprint of what they are to be made from.
    pub revision: &'a str,
}

/// What is to be said.
pub fn ready(valid: &ValidWorker, progress: &Progress<'_>) -> Said {
    if valid.course == Course::Stop {
        return stopped(progress);
    }
    let whole = is_whole(valid, progress);
    match &valid.course {
        Course::Hold(WorkerReason::TenantSuspended, message) if whole => (
            Verdict::True,
            WorkerReason::TenantSuspended,
            message.clone(),
        ),
        Course::Keep | Course::Stop | Course::Hold(..) if whole => {
            let message = "as many as were asked for are ready";
            (Verdict::True, WorkerReason::Running, message.to_owned())
        }
        Course::Hold(reason, message) => (Verdict::False, *reason, message.clone()),
        Course::Keep | Course::Stop => {
            let (reason, message) = obstacle(valid, progress);
            (Verdict::False, reason, message)
        }
    }
}

fn stopped(progress: &Progress<'_>) -> Said {
    let message = if progress.pods.is_empty() {
        "by spec.suspend none run; to have them run, set it to false"
    } else {
        "by spec.suspend none are to run; those that still do have been asked to end"
    };
    (Verdict::False, WorkerReason::Suspended, message.to_owned())
}

/// As many as asked for are ready, all of the version that the spec asks for, and no other is left.
fn is_whole(valid: &ValidWorker, progress: &Progress<'_>) -> bool {
    let Some(live) = valid.workload() else {
        return false;
    };
    let good = progress.pods.iter().filter(|pod| pod.ready && pod.newest);
    let wanted = usize::try_from(valid.terms.replicas).unwrap_or_default();
    let others = progress.pods.iter().any(|pod| !pod.newest);
    !live.behind && *live.revision == *progress.revision && good.count() >= wanted && !others
}

/// What is in the way of those that are missing.
fn obstacle(valid: &ValidWorker, progress: &Progress<'_>) -> (WorkerReason, String) {
    let newest = progress.pods.iter().filter(|pod| pod.newest);
    // The least of all words, so that they stay the same while several say several things.
    let trouble = newest.filter_map(|pod| pod.live.replica.as_ref()?.trouble.as_ref());
    let trouble = trouble.min();
    let live = valid.workload();
    let failure = live.and_then(|live| live.failure.as_deref()).map(lasting);
    let stuck = live.and_then(|live| live.stuck.as_deref());
    let old_serves = progress.pods.iter().any(|pod| !pod.newest && pod.ready);
    // No pod can be made: that is why, whatever those say that are there.
    let trouble = trouble.filter(|_| failure.is_none());
    let (reason, words) = match (trouble, failure.or(stuck)) {
        (Some(Trouble::Unschedulable(words)), _) => match &valid.lacking {
            Some(lacking) => (WorkerReason::InvalidSpec, lacking.clone()),
            None => (WorkerReason::Unschedulable, words.to_string()),
        },
        (Some(Trouble::NotStarted(words)), _) => (WorkerReason::Unavailable, words.to_string()),
        (None, Some(words)) => (WorkerReason::Unavailable, words.to_owned()),
        (None, None) => return (WorkerReason::Progressing, on_their_way(valid, progress)),
    };
    if old_serves {
        let message =
            format!("the new version does not come up, and the old one serves on: {words}");
        return (WorkerReason::RolloutBlocked, message);
    }
    (reason, words)
}

/// What is said while nothing says what is in the way. Of a `StatefulSet`, events alone do.
fn on_their_way(valid: &ValidWorker, progress: &Progress<'_>) -> String {
    let wanted = usize::try_from(valid.terms.replicas).unwrap_or_default();
    let missing = progress.pods.len() < wanted && valid.workload().is_some_and(|live| !live.behind);
    if valid.terms.volumes.is_empty() || !missing {
        return "some are on their way".to_owned();
    }
    format!(
        "some are on their way; if it stays so, see what keeps them (quota, admission) by kubectl \
         -n {} describe statefulset {}",
        valid.namespace,
        names::worker(&valid.name)
    )
}

/// Words without what a quota counts at the moment.
fn lasting(words: &str) -> &str {
    let counted = words.find(", requested: ");
    &words[..counted.unwrap_or(words.len())]
}
