//! The only module that writes to the API server.
//!
//! In: whole desired objects, from the pure side. Out: what the server holds afterwards,
//! noted in the [`World`] before anyone asks. Nothing is written where the world already
//! says the same; nothing is ever deleted by name, only by UID.
#![expect(clippy::disallowed_methods, reason = "this is where writes live")]

mod endpoints;
mod look;
mod object;
mod review;
mod secret;

use crds::well_known::MANAGER;
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{core::v1::Pod, networking::v1::NetworkPolicy},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

pub use self::{
    endpoints::endpoints,
    look::{executions, holds},
    object::{
        Target, create, delete, evict, finalizer, release_pod, remove, sandbox, status, status_at,
        status_of,
    },
    review::review_token,
    secret::replace_secret,
};
use crate::{
    error::Error,
    world::{
        World,
        facts::{self, Child, Uid},
        watch::Observed,
    },
};

/// Picks the right [`Api`] for the scope of a kind.
pub trait ScopeApi<K> {
    /// The API of `K`, in this namespace if it has one.
    fn api(client: Client, namespace: Option<&str>) -> Api<K>;
}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>> ScopeApi<K>
    for NamespaceResourceScope
{
    fn api(client: Client, namespace: Option<&str>) -> Api<K> {
        Api::namespaced(client, namespace.unwrap_or_default())
    }
}

impl<K: Resource<DynamicType = (), Scope = ClusterResourceScope>> ScopeApi<K>
    for ClusterResourceScope
{
    fn api(client: Client, _: Option<&str>) -> Api<K> {
        Api::all(client)
    }
}

/// The [`Api`] that an object with this metadata lives in.
fn api<K: Resource<DynamicType = (), Scope: ScopeApi<K>>>(
    client: &Client,
    meta: &ObjectMeta,
) -> Api<K> {
    K::Scope::api(client.clone(), meta.namespace.as_deref())
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The world already held it: nothing was sent.
    None,
    /// It was not there.
    Created,
    /// Somebody had changed it; named, if the API server tells who.
    Repaired {
        /// Field manager of the foreign change.
        by: Option<Box<str>>,
    },
}

/// Where writes go: the server, and what is known of it.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    /// The API server.
    pub client: &'a Client,
    /// What is known.
    pub world: &'a World,
    /// Name of the tenant all this is for.
    pub tenant: &'a str,
    /// Its UID, by which its children are told from anybody else's.
    pub owner: Uid,
}

