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
