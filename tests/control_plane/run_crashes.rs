//! An operator that dies after any write of a run leads to the same end as one that does not, and the
//! command begins as often. Sandboxes are stand-ins that speak the real protocol, see
//! `tests::stand_in`: they count what they begin.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join;
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, eventually},
    crash::Flavour,
    stand_in::{Manner, Started, node},
};
use tokio::time::timeout;

use crate::{
    crashes::{FLAVOURS, State, least, rest},
    in_process::{Operator, Task, free_door},
    tenants::{LIMIT, difference, proven, tenant},
    workers::says,
};

/// How long a write may be waited for, in which the operator is to die.
const PATIENCE: Duration = Duration::from_secs(4);
const EXECUTION: &str = "/apis/cloister.dev/v1alpha1/namespaces/tenant-runs/executions/one";

/// What a run may be.
struct Story {
    /// Of the Integration.
    name: &'static str,
    /// The first argument, by which the stand-in's command behaves.
    does: &'static str,
    /// Of the Integration's spec, beyond what it must have.
    spec: Value,
    /// Reason of `Succeeded`, after so many beginnings.
    end: (&'static str, u32),
    /// It is canceled once its command has begun.
    canceled: bool,
}

fn stories() -> Vec<Story> {
    let story = |name, does, spec: Value, end| Story {
        name,
        does,
        spec,
        end,
        canceled: name == "canceled",
    };
    vec![
        story(
            "warm",
            "end",
            json!({"warm": {"min": 1, "max": 1}}),
            ("Completed", 1),
        ),
        story("cold", "end", json!({}), ("Completed", 1)),
        story("failed", "fail", json!({}), ("Failed", 1)),
        story("unproven", "end", json!({}), ("SandboxUnproven", 0)),
        story("canceled", "wait", json!({}), ("Canceled", 1)),
        story("late", "wait", json!({"timeout": "1s"}), ("TimedOut", 1)),
        story(
            "retried",
            "fail-once",
            json!({"retries": 1}),
            ("Completed", 2),
        ),
    ]
}

impl Story {
    fn integration(&self) -> Value {
        let mut spec = json!({"image": "hello", "command": ["/hello"], "args": [self.does],
            "ttl": "720h", "resources": {"cpu": "10m", "memory": "32Mi", "scratch": "1Mi"}});
        for (field, value) in self.spec.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({"apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
            "metadata": {"name": self.name, "namespace": "tenant-runs"}, "spec": spec})
    }

    fn execution(&self) -> Value {
        json!({"apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
            "metadata": {"name": "one", "namespace": "tenant-runs"},
            "spec": {"integration": self.name, "input": "{}"}})
    }

    fn path(&self) -> String {
        let namespace = "/apis/cloister.dev/v1alpha1/namespaces/tenant-runs";
        format!("{namespace}/integrations/{}", self.name)
    }

    fn warm(&self) -> usize {
        usize::from(self.spec.get("warm").is_some())
    }
}

/// Where it happens.
struct Stage<'a> {
    plane: &'a ControlPlane,
    started: Started,
}

impl Stage<'_> {
    /// Waits until as many sandboxes stand as are to, proven.
    async fn ready(&self, story: &Story) {
        let labels = format!("cloister.dev%2Fintegration%3D{}", story.name);
        let pods = format!("/api/v1/namespaces/tenant-runs/pods?labelSelector={labels}");
        eventually(LIMIT, async || {
            let list = self.plane.get(&pods).await.unwrap();
            let items = list["items"].as_array().cloned().unwrap_or_default();
            if items.len() == story.warm() {
                return Ok(());
            }
            Err(format!(
                "{}: {} sandboxes: {items:?}",
                story.name,
                items.len()
            ))
        })
        .await;
        if story.warm() > 0 {
            says(self.plane, &story.path(), "Warm", ("True", "Filled")).await;
        }
    }

    /// One run from its creation to its end, whoever leads meanwhile, and what there is then.
    async fn run(&self, story: &Story) -> State {
        let made = self.plane.create(&story.execution()).await.unwrap();
        let uid = made["metadata"]["uid"].as_str().unwrap();
        if story.canceled {
            eventually(LIMIT, async || match self.started.of(uid) {
                0 => Err("nothing has begun".to_owned()),
                _ => Ok(()),
            })
            .await;
            let cancel = json!({"spec": {"cancel": "Requested"}});
            let canceled = self.plane.merge(EXECUTION, "somebody", &cancel).await;
            canceled.unwrap();
        }
        let mut found = Value::Null;
        eventually(LIMIT, async || {
            found = self.plane.get(EXECUTION).await.unwrap();
            if found["status"]["conditions"][0]["status"] == "Unknown"
                || found["status"]["times"]["ended"].is_null()
            {
                return Err(format!("{} has not ended: {found}", story.name));
            }
            Ok(())
        })
        .await;
        self.ready(story).await;
        let state = state_of(&found, self.started.of(uid));
        self.plane.delete(EXECUTION, &Value::Null).await.unwrap();
        eventually(LIMIT, async || match self.plane.get(EXECUTION).await {
            Ok(left) => Err(format!("it is still there: {left}")),
            Err(_) => Ok(()),
        })
        .await;
        state
    }
}

