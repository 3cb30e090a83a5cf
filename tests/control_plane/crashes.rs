//! An operator that dies after any write leads to the same end as one that does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, eventually, pause},
    crash::{Flavour, Write},
};

use crate::{
    in_process::{Operator, allow_lease, pretend_probes},
    tenants::{self, LIMIT, difference, path, proven, says, state_of, tenant, with},
};

pub type State = BTreeMap<String, Value>;

pub const FLAVOURS: [Flavour; 2] = [Flavour::AnswerLost, Flavour::NeverSent];

/// One with what a proof needs, and both kernels.
pub async fn plane() -> ControlPlane {
    let plane = ControlPlane::start().await;
    plane
        .pretend_node("pretended", "zone-a", "203.0.113.9")
        .await;
    plane.pretend_probing_targets().await;
    let gvisor = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": {"name": "gvisor"}, "handler": "runsc"});
    plane.apply(&gvisor).await.unwrap();
    plane
}

/// Waits until a tenant is in this state.
async fn reaches(plane: &ControlPlane, name: &str, expected: &State) {
    eventually(LIMIT, async || {
        let found = state_of(plane, name).await;
        difference(expected, &found).map_or(Ok(()), Err)
    })
    .await;
}

/// By then an operator has made a write if it makes it at all, on a machine that does other things too.
const COMES: Duration = Duration::from_secs(15);

/// In which writes of an act operators are to die, and in which one has.
#[derive(Debug)]
pub struct Deaths {
    all: Vec<(Write, Flavour)>,
    had: BTreeSet<(String, Flavour)>,
    count: usize,
    comes: Duration,
}

impl Deaths {
    /// In each of these, which an operator made that did not die.
    pub fn of(writes: &[String], tenant: &str) -> Self {
        let all = Write::all(writes, tenant).into_iter();
        let all = all.flat_map(|write| FLAVOURS.map(|flavour| (write.clone(), flavour)));
        Self {
            all: all.collect(),
            had: BTreeSet::new(),
            count: 0,
            comes: COMES,
        }
    }

    /// These, of an act that takes as long as this.
    pub fn within(self, comes: Duration) -> Self {
        Self { comes, ..self }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Runs `act` on an operator that dies in the `n`-th of them, and a new operator after it; only runs
    /// `act` if there is no `n`-th.
    pub async fn crash<A: AsyncFnOnce()>(
        &mut self,
        plane: &ControlPlane,
        (operator, tenant): (&mut Operator, &str),
        n: usize,
        act: A,
    ) {
        let Some((write, flavour)) = self.all.get(n) else {
            act().await;
            return;
        };
        operator.crash.arm_in(write, tenant, *flavour);
        act().await;
        let died = tokio::time::timeout(self.comes, operator.crash.dead()).await;
        operator.restart(plane).await;
        if died.is_ok() {
            self.had.insert((write.request.clone(), *flavour));
            self.count += 1;
        }
    }

    /// How many there were. Fails if there is a write that nobody died in. One that is made again (the
    /// status of a removal, which says how far it is) may be made less often the next time, and the
    /// garbage collector may be faster than an operator's deletion.
    pub fn count(these: &[&Self]) -> usize {
        let had = |death: &(String, Flavour)| these.iter().any(|one| one.had.contains(death));
        for (write, flavour) in these.iter().flat_map(|one| &one.all) {
            let death = (write.request.clone(), *flavour);
            let collected = death.0.starts_with("DELETE ");
            assert!(
                had(&death) || collected,
                "nobody died in {death:?} of {these:#?}"
            );
        }
        these.iter().map(|one| one.count).sum()
    }
}

/// Lets an operator come to rest; returns what it wrote since `before`.
pub async fn rest(operator: &Operator, before: usize) -> Vec<String> {
    quiet(operator, 1200).await[before..].to_vec()
}

/// All that an operator has written, once it has written nothing for so many milliseconds.
pub async fn quiet(operator: &Operator, milliseconds: u64) -> Vec<String> {
    let mut count = usize::MAX;
    loop {
        let writes = operator.crash.writes();
        if writes.len() == count {
            return writes;
        }
        count = writes.len();
        pause(milliseconds).await;
    }
}

async fn apply(plane: &ControlPlane, object: &Value) {
    plane.apply(object).await.unwrap();
}

async fn purge(plane: &ControlPlane, name: &str) {
    plane.delete(&path(name), &Value::Null).await.unwrap();
}

/// What a tenant ends up as, by an operator that does not die, and the writes that made and
/// removed it.
async fn calm(plane: &ControlPlane, name: &str) -> (State, Vec<String>, Vec<String>) {
    allow_lease(plane, name).await;
    let operator = Operator::of(plane, name);
    apply(plane, &tenant(name)).await;
    proven(plane, name).await;
    let made = rest(&operator, 0).await;
    let state = state_of(plane, name).await;
    purge(plane, name).await;
    tenants::gone(plane, name, LIMIT).await;
    let removed = rest(&operator, made.len()).await;
    println!(
        "create {}: {made:#?}\ndelete {}: {removed:#?}",
        made.len(),
        removed.len()
    );
    (state, made, removed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_create_and_delete_changes_nothing() {
    let plane = plane().await;
    let _kubelet = pretend_probes(&plane);
    let (state, made, removed) = calm(&plane, "calm").await;
    let deaths = |writes: &[String]| Deaths::of(writes, "calm");
    let most = deaths(&made).len().max(deaths(&removed).len());
    let lane = async |lane: usize| {
        let name = format!("stormy-{lane}");
        allow_lease(&plane, &name).await;
        let mut operator = Operator::of(&plane, &name);
        let (mut creating, mut deleting) = (deaths(&made), deaths(&removed));
        for n in (lane..most).step_by(LANES) {
            let create = async || apply(&plane, &tenant(&name)).await;
            creating
                .crash(&plane, (&mut operator, &name), n, create)
                .await;
            reaches(&plane, &name, &state).await;
            let delete = async || purge(&plane, &name).await;
            deleting
                .crash(&plane, (&mut operator, &name), n, delete)
                .await;
            tenants::gone(&plane, &name, LIMIT).await;
        }
        (creating, deleting)
    };
    let lanes = join_all((0..LANES).map(lane)).await;
    let created = Deaths::count(&lanes.iter().map(|lane| &lane.0).collect::<Vec<_>>());
    let deleted = Deaths::count(&lanes.iter().map(|lane| &lane.1).collect::<Vec<_>>());
    println!(
        "create: {} writes, {created} crashes; delete: {} writes, {deleted} crashes",
        made.len(),
        removed.len()
    );
}

/// Runs side by side.
const LANES: usize = 3;

/// One change of each field of the spec that objects are made from.
fn changes() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "members",
            "/spec/members",
            json!([
                {"kind": "User", "name": "bob@example.com", "role": "Owner"},
                {"kind": "Group", "name": "platform", "role": "Owner"},
            ]),
        ),
        (
            "residency",
            "/spec/residency",
            json!({"regions": ["local-1"], "zones": ["zone-a"]}),
        ),
        ("limits", "/spec/limits", json!({"pods": 7, "cpu": "2"})),
        ("state", "/spec/state", json!("Suspended")),
        ("runtime", "/spec/isolation", json!({"runtime": "GVisor"})),
        (
            "egress",
            "/spec/isolation",
            json!({"egressCeiling":
            [{"cidr": "203.0.112.0/24", "ports": [{"port": 443}]}]}),
        ),
    ]
}