impl<'a> Writer<'a> {
    /// The same for children of an object of the tenant's.
    #[must_use]
    pub const fn of(&self, owner: Uid) -> Writer<'a> {
        Self { owner, ..*self }
    }

    /// Makes `desired` be there as it is.
    ///
    /// A child that is not known is created, never applied, so that an object which
    /// somebody else made in the meantime is seen and refused instead of being taken over.
    ///
    /// # Errors
    /// [`Error::Foreign`] if an object of that name is not the tenant's,
    /// [`Error::Unseen`] if it was made this moment, [`Error::StillDeleting`] if it is on its
    /// way out, [`Error::Unrepaired`] if the server holds something else after all,
    /// [`Error::Write`] if it refuses.
    pub async fn ensure<K>(&self, desired: &K) -> Result<Change, Error>
    where
        K: Child + Observed + Resource<Scope: ScopeApi<K>>,
    {
        let (kind, name) = (K::KIND.as_str(), desired.name_any());
        let Some(live) = self.world.child::<K>(self.tenant, &name) else {
            return match self.create(desired).await? {
                Some(_) => Ok(Change::Created),
                // The watch is about to bring it, and then it is judged.
                None => Err(Error::Unseen { kind, name }),
            };
        };
        if live.owner != Some(self.owner) {
            return Err(Error::Foreign { kind, name });
        }
        if live.deleting {
            return Err(Error::StillDeleting { kind, name });
        }
        if live.fingerprint == desired.fingerprint() {
            return Ok(Change::None);
        }
        let by = live.changed_by;
        let repaired = if live.locked {
            self.replace(desired, live.uid).await
        } else {
            match self.repair(desired, live.uid).await {
                Err(Error::Write { source, .. }) if is_fixed(&source, K::FIXED) => {
                    self.replace(desired, live.uid).await
                }
                other => other,
            }
        };
        if repaired?.fingerprint() != desired.fingerprint() {
            return Err(Error::Unrepaired { kind, name });
        }
        Ok(Change::Repaired { by })
    }

    /// Deletes what cannot be changed back and makes it anew.
    async fn replace<K>(&self, desired: &K, uid: Uid) -> Result<K, Error>
    where
        K: Child + Observed + Resource<Scope: ScopeApi<K>>,
    {
        delete::<K>(self.client, desired.meta(), uid, None).await?;
        let (kind, name) = (K::KIND.as_str(), desired.name_any());
        let made = self.create(desired).await?;
        made.ok_or(Error::StillDeleting { kind, name })
    }

    /// Takes over every field that is ours to say, and then takes out what somebody put
    /// beside them: a rule added to a policy is theirs to server-side apply, which leaves it.
    async fn repair<K>(&self, desired: &K, uid: Uid) -> Result<K, Error>
    where
        K: Child + Observed + Resource<Scope: ScopeApi<K>>,
    {
        let since = self.world.swept::<K>();
        let mut answer = self.patch(desired, uid).await?;
        if answer.fingerprint() != desired.fingerprint() {
            answer = self.strip(desired, &answer).await?;
        }
        self.world.record(&answer, since);
        Ok(answer)
    }

    /// Removes from `live`, if it still is as it was read, all that `desired` does not say.
    async fn strip<K>(&self, desired: &K, live: &K) -> Result<K, Error>
    where
        K: Child + Resource<Scope: ScopeApi<K>>,
    {
        let (name, meta) = (desired.name_any(), live.meta());
        let (wanted, held) = (json!(desired), json!(live));
        let mut body: serde_json::Map<_, _> = K::CONTENT
            .iter()
            .map(|field| {
                (
                    (*field).to_owned(),
                    overwriting(&held[field], &wanted[field]),
                )
            })
            .collect();
        let mut metadata = json!({"uid": meta.uid, "resourceVersion": meta.resource_version});
        for field in ["labels", "annotations"] {
            let keys = held["metadata"][field].as_object().into_iter().flatten();
            let strange = keys
                .map(|(key, _)| key)
                .filter(|key| facts::is_ours(key) && wanted["metadata"][field].get(key).is_none());
            for key in strange {
                metadata[field][key] = serde_json::Value::Null;
            }
        }
        body.insert("metadata".to_owned(), metadata);
        api::<K>(self.client, meta)
            .patch(
                &name,
                &PatchParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PatchParams::default()
                },
                &Patch::Merge(body),
            )
            .await
            .map_err(|source| failed::<K>("repair", &name, source))
    }

    /// Creates, and notes the answer. Nothing if the name is taken.
    async fn create<K>(&self, desired: &K) -> Result<Option<K>, Error>
    where
        K: Child + Observed + Resource<Scope: ScopeApi<K>>,
    {
        let since = self.world.swept::<K>();
        let made = object::create(self.client, desired).await?;
        if let Some(made) = &made {
            self.world.record(made, since);
        }
        Ok(made)
    }

    /// Server-side applies, taking over every field that is ours to say of the object that
    /// the caller has looked at: another one of its name is refused by the server.
    async fn patch<K>(&self, desired: &K, uid: Uid) -> Result<K, Error>
    where
        K: Child + Resource<Scope: ScopeApi<K>>,
    {
        let name = desired.name_any();
        let body = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&())});
        let mut body = merged(body, json!(desired));
        body["metadata"]["uid"] = json!(uid.to_string());
        api::<K>(self.client, desired.meta())
            .patch(
                &name,
                &PatchParams::apply(MANAGER).force(),
                &Patch::Apply(body),
            )
            .await
            .map_err(|source| failed::<K>("apply", &name, source))
    }

    /// Deletes every child of kind `K` that is the tenant's and not in `keep`.
    ///
    /// # Errors
    /// [`Error::Write`] if the server refuses.
    pub async fn prune<K>(&self, namespace: Option<&str>, keep: &[String]) -> Result<(), Error>
    where
        K: Child + Observed + Resource<Scope: ScopeApi<K>>,
    {
        let around = self.world.surroundings(self.tenant);
        for ((kind, name), held) in around.children.iter() {
            let (ours, going) = (held.fact.owner == Some(self.owner), held.fact.deleting);
            if *kind == K::KIND && ours && !going && !keep.iter().any(|kept| **kept == **name) {
                let meta = ObjectMeta {
                    namespace: namespace.map(ToOwned::to_owned),
                    name: Some(name.to_string()),
                    ..ObjectMeta::default()
                };
                delete::<K>(self.client, &meta, held.fact.uid, None).await?;
            }
        }
        Ok(())
    }

    /// Deletes a policy that opens what is no more to be open.
    ///
    /// # Errors
    /// [`Error::Write`] if the server refuses.
    pub async fn withdraw(&self, namespace: &str, name: &str, uid: Uid) -> Result<(), Error> {
        let meta = ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        // One that somebody's finalizer holds is still there, and open.
        if object::end::<NetworkPolicy>(self.client, &meta, uid, None).await? {
            self.world.record_withdrawn(self.tenant, name, uid);
        }
        Ok(())
    }

    /// Creates a pod. One of that name that exists is the same pod, made before a crash.
    ///
    /// # Errors
    /// [`Error::Write`] if the server refuses.
    pub async fn pod(&self, desired: &Pod) -> Result<(), Error> {
        let since = self.world.swept::<Pod>();
        if let Some(made) = object::create(self.client, desired).await? {
            self.world.record_pod(&made, since);
        }
        Ok(())
    }
}

