//! Clients that each make something, wait for its end, and make the next one: a closed loop.
//!
//! In: what a [`Job`] is, how many clients, until when. Out: when each began and ended, from the
//! moment it was asked for. One watch tells all clients; nobody polls.

use std::{
    cell::RefCell,
    collections::HashMap,
    error::Error,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{StreamExt, channel::oneshot, future::join_all};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::watcher::{self, watcher},
};
use serde_json::Value;
use tokio::time::timeout;

use super::{Spread, now, per_minute};
use crate::control_plane::pause;

/// Whatever goes wrong ends a benchmark.
pub type Anything = Box<dyn Error + Send + Sync>;

/// Label of each that is made; its value is the part of the benchmark that makes it.
pub const PART_LABEL: &str = "bench";

/// How long one may take before it counts as lost.
const LOST: Duration = Duration::from_mins(2);

/// What is made again and again.
pub trait Job {
    /// Its kind.
    fn kind(&self) -> ApiResource;
    /// Where it is made.
    fn namespace(&self) -> &str;
    /// Makes one of this name, labelled with its part.
    fn make(&self, part: &str, name: &str) -> impl Future<Output = Result<(), Anything>>;
    /// What came of one: nothing yet, or when it began, in milliseconds since 1970 if that is
    /// known, or what is wrong with it.
    fn outcome(&self, object: &DynamicObject) -> Option<Result<Option<f64>, String>>;
    /// Puts one away that has ended, if that is to be done.
    fn clear(&self, name: &str) -> impl Future<Output = Result<(), Anything>>;
}

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients.
    pub clients: usize,
    /// Things of all of them at most.
    pub most: usize,
    /// Nobody begins another one after this.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// From the request to the beginning, where that is known.
    pub begun: Spread,
    /// From the request to the sight of its end.
    pub ended: Spread,
    /// Milliseconds that it all took, to the end of the last.
    pub took: f64,
    /// What went wrong with those that did not end well.
    pub faults: Vec<String>,
    /// The last that ended well, whole.
    pub last: Value,
    asked: usize,
}

impl Outcome {
    /// How many ended well in a minute.
    pub fn rate(&self) -> f64 {
        per_minute(self.ended.count(), self.took)
    }

    /// Says what went wrong, if anything did.
    pub fn complain(&self, what: &str) {
        if let Some(fault) = self.faults.first() {
            let count = self.faults.len();
            println!("NOT WELL: {what}: {count} did not end well; one: {fault}");
        }
    }

    fn note(&mut self, came: Result<Option<f64>, String>, created: f64, seen: f64) {
        match came {
            Ok(begun) => {
                if let Some(begun) = begun {
                    self.begun.add(begun - created);
                }
                self.ended.add(seen - created);
            }
            Err(fault) => self.faults.push(fault),
        }
    }
}

/// Who waits for which.
type Waiting = RefCell<HashMap<String, oneshot::Sender<DynamicObject>>>;

/// One closed loop under way.
struct Loop<'a, J> {
    job: &'a J,
    part: &'a str,
    load: Load,
    until: Instant,
    waiting: Waiting,
    outcome: RefCell<Outcome>,
}

/// Runs it to its end. `part` begins the name of each that is made.
///
/// # Errors
/// If one cannot be made or put away, or the watch ends.
pub async fn run<J: Job>(
    client: &Client,
    job: &J,
    part: &str,
    load: Load,
) -> Result<Outcome, Anything> {
    let turn = Loop {
        job,
        part,
        load,
        until: Instant::now() + load.time,
        waiting: Waiting::default(),
        outcome: RefCell::default(),
    };
    let begun = now();
    let clients = async {
        let ends = join_all((0..load.clients).map(|_| turn.client())).await;
        ends.into_iter().collect::<Result<Vec<()>, _>>()
    };
    tokio::select! {
        ends = clients => drop(ends?),
        error = turn.tell(client) => return Err(error),
    }
    let mut outcome = turn.outcome.into_inner();
    outcome.took = now() - begun;
    Ok(outcome)
}

