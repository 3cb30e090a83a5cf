//! Who may do what: in the namespace, and with the Tenant itself.
//!
//! The roles in the namespace are three cluster roles that come with the installation;
//! only bindings are made here. The Tenant is cluster-scoped, so the right to see or
//! change just one's own needs a cluster role that names it.

use crds::{
    Tenant,
    tenant::{Member, Role, State, SubjectKind},
    well_known::{ADMIN_ROLE, GROUP, OWNER_ROLE, SANDBOX_SERVICE_ACCOUNT, USER_ROLE},
};
use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject},
};
use kube::Resource;

use crate::{meta::Owner, names};

const RBAC: &str = "rbac.authorization.k8s.io";

/// The one service account that pods of the tenant may use. It has no rights, and no
/// token is mounted.
pub fn service_account(owner: &Owner, namespace: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: owner.child(Some(namespace), SANDBOX_SERVICE_ACCOUNT),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// One binding for each role that anybody has. In a suspended tenant everybody may look,
/// and nobody may do more.
pub fn role_bindings(
    owner: &Owner,
    namespace: &str,
    members: &[Member],
    state: State,
) -> Vec<RoleBinding> {
    let held = |member: &Member| match state {
        State::Active => member.role,
        State::Suspended => Role::User,
    };
    [
        (Role::Owner, OWNER_ROLE),
        (Role::Admin, ADMIN_ROLE),
        (Role::User, USER_ROLE),
    ]
    .into_iter()
    .filter_map(|(role, name)| {
        let subjects = subjects(members.iter().filter(|member| held(member) == role));
        (!subjects.is_empty()).then(|| RoleBinding {
            metadata: owner.child(Some(namespace), name),
            role_ref: role_ref(name),
            subjects: Some(subjects),
        })
    })
    .collect()
}

/// The rights to see the Tenant and, unless it is suspended, to change it. What of it a
/// member may change is for the admission policy `cloister-tenants` to say.
pub fn cluster_roles(owner: &Owner, state: State) -> Vec<ClusterRole> {
    let role = |name: String, verbs: &[&str]| ClusterRole {
        metadata: owner.child(None, &name),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![GROUP.to_owned()]),
            resources: Some(vec![Tenant::plural(&()).into_owned()]),
            resource_names: Some(vec![owner.tenant.clone()]),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            non_resource_urls: None,
        }]),
        aggregation_rule: None,
    };
    let view = role(names::view_role(&owner.tenant), &["get", "list", "watch"]);
    match state {
        State::Active => {
            vec![
                view,
                role(names::manage_role(&owner.tenant), &["update", "patch"]),
            ]
        }
        State::Suspended => vec![view],
    }
}

/// Who has them.
pub fn cluster_role_bindings(
    owner: &Owner,
    members: &[Member],
    state: State,
) -> Vec<ClusterRoleBinding> {
    let binding = |name: String, subjects: Vec<Subject>| ClusterRoleBinding {
        metadata: owner.child(None, &name),
        role_ref: role_ref(&name),
        subjects: Some(subjects),
    };
    let view = binding(names::view_role(&owner.tenant), subjects(members.iter()));
    match state {
        State::Active => {
            let managers = members.iter().filter(|member| member.role != Role::User);
            let manage = names::manage_role(&owner.tenant);
            vec![view, binding(manage, subjects(managers))]
        }
        State::Suspended => vec![view],
    }
}

fn role_ref(name: &str) -> RoleRef {
    RoleRef {
        api_group: RBAC.to_owned(),
        kind: "ClusterRole".to_owned(),
        name: name.to_owned(),
    }
}

fn subjects<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<Subject> {
    members
        .map(|member| match member.kind {
            SubjectKind::User => subject("User", Some(RBAC), &member.name, None),
            SubjectKind::Group => subject("Group", Some(RBAC), &member.name, None),
            SubjectKind::ServiceAccount => subject(
                "ServiceAccount",
                None,
                &member.name,
                Some(&member.namespace),
            ),
        })
        .collect()
}

