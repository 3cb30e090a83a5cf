//! What else a cluster holds: other tenants, each proven, and objects of kinds that the operator watches
//! and that are nothing to it.
//!
//! In: how many. Out: when they are there.

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, pause},
    stand_in::node::must,
};

use super::Anything;

/// Made at once.
const PARALLEL: usize = 32;
/// Pause between two looks at a tenant, in milliseconds.
const LOOK: u64 = 500;
/// Looks before it is given up.
const LOOKS: usize = 1200;

/// Makes so many tenants, and waits until the operator has proven each.
pub(crate) async fn tenants(plane: &ControlPlane, count: usize) -> Result<(), Anything> {
    stream::iter(0..count)
        .map(|number| tenant(plane, number))
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}

async fn tenant(plane: &ControlPlane, number: usize) -> Result<(), Anything> {
    let name = format!("crowd-{number:05}");
    let tenant = json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
        "spec": {"members": [
            {"kind": "User", "name": format!("owner-{number}@example.com"), "role": "Owner"},
            {"kind": "Group", "name": format!("team-{number}"), "role": "User"},
        ]},
    });
    must(plane.create(&tenant).await)?;
    let path = format!("/apis/cloister.dev/v1alpha1/tenants/{name}");
    for _ in 0..LOOKS {
        pause(LOOK).await;
        if is_proven(&plane.get(&path).await.unwrap_or_default()) {
            if number % 1000 == 999 {
                eprintln!("tenant {} is proven", number + 1);
            }
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
