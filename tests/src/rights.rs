//! What the operator binds for the members of a tenant, for tests that need members and
//! must not need an operator.
//!
//! In: names. Out: RBAC objects, to be created as the operator: that it may is part of what
//! is tested. Called by `access.rs` and `admission/`.

use crds::well_known::{ADMIN_ROLE, OWNER_ROLE, USER_ROLE};
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";
const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// Names of three users, one per role.
#[derive(Clone, Debug)]
pub struct Members {
    /// The one with the role Owner.
    pub owner: String,
    /// The one with the role Admin.
    pub admin: String,
    /// The one with the role User.
    pub user: String,
}

impl Members {
    /// Users that no other tenant has.
    pub fn of(tenant: &str) -> Self {
        let mail = |role: &str| format!("{role}-{tenant}@example.com");
        Self {
            owner: mail("owner"),
            admin: mail("admin"),
            user: mail("user"),
        }
    }

    /// Everything that gives them their rights.
    pub fn rights(&self, tenant: &str, namespace: &str) -> Vec<Value> {
        // Beside those that an operator makes, under a name that it may write.
        let name = |what: &str| format!("cloister:tenant:{tenant}:test-{what}");
        let [owner, admin, user] = [&self.owner, &self.admin, &self.user].map(|name| subject(name));
        vec![
            cluster_role(&name("view"), &["get", "list", "watch"], &[tenant]),
            cluster_role_binding(&name("view"), &[owner.clone(), admin.clone(), user.clone()]),
            cluster_role(&name("manage"), &["update", "patch"], &[tenant]),
            cluster_role_binding(&name("manage"), &[owner.clone(), admin.clone()]),
            role_binding(namespace, OWNER_ROLE, &owner),
            role_binding(namespace, ADMIN_ROLE, &admin),
            role_binding(namespace, USER_ROLE, &user),
        ]
    }
}

fn subject(user: &str) -> Value {
    json!({"kind": "User", "apiGroup": GROUP, "name": user})
}

/// Verbs on tenants of these names, or on all of them.
pub fn cluster_role(name: &str, verbs: &[&str], tenants: &[&str]) -> Value {
    json!({
        "apiVersion": VERSION, "kind": "ClusterRole", "metadata": {"name": name},
        "rules": [{
            "apiGroups": ["cloister.dev"], "resources": ["tenants"],
            "verbs": verbs, "resourceNames": tenants,
        }],
    })
}

/// Binds the cluster role of the same name.
pub fn cluster_role_binding(name: &str, subjects: &[Value]) -> Value {
    json!({
        "apiVersion": VERSION, "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
    })
}

fn role_binding(namespace: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": VERSION, "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "subjects": [subject],
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
    })
}
