//! Policy `cloister-operator`: no write of the operator lands outside the namespaces of
//! tenants, but for what its sandboxes dial, and it hands out no right but those of members,
//! whatever RBAC allows it. RBAC cannot say "these kinds, in namespaces that are a tenant's",
//! nor "roles with these rules", nor a name at creation, so its rules are wider than what the
//! operator does; this closes the gap.
//!
//! In: names. Out: the policy. The operator's own Lease, its events and its answers are not
//! looked at.

use crds::well_known::{
    ADMIN_ROLE, DISPATCH, GROUP, INTEGRATION_LABEL, NAMESPACE_PREFIX, OWNER_ROLE,
    POD_SECURITY_VERSION, ROLE_LABEL, ROLE_PROBE, ROLE_SANDBOX, SCHEDULED_TIME_ANNOTATION,
    SYSTEM_NAMESPACE, TENANT_LABEL, USER_ROLE,
};
use k8s_openapi::api::admissionregistration::v1::{NamedRuleWithOperations, Validation};

use super::{Policy, Scope, condition, must, operator_user, rule, variable};
use crate::names::{PROBE_PREFIX, SANDBOX_PREFIX};

/// What the names of the cluster roles of a tenant begin with.
const ROLE_PREFIX: &str = "cloister:tenant:";

const RBAC: &str = "rbac.authorization.k8s.io";

/// What the labels of Pod Security Admission begin with.
const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-operator",
        description: "What the operator writes is in a tenant's namespace, is that namespace, is a \
                      cluster role for one Tenant, or is what its sandboxes dial; and it binds no \
                      role but a member's.",
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
            variable(
                "ofDispatch",
                "variables.resource in ['endpointslices', 'secrets']",
            ),
        ],
        validations: [places(), dispatch(), pods(), runs(), grants()].concat(),
    }
}

/// Everything that `rules.rs` lets the operator write, but leases, events, and of Cloister's own
/// kinds all but the creation of Executions.
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
        rule("", "v1", &["secrets"], verbs),
        rule("discovery.k8s.io", "v1", &["endpointslices"], verbs),
        rule(GROUP, "v1alpha1", &["executions"], &["CREATE"]),
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
                variables.ofDispatch ||
                request.namespace.startsWith('{NAMESPACE_PREFIX}') &&
                namespaceObject.metadata.?labels[?'{TENANT_LABEL}'].hasValue()"
            ),
            "the operator of Cloister may write nothing in a namespace that is not a tenant's",
        ),
    ]
}

/// What its sandboxes dial, and by which certificate they know it: one object each.
fn dispatch() -> Vec<Validation> {
    vec![
        must(
            &format!(
                "
                !variables.ofDispatch ||
                request.namespace == '{SYSTEM_NAMESPACE}' && request.name == '{DISPATCH}'"
            ),
            &format!(
                "the operator of Cloister may write no Secret and no EndpointSlice but {DISPATCH} in \
                 {SYSTEM_NAMESPACE}"
            ),
        ),
        // It would be filled with a token that never ends, of any account there.
        must(
            "
            variables.resource != 'secrets' || !variables.grants ||
            dyn(object).?type.orValue('Opaque') != 'kubernetes.io/service-account-token'",
            "the operator of Cloister may write no Secret that asks for a token",
        ),
    ]
}

