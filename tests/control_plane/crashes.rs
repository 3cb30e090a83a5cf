//! An operator that dies after any write leads to the same end as one that does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, eventually, pause},
    crash::Flavour,
};

use crate::{
    in_process::{Operator, allow_lease, pretend_probes},
    tenants::{self, LIMIT, difference, path, proven, says, state_of, tenant, with},
};

pub type State = BTreeMap<String, Value>;

pub const FLAVOURS: [Flavour; 2] = [Flavour::AnswerLost, Flavour::NeverSent];

async fn plane() -> ControlPlane {
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

/// Runs `act` on an operator that dies in its `n`-th write, and a new operator after it.
/// Says whether there was an `n`-th write.
pub async fn crash<A: AsyncFnOnce()>(
    plane: &ControlPlane,
    operator: &mut Operator,
    (n, flavour): (usize, Flavour),
    act: A,
) -> bool {
    operator.crash.arm(n, flavour);
    act().await;
    let died = tokio::time::timeout(Duration::from_secs(6), operator.crash.dead()).await;
    operator.restart(plane).await;
    died.is_ok()
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

/// In how many writes an operator has died at the least, of those that it made when it did
/// not die. One made again (the status of a removal, which says how far it is) may be one
/// fewer the next time; a write that no run has died in is a hole.
pub fn least(writes: &[String]) -> usize {
    let different: BTreeSet<&String> = writes.iter().collect();
    (FLAVOURS.len() * different.len()).saturating_sub(FLAVOURS.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_create_and_delete_changes_nothing() {
    let plane = plane().await;
    let _kubelet = pretend_probes(&plane);
    let (state, made, removed) = calm(&plane, "calm").await;
    let (least_made, least_removed) = (least(&made), least(&removed));
    let (made, removed) = (made.len(), removed.len());
    let runs: Vec<(usize, Flavour)> = (1..=made.max(removed))
        .flat_map(|n| FLAVOURS.map(|flavour| (n, flavour)))
        .collect();
    let lane = async |lane: usize| {
        let name = format!("stormy-{lane}");
        allow_lease(&plane, &name).await;
        let mut operator = Operator::of(&plane, &name);
        let (mut created, mut deleted) = (0, 0);
        for run in runs.iter().skip(lane).step_by(LANES) {
            let create = async || apply(&plane, &tenant(&name)).await;
            if run.0 <= made {
                let died = crash(&plane, &mut operator, *run, create).await;
                created += usize::from(died);
            } else {
                create().await;
            }
            reaches(&plane, &name, &state).await;
            let delete = async || purge(&plane, &name).await;
            if run.0 <= removed {
                let died = crash(&plane, &mut operator, *run, delete).await;
                deleted += usize::from(died);
            } else {
                delete().await;
            }
            tenants::gone(&plane, &name, LIMIT).await;
        }
        (created, deleted)
    };
    let counts = join_all((0..LANES).map(lane)).await;
    let created: usize = counts.iter().map(|count| count.0).sum();
    let deleted: usize = counts.iter().map(|count| count.1).sum();
    println!(
        "create: {made} writes, {created} crashes; delete: {removed} writes, {deleted} crashes"
    );
    assert!(created >= least_made, "{created} crashes of {least_made}");
    assert!(
        deleted >= least_removed,
        "{deleted} crashes of {least_removed}"
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
            ways.push((object, state_of(plane, name).await, writes));
        }
    }
    let [there, back] = [ways[0].2.len(), ways[1].2.len()];
    assert!(there > 0 && back > 0, "a change that is not written");
    let least: usize = ways.iter().map(|way| least(&way.2)).sum();
    let most = there.max(back);
    let mut crashes = 0;
    for n in 1..=most {
        for flavour in FLAVOURS {
            for (object, state, writes) in &ways {
                let act = async || apply(plane, object).await;
                if n <= writes.len() {
                    let died = crash(plane, &mut operator, (n, flavour), act).await;
                    crashes += usize::from(died);
                } else {
                    act().await;
                }
                reaches(plane, name, state).await;
            }
        }
    }
    println!("{field}: {there} writes there, {back} back, {crashes} crashes");
    assert!(crashes >= least, "{field}: {crashes} crashes of {least}");
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