/// The merge patch (RFC 7386) that makes `desired` of `live`: what is only in `live` is
/// nulled, lists are replaced whole.
fn overwriting(live: &serde_json::Value, desired: &serde_json::Value) -> serde_json::Value {
    let (Some(held), Some(wanted)) = (live.as_object(), desired.as_object()) else {
        return desired.clone();
    };
    let stranger = held.keys().filter(|key| !wanted.contains_key(*key));
    let nulled = stranger.map(|key| (key.clone(), serde_json::Value::Null));
    let kept = wanted
        .iter()
        .map(|(key, value)| (key.clone(), overwriting(&live[key], value)));
    serde_json::Value::Object(nulled.chain(kept).collect())
}

/// Whether the server refuses for no other reason than that one of these fields may not
/// change. Any other refusal (a right, a quota, an admission policy, a value) would meet the
/// new object as well, when the old one is gone.
fn is_fixed(error: &kube::Error, fields: &[&str]) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut named = causes.map(|cause| cause.field.as_str()).peekable();
    status.is_invalid() && named.peek().is_some() && named.all(|field| fields.contains(&field))
}

/// Adds the members of `extra` to `base`. Both are objects.
fn merged(mut base: serde_json::Value, extra: serde_json::Value) -> serde_json::Value {
    if let (Some(base), serde_json::Value::Object(extra)) = (base.as_object_mut(), extra) {
        base.extend(extra);
    }
    base
}

fn failed<K: Resource<DynamicType = ()>>(
    verb: &'static str,
    name: &str,
    source: kube::Error,
) -> Error {
    Error::Write {
        verb,
        kind: kind_name::<K>(),
        name: name.to_owned(),
        source: Box::new(source),
    }
}