/// What may run there: nothing less confined than a tenant's pods are, and of its own nothing
/// but probes and sandboxes. Else whoever takes the operator over has the nodes.
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
                dyn(object).metadata.?labels[?'{ROLE_LABEL}'].orValue('') == '{ROLE_PROBE}' ||
                dyn(object).metadata.?name.orValue('').startsWith('{SANDBOX_PREFIX}') &&
                dyn(object).metadata.?labels[?'{ROLE_LABEL}'].orValue('') == '{ROLE_SANDBOX}' &&
                dyn(object).metadata.?ownerReferences.orValue([]).exists(o,
                  o.?controller.orValue(false) && o.kind == 'Integration' &&
                  o.apiVersion.startsWith('{GROUP}/') &&
                  o.name == dyn(object).metadata.?labels[?'{INTEGRATION_LABEL}'].orValue(''))"
            ),
            &format!(
                "the operator of Cloister may make no pod but probes and sandboxes, each by name and \
                 label, a sandbox with its Integration as controller and in the label \
                 {INTEGRATION_LABEL}"
            ),
        ),
        // RBAC keeps the tenant's Secrets from it. A pod with an image of its choice would not.
        must(
            "
            variables.resource != 'pods' || request.operation != 'CREATE' ||
            dyn(object).spec.?volumes.orValue([]).all(v,
              has(v.emptyDir) || has(v.image) ||
              v.?projected.?sources.orValue([]).size() > 0 &&
              v.projected.sources.all(s, has(s.serviceAccountToken))) &&
            (dyn(object).spec.containers + dyn(object).spec.?initContainers.orValue([])).all(c,
              c.?envFrom.orValue([]).size() == 0 &&
              c.?env.orValue([]).all(e,
                !e.?valueFrom.?secretKeyRef.hasValue() &&
                !e.?valueFrom.?configMapKeyRef.hasValue()))",
            "the operator of Cloister may make no pod that is given anything of the tenant's: its \
             volumes are of kind emptyDir, image, or projected with nothing but tokens, and its \
             environment is from no Secret and no ConfigMap",
        ),
    ]
}

/// What runs by its word: what the schedule of an Integration has due, without an input of its
/// own, and traceable to both.
fn runs() -> Vec<Validation> {
    vec![must(
        &format!(
            "
            variables.resource != 'executions' ||
            dyn(object).metadata.?annotations[?'{SCHEDULED_TIME_ANNOTATION}'].hasValue() &&
            !dyn(object).spec.?input.hasValue() &&
            dyn(object).metadata.?ownerReferences.orValue([]).exists(o,
              o.?controller.orValue(false) && o.kind == 'Integration' &&
              o.apiVersion.startsWith('{GROUP}/') &&
              o.name == dyn(object).spec.?integration.orValue(''))"
        ),
        &format!(
            "the operator of Cloister may create no Execution but of a schedule: without an input, \
             with its Integration as controller, and the time in the annotation \
             {SCHEDULED_TIME_ANNOTATION}"
        ),
    )]
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gatekeeper::{OPERATOR, refusals};

    /// What is said to a write of the operator in `cloister-system`, or elsewhere.
    fn said(resource: &str, (namespace, name): (&str, &str), object: &Value) -> Vec<String> {
        let system = namespace == "cloister-system";
        let labels = if system {
            json!({})
        } else {
            json!({"cloister.dev/tenant": "acme"})
        };
        let request = json!({"operation": "CREATE", "userInfo": {"username": OPERATOR},
            "name": name, "namespace": namespace, "resource": {"resource": resource}});
        let context = json!({"request": request, "object": object,
            "namespaceObject": {"metadata": {"labels": labels}}});
        refusals("cloister-operator", &context)
    }

    #[test]
    fn accepts_the_two_objects_of_the_dispatch_and_no_other_of_their_kind() {
        let object = json!({"metadata": {}});
        let dispatch = ("cloister-system", "cloister-dispatch");
        for resource in ["secrets", "endpointslices"] {
            assert_eq!(said(resource, dispatch, &object), [""; 0]);
            for place in [
                ("cloister-system", "cloister-canary"),
                ("cloister-system", ""),
                ("tenant-acme", "cloister-dispatch"),
                ("kube-system", "cloister-dispatch"),
            ] {
                let said = said(resource, place, &object);
                assert!(
                    matches!(&*said, [one] if one.contains("may write no Secret and no Endpoint")),
                    "{resource} {place:?}: {said:?}"
                );
            }
        }
        let in_the_way = "may write nothing in a namespace that is not a tenant's";
        let pod = said("pods", dispatch, &object);
        assert!(pod.iter().any(|one| one.contains(in_the_way)), "{pod:?}");
        let token = json!({"type": "kubernetes.io/service-account-token"});
        assert_eq!(said("secrets", dispatch, &token).len(), 1);
    }
}