/// Waits until a tenant is proven, or as far as a suspended one comes.
async fn settled(plane: &ControlPlane, name: &str, changed: &Value) {
    if changed["spec"]["state"] == "Suspended" {
        says(plane, name, "Ready", "True", "Suspended").await;
    } else {
        proven(plane, name).await;
    }
}

/// There and back, with a crash in each write of both ways.
async fn storm(plane: &ControlPlane, field: &str, pointer: &str, value: Value) {
    let name = field;
    allow_lease(plane, name).await;
    let mut operator = Operator::of(plane, name);
    let (base, changed) = (tenant(name), with(tenant(name), pointer, value));
    apply(plane, &base).await;
    proven(plane, name).await;
    let mut ways = Vec::new();
    // Once around first, so that objects have been repaired as often as they will be.
    for _ in 0..2 {
        ways.clear();
        for object in [&changed, &base] {
            rest(&operator, 0).await;
            let before = operator.crash.writes().len();
            apply(plane, object).await;
            settled(plane, name, object).await;
            let writes = rest(&operator, before).await;
            let deaths = Deaths::of(&writes, name);
            ways.push((object, state_of(plane, name).await, deaths));
        }
    }
    let [there, back] = [ways[0].2.len(), ways[1].2.len()];
    assert!(there > 0 && back > 0, "a change that is not written");
    for n in 0..there.max(back) {
        for (object, state, deaths) in &mut ways {
            let act = async || apply(plane, object).await;
            deaths.crash(plane, (&mut operator, name), n, act).await;
            reaches(plane, name, state).await;
        }
    }
    let crashes: usize = ways.iter().map(|way| Deaths::count(&[&way.2])).sum();
    println!("{field}: {there} to die in there, {back} back, {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_a_change_changes_nothing() {
    let plane = plane().await;
    let _kubelet = pretend_probes(&plane);
    let mut changes = changes();
    while !changes.is_empty() {
        let few = changes.split_off(changes.len().saturating_sub(LANES));
        join_all(
            few.into_iter()
                .map(|(field, pointer, value)| storm(&plane, field, pointer, value)),
        )
        .await;
    }
}
