//! What else a cluster holds: other tenants, each proven, and objects of kinds that the operator watches
//! and that are nothing to it.
//!
//! In: how many. Out: when they are there.

use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tests::{
    control_plane::{Answer, ControlPlane, path_of, pause, send},
    stand_in::node::must,
};

use super::{Anything, operator::Recipe};

/// Made at once.
const PARALLEL: usize = 32;
/// Pause between two looks at a tenant, in milliseconds.
const LOOK: u64 = 500;
/// Looks before it is given up.
const LOOKS: usize = 1200;

/// Lists of a tenant's children, in the order of writing: kind, API version, where in the API.
const CHILDREN: [(&str, &str, &str); 8] = [
    ("Namespace", "v1", "/api/v1/namespaces"),
    (
        "NetworkPolicy",
        "networking.k8s.io/v1",
        "/apis/networking.k8s.io/v1/networkpolicies",
    ),
    ("ResourceQuota", "v1", "/api/v1/resourcequotas"),
    ("LimitRange", "v1", "/api/v1/limitranges"),
    ("ServiceAccount", "v1", "/api/v1/serviceaccounts"),
    (
        "RoleBinding",
        RBAC,
        "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    ),
    (
        "ClusterRole",
        RBAC,
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    ),
    (
        CLUSTER_BINDING,
        RBAC,
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ),
];
const CLUSTER_BINDING: &str = "ClusterRoleBinding";
const RBAC: &str = "rbac.authorization.k8s.io/v1";
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
    let model = Model::read(plane).await?;
    let copies = stream::iter(1..count).map(|number| model.copy(number));
    let copies: Vec<(String, String)> = copies.buffer_unordered(PARALLEL).try_collect().await?;
    // Last, for the API server reads each of these to answer any question of what the operator may do.
    stream::iter(&copies)
        .map(|copy| model.children(copy, |kind| kind == CLUSTER_BINDING))
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}

/// A tenant to copy.
struct Model {
    admin: Client,
    operator: Client,
    name: String,
    uid: String,
    status: Value,
    children: Vec<Value>,
}

impl Model {
    async fn read(plane: &ControlPlane) -> Result<Self, Anything> {
        let name = name(0);
        let mut children = Vec::new();
        for (kind, version, list) in CHILDREN {
            let list = format!("{list}?labelSelector=cloister.dev%2Ftenant%3D{name}");
            let list = must(plane.get(&list).await)?;
            for mut child in list["items"].as_array().cloned().into_iter().flatten() {
                let metadata = child["metadata"].as_object_mut().ok_or("no metadata")?;
                for given in [
                    "uid",
                    "resourceVersion",
                    "creationTimestamp",
                    "managedFields",
                ] {
                    metadata.remove(given);
                }
                child["kind"] = json!(kind);
                child["apiVersion"] = json!(version);
                child["status"] = Value::Null;
                children.push(child);
            }
        }
        let object = must(plane.get(&format!("{TENANTS}/{name}")).await)?;
        Ok(Self {
            admin: plane.admin(),
            operator: plane.operator(),
            uid: object["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            status: object["status"].clone(),
            name,
            children,
        })
    }

    /// The Tenant, its finalizer, each child but one, its status. Gives its name and UID.
    async fn copy(&self, number: usize) -> Result<(String, String), Anything> {
        let made = must(post(&self.admin, TENANTS, &object(number)).await)?;
        let (name, uid) = (
            name(number),
            made["metadata"]["uid"].as_str().unwrap_or_default(),
        );
        let path = format!("{TENANTS}/{name}");
        let held = json!({"metadata": {"finalizers": ["cloister.dev/teardown"]}});
        let merge = "application/merge-patch+json";
        must(send(&self.operator, Method::PATCH, &path, merge, &held).await)?;
        let copy = (name, uid.to_owned());
        self.children(&copy, |kind| kind != CLUSTER_BINDING).await?;
        let status = json!({"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"uid": uid}, "status": self.status});
        let path = format!("{path}/status?fieldManager=cloister&force=true");
        let apply = "application/apply-patch+yaml";
        must(send(&self.operator, Method::PATCH, &path, apply, &status).await)?;
        if number % 1000 == 999 {
            eprintln!("{} tenants", number + 1);
        }
        Ok(copy)
    }

    /// Those of its children that are of these kinds.
    async fn children(
        &self,
        (name, uid): &(String, String),
        are: impl Fn(&str) -> bool,
    ) -> Result<(), Anything> {
        let kind = |child: &&Value| are(child["kind"].as_str().unwrap_or_default());
        for child in self.children.iter().filter(kind) {
            let text = child.to_string();
            let text = text.replace(&self.name, name).replace(&self.uid, uid);
            let child: Value = serde_json::from_str(&text)?;
            let path = path_of(&child);
            let (list, _) = path.rsplit_once('/').unwrap_or_default();
            must(post(&self.operator, list, &child).await)?;
        }
        Ok(())
    }
}

async fn post(client: &Client, list: &str, object: &Value) -> Answer {
    let path = format!("{list}?fieldManager=cloister");
    send(client, Method::POST, &path, "application/json", object).await
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
