//! Policy `cloister-operator`: no write of the operator lands outside the namespaces of
//! tenants, and it hands out no right but those of members, whatever RBAC allows it. RBAC
//! cannot say "these kinds, in namespaces that are a tenant's", nor "roles with these rules",
//! so its rules are wider than what the operator does; this closes the gap.
//!
//! In: names. Out: the policy. The operator's own Lease and its events are not looked at.

use crds::well_known::{
    ADMIN_ROLE, GROUP, NAMESPACE_PREFIX, OWNER_ROLE, POD_SECURITY_VERSION, ROLE_LABEL, ROLE_PROBE,
    TENANT_LABEL, USER_ROLE,
};
use k8s_openapi::api::admissionregistration::v1::{NamedRuleWithOperations, Validation};

use super::{Policy, Scope, condition, must, operator_user, rule, variable};
use crate::names::PROBE_PREFIX;

/// What the names of the cluster roles of a tenant begin with.
const ROLE_PREFIX: &str = "cloister:tenant:";

const RBAC: &str = "rbac.authorization.k8s.io";

/// What the labels of Pod Security Admission begin with.
const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-operator",
        description: "What the operator writes is in a tenant's namespace, is that namespace, or \
                      is a cluster role for one Tenant, and it binds no role but a member's.",
        rules: rules(),
        scope: Scope::Cluster,
        conditions: vec![condition(
            "by-the-operator",
            &format!("request.userInfo.username == '{}'", operator_user()),
        )],
        variables: vec![
            // What is deleted grants nothing.
            variable("grants", "request.operation != 'DELETE'"),
            variable("resource", "request.resource.resource"),
        ],
        validations: [places(), pods(), grants()].concat(),
    }
}

/// Everything that `rules.rs` lets the operator write, but Tenants, leases and events.
fn rules() -> Vec<NamedRuleWithOperations> {
    let children = &[
        "limitranges",
        "namespaces",
        "pods",
        "resourcequotas",
        "serviceaccounts",
    ];
    let bindings = &["clusterrolebindings", "clusterroles", "rolebindings"];
    let verbs = &["CREATE", "UPDATE", "DELETE"];
    vec![
        rule("", "v1", children, verbs),
        rule("networking.k8s.io", "v1", &["networkpolicies"], verbs),
        rule(RBAC, "v1", bindings, verbs),
    ]
}

/// Where its writes land.
fn places() -> Vec<Validation> {
    vec![
        must(
            &format!(
                "
                !(variables.resource in ['clusterrolebindings', 'clusterroles']) ||
                request.name.startsWith('{ROLE_PREFIX}')"
            ),
            &format!(
                "the operator of Cloister may write no cluster role or binding whose name does not \
                 begin with {ROLE_PREFIX}"
            ),
        ),
        must(
            &format!(
                "
                variables.resource != 'namespaces' ||
                request.name.startsWith('{NAMESPACE_PREFIX}') &&
                (oldObject == null ? object : oldObject)
                  .metadata.?labels[?'{TENANT_LABEL}'].hasValue()"
            ),
            &format!(
                "the operator of Cloister may write no namespace that is not a tenant's, by its \
                 name and its label {TENANT_LABEL}"
            ),
        ),
        must(
            &format!(
                "
                variables.resource in ['clusterrolebindings', 'clusterroles', 'namespaces'] ||
                request.namespace.startsWith('{NAMESPACE_PREFIX}') &&
                namespaceObject.metadata.?labels[?'{TENANT_LABEL}'].hasValue()"
            ),
            "the operator of Cloister may write nothing in a namespace that is not a tenant's",
        ),
    ]
}

/// What may run there: nothing less confined than a tenant's pods are, and of its own nothing
/// but probes. Else whoever takes the operator over has the nodes.
fn pods() -> Vec<Validation> {
    vec![
        must(
            &format!(
                "
                variables.resource != 'namespaces' || !variables.grants ||
                dyn(object).metadata.?labels[?'{POD_SECURITY}enforce'].orValue('') == 'restricted' &&
                dyn(object).metadata.?labels[?'{POD_SECURITY}enforce-version'].orValue('') ==
                  '{POD_SECURITY_VERSION}'"
            ),
            &format!(
                "the operator of Cloister may write no namespace whose pods are not held to \
                 {POD_SECURITY}enforce: restricted, in the version of this release"
            ),
        ),
        must(
            &format!(
                "
                variables.resource != 'pods' || request.operation != 'CREATE' ||
                dyn(object).metadata.?name.orValue('').startsWith('{PROBE_PREFIX}') &&
                dyn(object).metadata.?labels[?'{ROLE_LABEL}'].orValue('') == '{ROLE_PROBE}'"
            ),
            "the operator of Cloister may make no pod but probes",
        ),
    ]
}

/// Which rights they hand out: those that `tenant/desired/access.rs` makes, to the letter.
fn grants() -> Vec<Validation> {
    vec![
        must(
            &format!(
                "
                variables.resource != 'clusterroles' || !variables.grants ||
                !dyn(object).?aggregationRule.hasValue() &&
                dyn(object).metadata.?labels.orValue({{}}).all(k, !k.startsWith('{RBAC}/')) &&
                dyn(object).?rules.orValue([]).size() == 1 &&
                dyn(object).rules.all(r,
                  r.?apiGroups.orValue([]) == ['{GROUP}'] &&
                  r.?resources.orValue([]) == ['tenants'] &&
                  r.?resourceNames.orValue([]) == [request.name.split(':')[?2].orValue('')] &&
                  r.verbs in [['get', 'list', 'watch'], ['update', 'patch']])"
            ),
            "the operator of Cloister may write no cluster role, but to see or to change the one \
             Tenant that its name says",
        ),
        // Both kinds of binding bear the name of their role. Of the roles of members, verb
        // bind would let it give one in every namespace at once.
        must(
            "
            variables.resource != 'clusterrolebindings' || !variables.grants ||
            dyn(object).roleRef.kind == 'ClusterRole' &&
            dyn(object).roleRef.name == request.name",
            "the operator of Cloister may write no cluster role binding, but to the cluster role of \
             the same name",
        ),
        must(
            &format!(
                "
                variables.resource != 'rolebindings' || !variables.grants ||
                dyn(object).roleRef.kind == 'ClusterRole' &&
                dyn(object).roleRef.name == request.name &&
                request.name in ['{OWNER_ROLE}', '{ADMIN_ROLE}', '{USER_ROLE}']"
            ),
            "the operator of Cloister may write no role binding, but to the role of members of the \
             same name",
        ),
    ]
}