/// The kind as a static string, for errors and metric labels.
fn kind_name<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        core::v1::ResourceQuota,
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, RoleBinding},
    };
    use serde_json::Value;

    use super::*;
    use crate::recording::{Recording, UID};

    /// UID of the child that is there.
    const CHILD: &str = "00000000-0000-4000-8000-00000000000c";

    /// A child of the tenant `acme`, as it must be.
    fn child<K: Child>(name: &str, namespaced: bool, content: Value) -> K {
        let namespace = namespaced.then_some("tenant-acme");
        let owner = json!({"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "name": "acme", "uid": UID, "controller": true});
        let meta = json!({"name": name, "namespace": namespace, "ownerReferences": [owner]});
        serde_json::from_value(merged(json!({"metadata": meta}), content)).unwrap()
    }

    /// The same child, as somebody has changed it.
    fn changed<K: Child>(desired: &K, content: Value) -> K {
        let mut live = merged(json!(desired), content);
        live["metadata"]["uid"] = json!(CHILD);
        live["metadata"]["resourceVersion"] = json!("7");
        serde_json::from_value(live).unwrap()
    }

    /// Repairs `live` on a server that refuses to have it changed with this answer; says
    /// what was written, by method, and what came of it.
    async fn repaired<K>(
        desired: &K,
        live: &K,
        refusal: Option<Value>,
    ) -> (Vec<String>, Result<Change, Error>)
    where
        K: Child + Observed + Resource<Scope: ScopeApi<K>>,
    {
        let tenant = json!({"metadata": {"name": "acme"}, "spec": {"members": []}});
        let tenant = serde_json::from_value(tenant).unwrap();
        let server = Recording::of(&tenant);
        let context = server.context(&tenant);
        context.world.see(live);
        if let Some(refusal) = refusal {
            server.refuse_with("PATCH", refusal);
        }
        let writer = Writer {
            client: &context.client,
            world: &context.world,
            tenant: "acme",
            owner: Uid::parse(UID),
        };
        let result = writer.ensure(desired).await;
        let sent = server.take();
        for write in &sent {
            let of = &write.body;
            let named = [&of["metadata"]["uid"], &of["preconditions"]["uid"]];
            let means_it = named.contains(&&json!(CHILD)) || write.what.starts_with("POST");
            assert!(means_it, "{write:?}");
        }
        let method = |what: &str| what.split(' ').next().map(ToOwned::to_owned);
        let methods = sent.iter().filter_map(|write| method(&write.what));
        (methods.collect(), result)
    }

    fn quota() -> (ResourceQuota, ResourceQuota) {
        let desired = child(
            "cloister-limits",
            true,
            json!({"spec": {"hard": {"pods": "5"}}}),
        );
        let spec = json!({"spec": {"hard": {"pods": "5"}, "scopes": ["NotTerminating"]}});
        let live = changed(&desired, spec);
        (desired, live)
    }

    fn refusal(code: u16, reason: &str, fields: &[&str]) -> Value {
        let causes: Vec<Value> = fields
            .iter()
            .map(|field| json!({"reason": "FieldValueInvalid", "message": "no", "field": field}))
            .collect();
        json!({"status": "Failure", "code": code, "reason": reason, "message": "no",
            "details": {"causes": causes}})
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_deleted_for_a_field_that_may_not_change_alone() {
        for (code, reason, fields) in [
            (400, "BadRequest", vec![]),
            (401, "Unauthorized", vec![]),
            (403, "Forbidden", vec![]),
            (403, "Forbidden", vec!["spec.scopes"]),
            (404, "NotFound", vec![]),
            (409, "Conflict", vec!["spec.scopes"]),
            (413, "RequestEntityTooLarge", vec![]),
            (422, "Invalid", vec![]),
            // So an admission policy says no.
            (422, "Invalid", vec![""]),
            (422, "Invalid", vec!["spec.hard[pods]"]),
            (422, "Invalid", vec!["spec.scopes", "spec.hard[pods]"]),
            (429, "TooManyRequests", vec![]),
            (500, "InternalError", vec!["spec.scopes"]),
            (503, "ServiceUnavailable", vec![]),
            (504, "Timeout", vec![]),
        ] {
            let (desired, live) = quota();
            let answer = refusal(code, reason, &fields);
            let (writes, result) = repaired(&desired, &live, Some(answer)).await;
            assert_eq!(writes, ["PATCH"], "{code} {reason} {fields:?}");
            let refused = matches!(result, Err(Error::Write { .. }));
            assert!(refused, "{code} {reason} {fields:?}: {result:?}");
        }
        let (desired, live) = quota();
        let fixed = refusal(422, "Invalid", &["spec.scopes"]);
        let (writes, result) = repaired(&desired, &live, Some(fixed)).await;
        assert_eq!(writes, ["PATCH", "DELETE", "POST"]);
        assert_eq!(result.unwrap(), Change::Repaired { by: None });
    }

    #[tokio::test]
    async fn a_binding_to_another_role_is_made_anew_and_a_policy_never_is() {
        let fixed = |field| Some(refusal(422, "Invalid", &[field]));
        let role = |name| {
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole", "name": name}})
        };
        let desired: RoleBinding = child("cloister-tenant-user", true, role("ours"));
        let live = changed(&desired, role("admin"));
        let (writes, _) = repaired(&desired, &live, fixed("roleRef")).await;
        assert_eq!(writes, ["PATCH", "DELETE", "POST"]);

        let selector = |labels: Value| json!({"spec": {"podSelector": {"matchLabels": labels}}});
        let desired: NetworkPolicy = child("cloister-deny-all", true, selector(json!({})));
        let live = changed(&desired, selector(json!({"no": "pod"})));
        let (writes, result) = repaired(&desired, &live, fixed("spec")).await;
        assert_eq!(writes, ["PATCH"]);
        assert!(result.is_err());
    }

    #[tokio::test]
    async fn a_role_that_was_made_an_aggregate_is_made_anew_another_is_put_right() {
        let rules =
            |verb| json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]});
        let desired: ClusterRole = child("cloister:tenant:acme:view", false, rules("get"));
        let aggregate = json!({"aggregationRule": {"clusterRoleSelectors": []}});
        let live = changed(&desired, aggregate);
        let (writes, result) = repaired(&desired, &live, None).await;
        assert_eq!(writes, ["DELETE", "POST"]);
        assert_eq!(result.unwrap(), Change::Repaired { by: None });

        let live = changed(&desired, rules("*"));
        let (writes, result) = repaired(&desired, &live, None).await;
        assert_eq!(writes, ["PATCH"]);
        assert_eq!(result.unwrap(), Change::Repaired { by: None });
        let forbidden = refusal(403, "Forbidden", &[]);
        let (writes, _) = repaired(&desired, &live, Some(forbidden)).await;
        assert_eq!(writes, ["PATCH"]);
    }
}
