//! Many tenants, as copies of one that the operator has made, by a client that does nothing else: the very
//! same writes, in the same order.
//!
//! In: two clients, the name of the one, names of others. Out: each with all its children and its status,
//! which takes the one's proof for its own: nothing has looked at it.
#![expect(
    clippy::disallowed_methods,
    reason = "it stands for the operator, whose writes it makes"
)]

use crds::{digest, tenant::Runtime};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, TypeMeta},
};
use serde_json::{Value, json};

use super::load::Anything;

/// A kind of which the API server looks through all to answer a question of rights: the more there are,
/// the slower is everything.
pub const CLUSTER_BINDING: &str = "ClusterRoleBinding";

const RBAC: &str = "rbac.authorization.k8s.io";
/// Kinds of a tenant's children, in the order of writing: group, kind, whether they lie in its namespace.
const CHILDREN: [(&str, &str, bool); 8] = [
    ("", "Namespace", false),
    ("networking.k8s.io", POLICY, true),
    ("", "ResourceQuota", true),
    ("", "LimitRange", true),
    ("", "ServiceAccount", true),
    (RBAC, "RoleBinding", true),
    (RBAC, "ClusterRole", false),
    (RBAC, CLUSTER_BINDING, false),
];
const POLICY: &str = "NetworkPolicy";
/// Whose the operator's writes are.
const MANAGER: &str = "cloister";

/// A tenant to copy.
pub struct Model {
    /// As whoever creates Tenants.
    people: Client,
    /// As the operator: tenants' namespaces take writes from nobody else.
    operator: Client,
    name: String,
    uid: String,
    spec: Value,
    status: Value,
    /// Kernel boundary, and whether in a user namespace, of which its proof is, if it has one.
    confinement: Option<(Runtime, bool)>,
    children: Vec<Child>,
}

/// One of its children, without what the server added.
struct Child {
    resource: ApiResource,
    namespaced: bool,
    body: Value,
}

/// A copy.
pub struct Copy {
    name: String,
    uid: String,
}

/// What tells a policy from the same one at another time: name, identity, generation.
type Standing = (String, String, i64);

fn standing(policy: &DynamicObject) -> Standing {
    let generation = policy.metadata.generation.unwrap_or_default();
    (
        policy.name_any(),
        policy.uid().unwrap_or_default(),
        generation,
    )
}

/// What the operator calls these policies in a proof.
fn boundary(mut policies: Vec<Standing>, (runtime, user_namespaces): (Runtime, bool)) -> String {
    policies.sort();
    let whole = json!([policies, runtime.as_str(), user_namespaces]);
    digest::of(&whole)[..16].to_owned()
}

impl Model {
    /// Reads a Tenant, and what was made for it.
    ///
    /// # Errors
    /// The API server does not answer; or it has a proof, and what of is not understood.
    pub async fn read(people: Client, operator: Client, name: &str) -> Result<Self, Anything> {
        let (mut children, mut policies) = (Vec::new(), Vec::new());
        for (group, kind, namespaced) in CHILDREN {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
            let api = place(&people, &resource, namespaced.then_some(name));
            let ours = ListParams::default().labels(&format!("cloister.dev/tenant={name}"));
            for mut child in api.list(&ours).await? {
                policies.extend((kind == POLICY).then(|| standing(&child)));
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
        let object = tenants(&people).get(name).await?;
        let proven = object.data["status"]["isolation"]["boundary"].as_str();
        let mut confinements = [Runtime::Hardened, Runtime::GVisor]
            .into_iter()
            .flat_map(|runtime| [(runtime, false), (runtime, true)]);
        let confinement = proven.map(|proven| {
            confinements
                .find(|one| boundary(policies.clone(), *one) == proven)
                .ok_or_else(|| format!("{name}: copies would not count as proven"))
        });
        Ok(Self {
            confinement: confinement.transpose()?,
            people,
            operator,
            name: name.to_owned(),
            uid: object.uid().unwrap_or_default(),
            spec: object.data["spec"].clone(),
            status: object.data["status"].clone(),
            children,
        })
    }

    /// How many children it has.
    pub const fn children(&self) -> usize {
        self.children.len()
    }

    /// The Tenant, its finalizer, each child of the kinds that are `now`, its status.
    ///
    /// # Errors
    /// The API server's refusal of one of these.
    pub async fn copy(&self, name: String, now: impl Fn(&str) -> bool) -> Result<Copy, Anything> {
        let tenants = tenants(&self.people);
        let object = serde_json::from_value(json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name}, "spec": self.spec,
        }))?;
        let made = tenants.create(&PostParams::default(), &object).await?;
        let uid = made.uid().unwrap_or_default();
        let finalizers = json!({"metadata": {"finalizers": ["cloister.dev/teardown"]}});
        tenants
            .patch(&name, &PatchParams::default(), &Patch::Merge(finalizers))
            .await?;
        let copy = Copy { name, uid };
        let policies = self.furnish(&copy, now).await?;
        let said = self.status.to_string().replace(&self.name, &copy.name);
        let mut status = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"uid": copy.uid}, "status": serde_json::from_str::<Value>(&said)?,
        });
        if let Some(confinement) = self.confinement {
            status["status"]["isolation"]["boundary"] = json!(boundary(policies, confinement));
        }
        let params = PatchParams::apply(MANAGER).force();
        tenants
            .patch_status(&copy.name, &params, &Patch::Apply(status))
            .await?;
        Ok(copy)
    }

    /// Gives a copy those of its children that are of these kinds; returns its new policies.
    ///
    /// # Errors
    /// The API server's refusal of one of these.
    pub async fn furnish(
        &self,
        Copy { name, uid }: &Copy,
        are: impl Fn(&str) -> bool,
    ) -> Result<Vec<Standing>, Anything> {
        let mut policies = Vec::new();
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        for child in self
            .children
            .iter()
            .filter(|child| are(&child.resource.kind))
        {
            let text = child.body.to_string();
            let text = text.replace(&self.name, name).replace(&self.uid, uid);
            let object: DynamicObject = serde_json::from_str(&text)?;
            let api = place(
                &self.operator,
                &child.resource,
                child.namespaced.then_some(name),
            );
            let made = api.create(&params, &object).await?;
            policies.extend((child.resource.kind == POLICY).then(|| standing(&made)));
        }
        Ok(policies)
    }
}

fn tenants(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cloister.dev", "v1alpha1", "Tenant");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// Where objects of a kind are: everywhere, or in this tenant's namespace.
fn place(client: &Client, kind: &ApiResource, tenant: Option<&str>) -> Api<DynamicObject> {
    let client = client.clone();
    match tenant {
        Some(tenant) => Api::namespaced_with(client, &format!("tenant-{tenant}"), kind),
        None => Api::all_with(client, kind),
    }
}
