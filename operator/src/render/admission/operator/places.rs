//! Where the operator's writes land.

use crds::well_known::{COUNTS, DISPATCH, GROUP, NAMESPACE_PREFIX, SYSTEM_NAMESPACE, TENANT_LABEL};
use k8s_openapi::api::admissionregistration::v1::Validation;

use super::super::must;

/// What the names of the cluster roles of a tenant begin with.
const ROLE_PREFIX: &str = "cloister:tenant:";

/// Where its writes land.
pub(super) fn places() -> Vec<Validation> {
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
                variables.resource == 'resourcequotas' &&
                request.namespace == '{SYSTEM_NAMESPACE}' && request.name == '{COUNTS}' ||
                request.namespace.startsWith('{NAMESPACE_PREFIX}') &&
                namespaceObject.metadata.?labels[?'{TENANT_LABEL}'].hasValue()"
            ),
            "the operator of Cloister may write nothing in a namespace that is not a tenant's",
        ),
        // Else whoever takes the operator over keeps every pod out of its namespace, for good.
        must(
            &format!(
                "
                variables.resource != 'resourcequotas' || !variables.grants ||
                request.namespace != '{SYSTEM_NAMESPACE}' ||
                dyn(object).?spec.?hard.orValue({{}}).all(k,
                  k.startsWith('count/') && k.endsWith('.{GROUP}'))"
            ),
            &format!(
                "the operator of Cloister may write no quota in {SYSTEM_NAMESPACE} that is about \
                 anything but kinds of Cloister's"
            ),
        ),
    ]
}

/// What its sandboxes dial, and by which certificate they know it: one object each.
pub(super) fn dispatch() -> Vec<Validation> {
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
