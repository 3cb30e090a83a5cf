//! Tenants as tests write them, and everything that there is of one, in comparable form.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, eventually};

/// Long enough for anything that ends at all, on a machine that does other things too.
pub const LIMIT: Duration = Duration::from_secs(40);

/// A Tenant that may be purged, with members of each role.
pub fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {
            "members": [
                {"kind": "User", "name": "ada@example.com", "role": "Owner"},
                {"kind": "Group", "name": "platform", "role": "Admin"},
                {"kind": "ServiceAccount", "namespace": "elsewhere", "name": "bot", "role": "User"},
            ],
            "deletionPolicy": "Purge",
        },
    })
}

/// The same with another value at a place in it.
pub fn with(mut tenant: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    tenant.pointer_mut(parent).unwrap()[key] = value;
    tenant
}

/// Where a Tenant lies.
pub fn path(tenant: &str) -> String {
    format!("/apis/cloister.dev/v1alpha1/tenants/{tenant}")
}

/// What a condition of the Tenant says: status and reason; `-` where there is none.
pub async fn condition(plane: &ControlPlane, tenant: &str, type_: &str) -> (String, String) {
    let object = plane.get(&path(tenant)).await.unwrap_or_default();
    let list = object["status"]["conditions"].as_array();
    let found = list.into_iter().flatten().find(|c| c["type"] == type_);
    let text = |key: &str| {
        found
            .and_then(|c| c[key].as_str())
            .unwrap_or("-")
            .to_owned()
    };
    (text("status"), text("reason"))
}

/// The message of a condition.
pub async fn message(plane: &ControlPlane, tenant: &str, type_: &str) -> String {
    let object = plane.get(&path(tenant)).await.unwrap_or_default();
    let list = object["status"]["conditions"].as_array();
    let found = list.into_iter().flatten().find(|c| c["type"] == type_);
    let message = found.and_then(|c| c["message"].as_str());
    message.unwrap_or_default().to_owned()
}

/// Waits until a condition says this, about the spec as it is now.
pub async fn says(plane: &ControlPlane, tenant: &str, type_: &str, status: &str, reason: &str) {
    eventually(LIMIT, async || {
        let object = plane.get(&path(tenant)).await.unwrap_or_default();
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let said = condition(plane, tenant, type_).await;
        if current && said == (status.to_owned(), reason.to_owned()) {
            return Ok(());
        }
        Err(format!(
            "{tenant} {type_} is {said:?}, not {status} {reason}: {object}"
        ))
    })
    .await;
}

/// Waits until a Tenant is ready and proven.
pub async fn proven(plane: &ControlPlane, tenant: &str) {
    says(plane, tenant, "IsolationVerified", "True", "Proven").await;
    says(plane, tenant, "AccessEnforced", "True", "BindingsInForce").await;
}

/// Everything that there is of a tenant, by path, without what no two objects share.
pub async fn state_of(plane: &ControlPlane, tenant: &str) -> BTreeMap<String, Value> {
    let inside = format!("namespaces/tenant-{tenant}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let lists = [
        "/apis/cloister.dev/v1alpha1/tenants".to_owned(),
        "/api/v1/namespaces".to_owned(),
        format!("/apis/networking.k8s.io/v1/{inside}/networkpolicies"),
        format!("/api/v1/{inside}/resourcequotas"),
        format!("/api/v1/{inside}/limitranges"),
        format!("/api/v1/{inside}/serviceaccounts"),
        format!("/api/v1/{inside}/pods"),
        format!("{rbac}/{inside}/rolebindings"),
        format!("{rbac}/clusterroles"),
        format!("{rbac}/clusterrolebindings"),
    ];
    let mut state = BTreeMap::new();
    for list in lists {
        let answer = plane.get(&list).await.unwrap();
        for mut object in answer["items"].as_array().cloned().unwrap_or_default() {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let scoped = list.contains(&inside);
            let namespace = format!("tenant-{tenant}");
            let ours = scoped && name != "default"
                || name == tenant
                || name == namespace
                || name.starts_with(&format!("cloister:tenant:{tenant}:"));
            if ours {
                normalize(&mut object);
                let key = format!("{list}/{name}").replace(tenant, "T");
                let text = object.to_string().replace(tenant, "T");
                state.insert(key, serde_json::from_str(&text).unwrap());
            }
        }
    }
    state
}

/// Removes identities, versions and times; managers stay, by name and operation.
fn normalize(object: &mut Value) {
    let is_tenant = object["spec"].get("members").is_some();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in ["uid", "resourceVersion", "creationTimestamp"] {
        metadata.remove(key);
    }
    if !is_tenant {
        metadata.remove("generation");
    }
    let fields = metadata.remove("managedFields").unwrap_or_default();
    let fields = fields.as_array().into_iter().flatten();
    let mut managers: Vec<String> = fields
        .filter(|entry| entry.get("subresource").is_none())
        .map(|entry| format!("{} {}", entry["manager"], entry["operation"]))
        .collect();
    managers.sort();
    metadata.insert("managers".to_owned(), json!(managers));
    for owner in metadata
        .get_mut("ownerReferences")
        .into_iter()
        .flat_map(list)
    {
        owner.as_object_mut().unwrap().remove("uid");
    }
    let Some(status) = object.get_mut("status").filter(|status| status.is_object()) else {
        return;
    };
    if !is_tenant {
        *status = Value::Null;
        return;
    }
    status["observedGeneration"] = json!("current");
    for condition in status.get_mut("conditions").into_iter().flat_map(list) {
        condition["lastTransitionTime"] = Value::Null;
        condition["observedGeneration"] = Value::Null;
    }
    if let Some(isolation) = status.get_mut("isolation") {
        isolation["boundary"] = Value::Null;
        for one in isolation.get_mut("evidence").into_iter().flat_map(list) {
            (one["time"], one["probe"]) = (Value::Null, Value::Null);
        }
    }
    object["metadata"]["generation"] = Value::Null;
}

fn list(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

/// Where two states differ, for a person.
pub fn difference(
    expected: &BTreeMap<String, Value>,
    found: &BTreeMap<String, Value>,
) -> Option<String> {
    let keys: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differing = keys
        .into_iter()
        .filter(|key| expected.get(*key) != found.get(*key))
        .map(|key| {
            format!(
                "{key}\n  expected {:?}\n  found    {:?}",
                expected.get(key),
                found.get(key)
            )
        });
    let text: Vec<String> = differing.collect();
    (!text.is_empty()).then(|| text.join("\n"))
}

/// Waits until nothing is left of a tenant, whatever kind.
pub async fn gone(plane: &ControlPlane, tenant: &str, limit: Duration) -> Duration {
    eventually(limit, async || {
        let left = state_of(plane, tenant).await;
        match left.first_key_value() {
            None => Ok(()),
            Some((path, object)) => Err(format!("{path} is left: {object}")),
        }
    })
    .await
}