/// What does not differ from one run to the next.
fn state_of(found: &Value, begun: u32) -> State {
    let status = &found["status"];
    let list = status["conditions"].as_array().into_iter().flatten();
    let conditions: Vec<_> = list
        .map(|one| json!([one["type"], one["status"], one["reason"]]))
        .collect();
    BTreeMap::from([
        ("conditions".to_owned(), json!(conditions)),
        ("attempt".to_owned(), status["attempt"].clone()),
        ("exit code".to_owned(), status["exitCode"].clone()),
        ("begun".to_owned(), json!(begun)),
    ])
}

/// The story once by an operator that does not die, and then with a death in each write of it.
async fn storm(stage: &Stage<'_>, operator: &mut Operator, story: &Story) -> (usize, usize) {
    stage.plane.apply(&story.integration()).await.unwrap();
    stage.ready(story).await;
    rest(operator, 0).await;
    let before = operator.crash.writes().len();
    let expected = stage.run(story).await;
    let writes = rest(operator, before).await;
    let (reason, begun) = story.end;
    assert_eq!(
        expected["begun"],
        json!(begun),
        "{}: {expected:?}",
        story.name
    );
    let ended = expected["conditions"].to_string();
    assert!(ended.contains(reason), "{}: {ended}", story.name);
    let mut crashes = 0;
    for n in 1..=writes.len() {
        for flavour in FLAVOURS {
            crashes += usize::from(crash(stage, operator, story, &expected, (n, flavour)).await);
        }
    }
    let least = least(&writes);
    println!(
        "{}: {} writes, {crashes} crashes: {writes:#?}",
        story.name,
        writes.len()
    );
    (crashes, least)
}

/// One run, in the n-th write of which the operator dies, if there is one.
async fn crash(
    stage: &Stage<'_>,
    operator: &mut Operator,
    story: &Story,
    expected: &State,
    (n, flavour): (usize, Flavour),
) -> bool {
    operator.crash.arm(n, flavour);
    let death = async {
        let died = timeout(PATIENCE, operator.crash.dead()).await;
        operator.restart(stage.plane).await;
        died.is_ok()
    };
    let (died, found) = join(death, stage.run(story)).await;
    let differs = difference(expected, &found);
    let at = format!("{}, write {n}, {flavour:?}, died: {died}", story.name);
    assert_eq!(differs, None, "{at}");
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_a_run_leads_to_the_same_end_and_runs_nothing_twice() {
    let plane = ControlPlane::start().await;
    node::make(&plane).await;
    plane.pretend_probing_targets().await;
    let door = free_door();
    let manner = Manner {
        unsound: Some("unproven"),
        ..Manner::sound(door)
    };
    let started = manner.started.clone();
    let kubelet = plane.node();
    let _kubelet = Task::start(async move { node::run(kubelet, manner).await.to_string() });
    let mut operator = Operator::dispatching(&plane, door);
    plane.apply(&tenant("runs")).await.unwrap();
    proven(&plane, "runs").await;
    let stage = Stage {
        plane: &plane,
        started,
    };
    for story in stories() {
        let (crashes, least) = storm(&stage, &mut operator, &story).await;
        assert!(
            crashes >= least,
            "{}: {crashes} crashes of {least}",
            story.name
        );
    }
}
