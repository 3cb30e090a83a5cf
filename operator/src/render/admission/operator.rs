//! Policy `cloister-operator`: no write of the operator lands outside the namespaces of
//! tenants, whatever RBAC allows it. RBAC cannot say "these kinds, in namespaces that are a
//! tenant's", so its rules are wider than what the operator does; this closes the gap.
//!
//! In: names. Out: the policy. The operator's own Lease and its events are not looked at.

use crds::well_known::{NAMESPACE_PREFIX, TENANT_LABEL};
use k8s_openapi::api::admissionregistration::v1::{NamedRuleWithOperations, Validation};

use super::{Policy, Scope, condition, must, operator_user, rule};

/// What the names of the cluster roles of a tenant begin with.
const ROLE_PREFIX: &str = "cloister:tenant:";

const RBAC: &str = "rbac.authorization.k8s.io";

pub fn policy() -> Policy {
    Policy {
        name: "cloister-operator",
        description: "What the operator writes is in a tenant's namespace, is that namespace, or \
                      is a cluster role that bears a tenant's name.",
        rules: rules(),
        scope: Scope::Cluster,
        conditions: vec![condition(
            "by-the-operator",
            &format!("request.userInfo.username == '{}'", operator_user()),
        )],
        variables: vec![],
        validations: validations(),
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

fn validations() -> Vec<Validation> {
    vec![
        must(
            &format!(
                "
                !(request.resource.resource in ['clusterrolebindings', 'clusterroles']) ||
                request.name.startsWith('{ROLE_PREFIX}')"
            ),
            &format!(
                "the operator of Cloister may write no cluster role or binding whose name does not \
                 begin with {ROLE_PREFIX}"
            ),
        ),
        // Verb bind would let it give a member's role in every namespace at once.
        must(
            &format!(
                "
                request.resource.resource != 'clusterrolebindings' ||
                request.operation == 'DELETE' ||
                dyn(object).roleRef.name.startsWith('{ROLE_PREFIX}')"
            ),
            &format!(
                "the operator of Cloister may write no cluster role binding to a role whose name \
                 does not begin with {ROLE_PREFIX}"
            ),
        ),
        must(
            &format!(
                "
                request.resource.resource != 'namespaces' ||
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
                request.resource.resource in ['clusterrolebindings', 'clusterroles', 'namespaces'] ||
                request.namespace.startsWith('{NAMESPACE_PREFIX}') &&
                namespaceObject.metadata.?labels[?'{TENANT_LABEL}'].hasValue()"
            ),
            "the operator of Cloister may write nothing in a namespace that is not a tenant's",
        ),
    ]
}
