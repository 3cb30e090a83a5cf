//! An operator that dies after any write of a run leads to the same end as one that does not, and the
//! command begins as often; one that loses its lease leads again. Sandboxes are stand-ins that speak the
//! real protocol, see `tests::stand_in`: they count what they begin.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, eventually},
    crash::{Flavour, Write},
    stand_in::{Manner, Started, node},
};
use tokio::time::timeout;

use crate::{
    crashes::{FLAVOURS, State, quiet, rest},
    in_process::{Operator, Task},
    tenants::{LIMIT, difference, proven, tenant},
    workers::says,
};

/// How long after a run's end its last write may come.
const TRAILING: Duration = Duration::from_secs(2);
/// How many milliseconds without a write end what was before.
const CALM: u64 = 500;
/// How often a write is waited for again that was not made.
const ROUNDS: usize = 4;
/// Where sandboxes find the operator: nobody else listens on these addresses of the loopback.
const DOORS: [SocketAddr; 2] = [door(1), door(2)];
const TENANT: &str = "runs";
const EXECUTION: &str = "/apis/cloister.dev/v1alpha1/namespaces/tenant-runs/executions/one";

const fn door(number: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 2, number)), 7443)
}

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
    /// How many writes make it. There may be one more of an Execution's status where it is told that it
    /// waits, which depends on how long.
    writes: usize,
    /// It is canceled once its command has begun.
    canceled: bool,
}