impl<J: Job> Loop<'_, J> {
    async fn client(&self) -> Result<(), Anything> {
        while let Some(name) = self.next() {
            let (tell, told) = oneshot::channel();
            self.waiting.borrow_mut().insert(name.clone(), tell);
            let created = now();
            self.job.make(self.part, &name).await?;
            let ended = timeout(LOST, told).await;
            let seen = now();
            {
                let mut outcome = self.outcome.borrow_mut();
                match ended {
                    Ok(Ok(object)) => {
                        if let Some(came) = self.job.outcome(&object) {
                            outcome.note(came, created, seen);
                        }
                        outcome.last = serde_json::to_value(object)?;
                    }
                    _ => outcome.faults.push(format!("{name}: no end in {LOST:?}")),
                }
            }
            self.job.clear(&name).await?;
        }
        Ok(())
    }

    /// The name of the next one, if there is to be one.
    fn next(&self) -> Option<String> {
        let mut outcome = self.outcome.borrow_mut();
        if Instant::now() >= self.until || outcome.asked >= self.load.most {
            return None;
        }
        outcome.asked += 1;
        Some(format!("{}-{}", self.part, outcome.asked))
    }

    /// Tells who waits. Ends only in failure.
    async fn tell(&self, client: &Client) -> Anything {
        let kind = self.job.kind();
        let api =
            Api::<DynamicObject>::namespaced_with(client.clone(), self.job.namespace(), &kind);
        let only = watcher::Config::default().labels(&format!("{PART_LABEL}={}", self.part));
        let mut events = pin!(watcher(api, only));
        loop {
            match events.next().await {
                Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                    if self.job.outcome(&object).is_some()
                        && let Some(tell) = self.waiting.borrow_mut().remove(&object.name_any())
                    {
                        // Who gave up does not listen.
                        let _ = tell.send(object);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    eprintln!("the watch of the closed loop: {error}");
                    pause(200).await;
                }
                None => return "the watch of the closed loop ended".into(),
            }
        }
    }
}

/// What came of an Execution. It began when its command says so in its result, or else when the
/// sandbox said so, by the operator's clock.
pub fn of_execution(object: &DynamicObject) -> Option<Result<Option<f64>, String>> {
    let status = &object.data["status"];
    let conditions = status["conditions"].as_array()?;
    let said = conditions.iter().find(|one| one["type"] == "Succeeded")?;
    if said["status"] == "Unknown" {
        return None;
    }
    if said["reason"] != "Completed" {
        return Some(Err(format!("{}: {said}", object.name_any())));
    }
    let result = status["result"].as_str().unwrap_or_default();
    let result: Value = serde_json::from_str(result).unwrap_or_default();
    let started = || {
        let text = status["times"]["started"].as_str()?;
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(time.as_duration().as_secs_f64() * 1000.0)
    };
    let told = result["begunUs"].as_f64().map(|us| us / 1000.0);
    Some(Ok(told.or_else(started)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn execution(status: &str, reason: &str, more: &Value) -> DynamicObject {
        let mut object = json!({"metadata": {"name": "one"}, "status": more});
        object["status"]["conditions"] =
            json!([{"type": "Succeeded", "status": status, "reason": reason}]);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_has_not_ended_came_to_nothing_yet() {
        assert_eq!(
            of_execution(&execution("Unknown", "Running", &json!({}))),
            None
        );
        let blank = serde_json::from_value(json!({"metadata": {"name": "one"}})).unwrap();
        assert_eq!(of_execution(&blank), None);
    }

    #[test]
    fn the_commands_own_word_counts_before_the_sandboxs() {
        let started = json!({"times": {"started": "1970-01-01T00:00:02Z"}});
        let both = json!({"result": "{\"begunUs\":1500000}", "times": started["times"]});
        let came = |more| of_execution(&execution("True", "Completed", more)).unwrap();
        assert_eq!(came(&both), Ok(Some(1500.0)));
        assert_eq!(came(&started), Ok(Some(2000.0)));
        assert_eq!(came(&json!({"result": "words"})), Ok(None));
    }

    #[test]
    fn what_ended_in_another_way_is_a_fault() {
        let failed = of_execution(&execution("False", "Failed", &json!({})));
        assert!(matches!(failed, Some(Err(fault)) if fault.starts_with("one: ")));
    }
}
