//! RBAC: rules as data → roles and bindings.
//!
//! In: [`crate::rules`]. Out: the operator's account with its roles, and the three roles
//! that the operator binds for members. Called by `render.rs`.

use std::io;

use crds::well_known::{
    ADMIN_ROLE, DECOY_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, OWNER_ROLE, SYSTEM_NAMESPACE, USER_ROLE,
};
use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use serde_json::Value;

use super::{
    meta::{self, texts},
    yaml::value,
};
use crate::rules::{self, Rule};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Account, roles and bindings of the operator.
pub fn operator() -> io::Result<Vec<Value>> {
    let system = SYSTEM_NAMESPACE;
    Ok(vec![
        value(&ServiceAccount {
            metadata: meta::namespaced(system, OPERATOR_SERVICE_ACCOUNT),
            ..ServiceAccount::default()
        })?,
        value(&ClusterRole {
            metadata: meta::cluster_scoped(OPERATOR_SERVICE_ACCOUNT),
            rules: Some(policy_rules(&rules::operator())),
            aggregation_rule: None,
        })?,
        value(&ClusterRoleBinding {
            metadata: meta::cluster_scoped(OPERATOR_SERVICE_ACCOUNT),
            role_ref: reference("ClusterRole", OPERATOR_SERVICE_ACCOUNT),
            subjects: Some(vec![operator_subject()]),
        })?,
        value(&role(system, &rules::operator_in_system()))?,
        value(&role_binding(system))?,
        value(&role("default", &rules::operator_in_default()))?,
        value(&role_binding("default"))?,
        value(&role(DECOY_NAMESPACE, &rules::operator_in_decoy()))?,
        value(&role_binding(DECOY_NAMESPACE))?,
    ])
}

/// Roles of members. The operator binds them inside the namespace of a tenant, by verb
/// `bind`; nobody holds them in the whole cluster.
pub fn members() -> Vec<ClusterRole> {
    [
        (
            USER_ROLE,
            "Bound in a tenant's namespace: what its Users may do. They look.",
            rules::user(),
        ),
        (
            ADMIN_ROLE,
            "Bound in a tenant's namespace: what its Admins may do. They say what runs and run it. \
             They hand Secrets in and get none out: update, patch and delete would answer with the \
             content, so create is all.",
            rules::admin(),
        ),
        (
            OWNER_ROLE,
            "Bound in a tenant's namespace: what its Owners may do. Verb own is asked for by the \
             admission policy cloister-tenants before Owners are added, changed or removed.",
            rules::owner(),
        ),
    ]
    .into_iter()
    .map(|(name, description, rules)| ClusterRole {
        metadata: meta::described(meta::cluster_scoped(name), description),
        rules: Some(policy_rules(&rules)),
        aggregation_rule: None,
    })
    .collect()
}

fn role(namespace: &str, rules: &[Rule]) -> Role {
    Role {
        metadata: meta::namespaced(namespace, OPERATOR_SERVICE_ACCOUNT),
        rules: Some(policy_rules(rules)),
    }
}

fn role_binding(namespace: &str) -> RoleBinding {
    RoleBinding {
        metadata: meta::namespaced(namespace, OPERATOR_SERVICE_ACCOUNT),
        role_ref: reference("Role", OPERATOR_SERVICE_ACCOUNT),
        subjects: Some(vec![operator_subject()]),
    }
}

fn reference(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: RBAC.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn operator_subject() -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: OPERATOR_SERVICE_ACCOUNT.to_owned(),
        namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        api_group: None,
    }
}

fn policy_rules(rules: &[Rule]) -> Vec<PolicyRule> {
    rules
        .iter()
        .map(|rule| PolicyRule {
            api_groups: Some(texts(&[rule.group])),
            resources: Some(texts(rule.resources)),
            verbs: texts(rule.verbs),
            resource_names: (!rule.names.is_empty()).then(|| texts(rule.names)),
            non_resource_urls: None,
        })
        .collect()
}
