//! What else a cluster holds: other tenants, each proven, and objects of kinds that the operator watches
//! and that are nothing to it.
//!
//! In: how many. Out: when they are there.

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, pause},
    measure::crowd::{CLUSTER_BINDING, Copy, Model},
    stand_in::node::must,
};

use super::{Anything, operator::Recipe};

/// Made at once.
const PARALLEL: usize = 32;
/// Pause between two looks at a tenant, in milliseconds.
const LOOK: u64 = 500;
/// Looks before it is given up.
const LOOKS: usize = 1200;

const TENANTS: &str = "/apis/cloister.dev/v1alpha1/tenants";

/// Makes so many tenants, each of them proven: the first by the operator, the others as copies of all
/// there is to it, which a client writes that does nothing else.
pub(crate) async fn tenants(
    plane: &ControlPlane,
    recipe: &Recipe,
    count: usize,
) -> Result<(), Anything> {
    if count == 0 {
        return Ok(());
    }
    recipe.run_for(tenant(plane, 0)).await?;
    let model = Model::read(plane.admin(), plane.unasked_operator(), &name(0)).await?;
    let copies = stream::iter(1..count).map(async |number| {
        let copy = model
            .copy(name(number), |kind| kind != CLUSTER_BINDING)
            .await?;
        if number % 1000 == 999 {
            eprintln!("{} tenants", number + 1);
        }
        Ok::<_, Anything>(copy)
    });
    let copies: Vec<Copy> = copies.buffer_unordered(PARALLEL).try_collect().await?;
    // Last, for they slow down everybody who is asked for rights.
    stream::iter(&copies)
        .map(|copy| model.furnish(copy, |kind| kind == CLUSTER_BINDING))
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("crowd-{number:05}")
}

fn object(number: usize) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name(number)},
        "spec": {"members": [
            {"kind": "User", "name": "owner@example.com", "role": "Owner"},
            {"kind": "Group", "name": "team", "role": "User"},
        ]},
    })
}

async fn tenant(plane: &ControlPlane, number: usize) -> Result<(), Anything> {
    let name = name(number);
    must(plane.create(&object(number)).await)?;
    let path = format!("{TENANTS}/{name}");
    for _ in 0..LOOKS {
        pause(LOOK).await;
        if is_proven(&plane.get(&path).await.unwrap_or_default()) {
            return Ok(());
        }
    }
    Err(format!("{name} was not proven in time").into())
}

fn is_proven(tenant: &Value) -> bool {
    let conditions = tenant["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one["type"] == "IsolationVerified" && one["status"] == "True")
}

/// Makes so many objects of others: service accounts and network policies, in turn.
pub(crate) async fn foreign(plane: &ControlPlane, count: usize) -> Result<(), Anything> {
    stream::iter(0..count)
        .map(async |number| {
            let meta = json!({"name": format!("foreign-{number}"), "namespace": "default"});
            let object = if number % 2 == 0 {
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
            } else {
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                    "metadata": meta, "spec": {"podSelector": {"matchLabels": {"app": "other"}},
                        "policyTypes": ["Ingress"]}})
            };
            must(plane.create(&object).await)
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}
