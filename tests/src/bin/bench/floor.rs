//! The floor: the very same writes for as many tenants, by a client that does nothing else.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::TypeMeta,
};
use serde_json::{Value, json};

use crate::server::{Anything, Bench, PARALLEL, TENANT, object, resource, tenant};

/// A tenant to copy.
pub(crate) struct Model {
    name: String,
    uid: String,
    status: Value,
    pub(crate) children: Vec<Child>,
}

/// One of its children, without what the server added.
pub(crate) struct Child {
    resource: ApiResource,
    namespaced: bool,
    body: Value,
}

/// Kinds of a tenant's children, in the order of writing, and whether they lie in its namespace.
const CHILDREN: [((&str, &str, &str), bool); 8] = [
    (("", "v1", "Namespace"), false),
    (crate::server::NETWORK_POLICY, true),
    (("", "v1", "ResourceQuota"), true),
    (("", "v1", "LimitRange"), true),
    (("", "v1", "ServiceAccount"), true),
    (("rbac.authorization.k8s.io", "v1", "RoleBinding"), true),
    (("rbac.authorization.k8s.io", "v1", "ClusterRole"), false),
    (
        ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
        false,
    ),
];

/// Reads a tenant that the operator has made.
pub(crate) async fn model(bench: &Bench, name: &str) -> Result<Model, Anything> {
    let mut children = Vec::new();
    for (kind, namespaced) in CHILDREN {
        let api = if namespaced {
            bench.namespaced(kind, &format!("tenant-{name}"))
        } else {
            bench.everywhere(kind)
        };
        let resource = resource(kind);
        let ours = ListParams::default().labels(&format!("cloister.dev/tenant={name}"));
        for mut child in api.list(&ours).await? {
            child.types = Some(TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            let meta = &mut child.metadata;
            (meta.uid, meta.resource_version, meta.creation_timestamp) = (None, None, None);
            (meta.managed_fields, meta.generation) = (None, None);
            if let Some(data) = child.data.as_object_mut() {
                data.remove("status");
            }
            children.push(Child {
                resource: resource.clone(),
                namespaced,
                body: serde_json::to_value(child)?,
            });
        }
    }
    let object = bench.everywhere(TENANT).get(name).await?;
    Ok(Model {
        name: name.to_owned(),
        uid: object.uid().unwrap_or_default(),
        status: object.data["status"].clone(),
        children,
    })
}

/// Copies it so many times; returns how long that took.
pub(crate) async fn copies(
    bench: &Bench,
    model: &Model,
    prefix: &str,
    count: usize,
) -> Result<Duration, Anything> {
    let begun = Instant::now();
    stream::iter(0..count)
        .map(|number| copy(bench, model, format!("{prefix}-{number}")))
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(begun.elapsed())
}

/// The Tenant, its finalizer, each child, its status.
async fn copy(bench: &Bench, model: &Model, name: String) -> Result<(), Anything> {
    let tenants = bench.everywhere(TENANT);
    let made = tenants
        .create(&PostParams::default(), &object(tenant(&name))?)
        .await?;
    let uid = made.uid().unwrap_or_default();
    let finalizers = json!({"metadata": {"finalizers": ["cloister.dev/teardown"]}});
    tenants
        .patch(&name, &PatchParams::default(), &Patch::Merge(finalizers))
        .await?;
    for child in &model.children {
        let text = child.body.to_string();
        let text = text.replace(&model.name, &name).replace(&model.uid, &uid);
        let namespace = child.namespaced.then(|| format!("tenant-{name}"));
        let api = bench.as_operator(&child.resource, namespace.as_deref());
        let copy: DynamicObject = serde_json::from_str(&text)?;
        let manager = PostParams {
            field_manager: Some("cloister".to_owned()),
            ..PostParams::default()
        };
        api.create(&manager, &copy).await?;
    }
    let status = json!({
        "apiVersion": "cloister.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"uid": uid},
        "status": model.status,
    });
    let manager = PatchParams::apply("cloister").force();
    tenants
        .patch_status(&name, &manager, &Patch::Apply(status))
        .await?;
    Ok(())
}