fn subject(kind: &str, group: Option<&str>, name: &str, namespace: Option<&str>) -> Subject {
    Subject {
        api_group: group.map(ToOwned::to_owned),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: namespace.map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        gatekeeper::{OPERATOR, refusals},
        world::facts::Uid,
    };

    const TENANT_NAMESPACE: &str = "tenant-acme";

    fn owner() -> Owner {
        Owner {
            tenant: "acme".to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000a"),
        }
    }

    fn members() -> Vec<Member> {
        let member = |name: &str, role| Member {
            kind: SubjectKind::User,
            name: name.to_owned(),
            namespace: String::new(),
            role,
        };
        vec![
            member("ada", Role::Owner),
            member("ben", Role::Admin),
            member("cyd", Role::User),
        ]
    }

    /// What admission says when the operator writes this.
    fn said(resource: &str, object: &Value) -> Vec<String> {
        let labels = json!({"cloister.dev/tenant": "acme"});
        let request = json!({"operation": "CREATE", "userInfo": {"username": OPERATOR},
            "name": object["metadata"]["name"], "namespace": TENANT_NAMESPACE,
            "resource": {"resource": resource}});
        let context = json!({"request": request, "object": object,
            "namespaceObject": {"metadata": {"labels": labels}}});
        refusals("cloister-operator", &context)
    }

    fn objects<K: Serialize>(resource: &'static str, list: &[K]) -> Vec<(&'static str, Value)> {
        list.iter().map(|one| (resource, json!(one))).collect()
    }

    fn everything(state: State) -> Vec<(&'static str, Value)> {
        let (owner, members) = (owner(), members());
        let bindings = role_bindings(&owner, TENANT_NAMESPACE, &members, state);
        let cluster_bindings = cluster_role_bindings(&owner, &members, state);
        [
            objects("rolebindings", &bindings),
            objects("clusterroles", &cluster_roles(&owner, state)),
            objects("clusterrolebindings", &cluster_bindings),
        ]
        .concat()
    }

    #[test]
    fn admission_accepts_every_right_that_is_made_here() {
        for state in [State::Active, State::Suspended] {
            for (resource, object) in everything(state) {
                assert_eq!(said(resource, &object), [""; 0], "{object}");
            }
        }
    }

    #[test]
    fn admission_rejects_every_other_right_of_the_operator() {
        let at = |resource: &str, pointer: &str, value: Value| {
            let found = everything(State::Active).into_iter();
            let mut found = found
                .filter(|(of, _)| *of == resource)
                .map(|(_, object)| object);
            let mut object = found.next().unwrap();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[key] = value;
            let said = said(resource, &object);
            assert_eq!(said.len(), 1, "{resource} {pointer}: {said:?}");
            assert!(said[0].starts_with("the operator of Cloister may write no"));
        };
        let everywhere = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]});
        at(
            "clusterroles",
            "/rules/0/verbs",
            json!(["get", "list", "watch", "own"]),
        );
        at("clusterroles", "/rules/0/resourceNames", json!(["another"]));
        at("clusterroles", "/rules/0/resourceNames", json!([]));
        at(
            "clusterroles",
            "/rules/0/resources",
            json!(["tenants", "tenants/status"]),
        );
        at("clusterroles", "/rules/0/apiGroups", json!(["*"]));
        at("clusterroles", "/rules", json!([everywhere]));
        at("clusterroles", "/rules", json!([]));
        at(
            "clusterroles",
            "/aggregationRule",
            json!({"clusterRoleSelectors": [{}]}),
        );
        at(
            "clusterrolebindings",
            "/roleRef/name",
            json!("cloister-operator"),
        );
        at(
            "clusterrolebindings",
            "/roleRef/name",
            json!("cloister:tenant:another:view"),
        );
        at("rolebindings", "/roleRef/name", json!("cloister-operator"));
        at("rolebindings", "/roleRef/name", json!(USER_ROLE));
        at("rolebindings", "/roleRef/kind", json!("Role"));
        at("rolebindings", "/metadata/name", json!("another"));
    }
}
