//! Policy `cloister-namespaces`: what makes a namespace a tenant's, only the operator says.
//!
//! In: names. Out: the policy. Its status and its `finalize` subresource are not looked at,
//! and the control plane is let through, so that a namespace can always come to its end.

use crds::well_known::{DECOY_NAMESPACE, TENANT_LABEL};

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, Validation};

use super::{Policy, Scope, begins, condition, kept, must, operator_user, rule, variable};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-namespaces",
        description: "A namespace becomes a tenant's, changes what it says about its tenant, and \
                      goes, by the operator alone.",
        rules: vec![rule(
            "",
            "v1",
            &["namespaces"],
            &["CREATE", "UPDATE", "DELETE"],
        )],
        scope: Scope::Cluster,
        conditions: conditions(),
        variables: vec![
            variable(
                "labelsKept",
                &kept(
                    "labels",
                    &begins(&["cloister.dev/", "pod-security.kubernetes.io/"]),
                ),
            ),
            variable(
                "annotationsKept",
                &kept("annotations", &begins(&["cloister.dev/"])),
            ),
        ],
        validations: validations(),
    }
}

fn conditions() -> Vec<MatchCondition> {
    let operator = operator_user();
    vec![
        // Of a namespace the selector of a policy sees only what it becomes; one that is
        // losing the label must be looked at too.
        condition(
            "is-or-was-of-a-tenant",
            &format!(
                "
                (object != null && object.metadata.?labels[?'{TENANT_LABEL}'].hasValue()) ||
                (oldObject != null && oldObject.metadata.?labels[?'{TENANT_LABEL}'].hasValue())"
            ),
        ),
        // The garbage collector acts once the Tenant is gone; in a cluster without accounts
        // per controller it is the controller manager itself.
        condition(
            "by-others",
            &format!(
                "
                !(request.userInfo.username in [
                  '{operator}',
                  'system:serviceaccount:kube-system:generic-garbage-collector',
                  'system:serviceaccount:kube-system:namespace-controller',
                  'system:kube-controller-manager'])"
            ),
        ),
        // Made by whoever installs Cloister.
        condition(
            "not-the-decoy",
            &format!("request.name != '{DECOY_NAMESPACE}'"),
        ),
    ]
}

fn validations() -> Vec<Validation> {
    vec![
        must(
            "request.operation != 'CREATE'",
            &format!(
                "metadata.labels[{TENANT_LABEL}]: only Cloister makes a tenant's namespace; create \
                 a Tenant instead"
            ),
        ),
        must(
            "request.operation != 'DELETE'",
            "this is a tenant's namespace; delete the Tenant instead, with spec.deletionPolicy set \
             to Purge, and the namespace goes in the right order",
        ),
        must(
            "request.operation != 'UPDATE' || variables.labelsKept",
            "metadata.labels: those of cloister.dev and pod-security.kubernetes.io belong to \
             Cloister in a tenant's namespace; change the Tenant instead",
        ),
        must(
            "request.operation != 'UPDATE' || variables.annotationsKept",
            "metadata.annotations: those of cloister.dev belong to Cloister in a tenant's \
             namespace; change the Tenant instead",
        ),
        must(
            "
            request.operation != 'UPDATE' ||
            object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences",
            "metadata.ownerReferences: belong to Cloister in a tenant's namespace",
        ),
    ]
}