fn stories() -> Vec<Story> {
    let story = |name, does, spec: Value, end, writes| Story {
        name,
        does,
        spec,
        end,
        writes,
        canceled: false,
    };
    let warm = json!({"warm": {"min": 1, "max": 1}});
    let canceled = story("canceled", "wait", json!({}), ("Canceled", 1), 5);
    vec![
        story("warm", "end", warm, ("Completed", 1), 5),
        story("cold", "end", json!({}), ("Completed", 1), 5),
        story("failed", "fail", json!({}), ("Failed", 1), 5),
        story("unproven", "end", json!({}), ("SandboxUnproven", 0), 4),
        story("late", "wait", json!({"timeout": "1s"}), ("TimedOut", 1), 5),
        story(
            "retried",
            "fail-once",
            json!({"retries": 1}),
            ("Completed", 2),
            10,
        ),
        Story {
            canceled: true,
            ..canceled
        },
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
    /// Waits until as many sandboxes stand as are to, and nothing else of the Integration does; gives the
    /// name of one.
    async fn ready(&self, story: &Story) -> Option<String> {
        let labels = format!("cloister.dev%2Fintegration%3D{}", story.name);
        let pods = format!("/api/v1/namespaces/tenant-runs/pods?labelSelector={labels}");
        let mut name = None;
        eventually(LIMIT, async || {
            let list = self.plane.get(&pods).await.unwrap();
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let stays = items.first().map(|pod| pod["metadata"]["name"].clone());
            name = stays.and_then(|name| name.as_str().map(ToOwned::to_owned));
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
        name
    }

    /// Waits until nothing is left of the sandbox that an Execution had.
    async fn swept(&self, found: &Value) {
        let Some(pod) = found["status"]["sandbox"]["pod"].as_str() else {
            return;
        };
        self.gone(&format!("/api/v1/namespaces/tenant-runs/pods/{pod}"))
            .await;
    }

    /// How many Executions name this Integration, as the API server selects them.
    async fn of_integration(&self, name: &str) -> usize {
        let namespace = "/apis/cloister.dev/v1alpha1/namespaces/tenant-runs";
        let path = format!("{namespace}/executions?fieldSelector=spec.integration%3D{name}");
        let list = self.plane.get(&path).await.unwrap();
        list["items"].as_array().map_or(0, Vec::len)
    }

    async fn gone(&self, path: &str) {
        eventually(LIMIT, async || match self.plane.get(path).await {
            Err(refusal) if refusal.code == 404 => Ok(()),
            other => Err(format!("{path} is still there: {other:?}")),
        })
        .await;
    }

    /// One run from its creation to its end, whoever leads meanwhile: what there is then, and in which
    /// sandbox it was.
    async fn run(&self, story: &Story) -> (State, Option<String>) {
        let made = self.plane.create(&story.execution()).await.unwrap();
        let uid = made["metadata"]["uid"].as_str().unwrap();
        for (name, count) in [(story.name, 1), ("another", 0)] {
            assert_eq!(self.of_integration(name).await, count, "of {name}");
        }
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
        self.swept(&found).await;
        self.ready(story).await;
        let state = state_of(&found, self.started.of(uid));
        self.plane.delete(EXECUTION, &Value::Null).await.unwrap();
        self.gone(EXECUTION).await;
        let sandbox = found["status"]["sandbox"]["pod"].as_str();
        (state, sandbox.map(ToOwned::to_owned))
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
async fn storm(stage: &Stage<'_>, operator: &mut Operator, story: &Story) {
    let at = story.name;
    stage.plane.apply(&story.integration()).await.unwrap();
    let standing = stage.ready(story).await;
    if story.warm() > 0 {
        says(stage.plane, &story.path(), "Warm", ("True", "Filled")).await;
    }
    let before = rest(operator, 0).await.len();
    let (expected, sandbox) = stage.run(story).await;
    let writes = rest(operator, before).await;
    let (reason, begun) = story.end;
    assert_eq!(expected["begun"], json!(begun), "{at}: {expected:?}");
    let ended = expected["conditions"].to_string();
    assert!(ended.contains(reason), "{at}: {ended}");
    assert!(standing.is_none() || standing == sandbox, "{at}: not warm");

    let writes = Write::all(&writes, TENANT).into_iter();
    let deaths: Vec<_> = writes
        .flat_map(|write| FLAVOURS.map(|flavour| (write.clone(), flavour)))
        .collect();
    let mut missed = Vec::new();
    for death in &deaths {
        let mut tries = 0..ROUNDS;
        while !crash(stage, operator, story, &expected, death).await {
            if tries.next().is_none() {
                missed.push(death);
                break;
            }
        }
    }
    let died = deaths.len() - missed.len();
    let told = |(write, _): &&(Write, Flavour)| write.request.ends_with("/executions/one/status");
    assert!(
        died >= FLAVOURS.len() * story.writes && missed.iter().all(told),
        "{at}: nobody died in {missed:#?}"
    );
    println!("{at}: {died} writes, done and not");
}

/// One run, in this write of which the operator dies, if there is such a one: whether there was.
async fn crash(
    stage: &Stage<'_>,
    operator: &mut Operator,
    story: &Story,
    expected: &State,
    death @ (write, flavour): &(Write, Flavour),
) -> bool {
    quiet(operator, CALM).await;
    operator.crash.arm_in(write, TENANT, *flavour);
    let mut run = pin!(stage.run(story));
    let (over, died) = tokio::select! {
        over = &mut run => {
            let died = timeout(TRAILING, operator.crash.dead()).await;
            (Some(over), died.is_ok())
        }
        () = operator.crash.dead() => (None, true),
    };
    operator.restart(stage.plane).await;
    let (found, _) = match over {
        Some(over) => over,
        None => run.await,
    };
    let differs = difference(expected, &found);
    assert_eq!(differs, None, "{}, {death:?}, {died}", story.name);
    died
}

/// A tenant whose runs are in sandboxes that are stand-ins.
async fn stage(plane: &ControlPlane, door: SocketAddr) -> (Stage<'_>, Operator, Task<()>) {
    node::make(plane).await;
    plane.pretend_probing_targets().await;
    let manner = Manner {
        unsound: Some("unproven"),
        ..Manner::sound(door)
    };
    let started = manner.started.clone();
    let kubelet = plane.node();
    let kubelet = Task::start(async move {
        let ended = node::run(kubelet, manner).await;
        println!("the stand-in for a node ended: {ended}");
    });
    let operator = Operator::dispatching(plane, door);
    plane.apply(&tenant(TENANT)).await.unwrap();
    proven(plane, TENANT).await;
    (Stage { plane, started }, operator, kubelet)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_a_run_leads_to_the_same_end_and_runs_nothing_twice() {
    let plane = ControlPlane::start().await;
    let (stage, mut operator, _kubelet) = stage(&plane, DOORS[0]).await;
    for story in stories() {
        storm(&stage, &mut operator, &story).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_lease_leads_again_in_the_same_process() {
    let plane = ControlPlane::start().await;
    let (stage, operator, _kubelet) = stage(&plane, DOORS[1]).await;
    let stories = stories();
    let story = &stories[1];
    plane.apply(&story.integration()).await.unwrap();
    let (first, _) = stage.run(story).await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/cloister-system/leases/cloister-operator";
    let taken = json!({"spec": {"holderIdentity": "somebody"}});
    plane.merge(lease, "somebody", &taken).await.unwrap();
    let holder = async || plane.get(lease).await.unwrap()["spec"]["holderIdentity"].clone();
    let writes = quiet(&operator, CALM).await.len();
    assert_eq!(holder().await, "somebody");
    eventually(LIMIT, async || {
        let now = operator.crash.writes().len();
        let holder = holder().await;
        if holder == "operator-0" {
            return Ok(());
        }
        assert_eq!(now, writes, "wrote without the lease");
        Err(format!("{holder} holds it"))
    })
    .await;
    let (second, _) = stage.run(story).await;
    assert_eq!(difference(&first, &second), None);
}
