//! A Tenant and everybody who may want to change it, with the rights that they really get.
//!
//! In: a scratch namespace. Out: [`Cast`]. Called by `members.rs`.

use http::Method;
use serde_json::{Value, json};
use tests::rights::{Members, cluster_role, cluster_role_binding};
use tests::server::{Answer, Patch, Scratch, Server, assert_accepted, eventually};

use super::minimal;

/// A Tenant with an Owner, an Admin and a User, each with the rights that the operator
/// gives them, and those who look after the platform.
pub struct Cast {
    pub object: Value,
    pub root: Server,
    pub owner: Server,
    pub admin: Server,
    pub user: Server,
    /// May do everything with every Tenant, but is nobody's Owner.
    pub delivery: Server,
    pub operator: Server,
}

impl Cast {
    pub async fn run<T: AsyncFnOnce(&Self)>(test: T) {
        Scratch::run(async |scratch| {
            let people = Members::of(&scratch.tenant);
            let mut object = minimal(&scratch.tenant);
            object["spec"]["members"] = members(&[
                (&people.owner, "Owner"),
                (&people.admin, "Admin"),
                (&people.user, "User"),
            ]);
            object["spec"]["deletionPolicy"] = json!("Purge");
            let cast = Self {
                root: scratch.admin.clone(),
                owner: scratch.admin.user(&people.owner, &[]),
                admin: scratch.admin.user(&people.admin, &[]),
                user: scratch.admin.user(&people.user, &[]),
                delivery: scratch
                    .admin
                    .service_account(&scratch.namespace, "delivery"),
                operator: scratch.admin.operator(),
                object,
            };
            let rights = cast.rights(scratch, &people);
            assert_accepted(&cast.root.create(&cast.object).await);
            for (server, object) in &rights {
                assert_accepted(&server.create(object).await);
            }
            cast.rights_are_known().await;
            let outcome =
                futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(test(&cast))).await;
            cast.leave(&rights).await;
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        })
        .await;
    }

    /// What the operator binds, created as the operator, so that its own rights must do; and
    /// what a cluster admin gives to whatever applies from Git.
    fn rights(&self, scratch: &Scratch, people: &Members) -> Vec<(Server, Value)> {
        let all = format!("cloister-test:{}:all", scratch.tenant);
        let delivery = json!({
            "kind": "ServiceAccount", "name": "delivery", "namespace": scratch.namespace,
        });
        let of_root = [
            cluster_role(&all, EVERY_VERB, &[]),
            cluster_role_binding(&all, &[delivery]),
        ];
        let of_operator = people.rights(&scratch.tenant, &scratch.namespace);
        let of_operator = of_operator
            .into_iter()
            .map(|object| (self.operator.clone(), object));
        let of_root = of_root.map(|object| (self.root.clone(), object));
        of_operator.chain(of_root).collect()
    }

    /// Rights are read from a cache that follows within moments.
    async fn rights_are_known(&self) {
        let nothing = json!({"spec": {"state": "Active"}});
        for who in [&self.owner, &self.admin, &self.delivery] {
            eventually(
                async || match who.patch(&self.object, Patch::Merge, &nothing).await {
                    Ok(_) => Ok(()),
                    Err(refusal) => Err(refusal.to_string()),
                },
            )
            .await;
        }
        let another = self.with(&[("another@example.com", "Owner")]);
        eventually(async || match self.dry_patch(&self.owner, &another).await {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.to_string()),
        })
        .await;
    }

    async fn leave(&self, rights: &[(Server, Value)]) {
        for (server, object) in rights {
            assert_accepted(&server.delete(object).await);
        }
        let purge = json!({"spec": {"deletionPolicy": "Purge"}});
        assert_accepted(&self.root.patch(&self.object, Patch::Merge, &purge).await);
        assert_accepted(&self.root.delete(&self.object).await);
    }

    /// The members as they are and these besides.
    pub fn with(&self, more: &[(&str, &str)]) -> Value {
        let mut all = self.object["spec"]["members"].clone();
        if let (Some(all), Value::Array(more)) = (all.as_array_mut(), members(more)) {
            all.extend(more);
        }
        all
    }

    /// The members as they are, the first of this role having another, or gone.
    pub fn but(&self, role: &str, instead: Option<&str>) -> Value {
        let mut all = self.object["spec"]["members"].clone();
        if let Some(all) = all.as_array_mut()
            && let Some(index) = all.iter().position(|member| member["role"] == json!(role))
        {
            match instead {
                Some(instead) => all[index]["role"] = json!(instead),
                None => drop(all.remove(index)),
            }
        }
        all
    }

    async fn dry_patch(&self, who: &Server, members: &Value) -> Answer {
        let change = json!({"spec": {"members": members}});
        self.dry(who, "application/merge-patch+json", "", &change)
            .await
    }

    pub async fn dry(&self, who: &Server, content: &str, query: &str, change: &Value) -> Answer {
        let name = self.object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/apis/cloister.dev/v1alpha1/tenants/{name}?dryRun=All{query}");
        let method = if content == "application/json" {
            Method::PUT
        } else {
            Method::PATCH
        };
        who.send(method, &path, content, change).await
    }

    /// The same members by each way of writing; each answer with the way's name.
    pub async fn every_way(&self, who: &Server, members: &Value) -> Vec<(&'static str, Answer)> {
        let mut whole = self.root.get(&self.object).await.unwrap_or_default();
        whole["spec"]["members"] = members.clone();
        let json_patch = json!([{"op": "replace", "path": "/spec/members", "value": members}]);
        let mut applied = minimal(self.object["metadata"]["name"].as_str().unwrap_or_default());
        applied["spec"]["members"] = members.clone();
        let merge = json!({"spec": {"members": members}});
        let apply_query = "&fieldManager=cloister-test&force=true";
        vec![
            (
                "update",
                self.dry(who, "application/json", "", &whole).await,
            ),
            (
                "merge patch",
                self.dry(who, "application/merge-patch+json", "", &merge)
                    .await,
            ),
            (
                "JSON patch",
                self.dry(who, "application/json-patch+json", "", &json_patch)
                    .await,
            ),
            (
                "apply",
                self.dry(who, "application/apply-patch+yaml", apply_query, &applied)
                    .await,
            ),
        ]
    }
}

pub fn members(list: &[(&str, &str)]) -> Value {
    list.iter()
        .map(|(name, role)| json!({"kind": "User", "name": name, "role": role}))
        .collect()
}

const EVERY_VERB: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
