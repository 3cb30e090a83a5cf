//! Policy `cloister-tenants`: who may change what of a Tenant, beyond what RBAC can say.
//!
//! In: the fields of the spec, from the CRD itself, so that a new one is protected the day
//! it appears. Out: the policy.
//!
//! Three kinds of people change a Tenant. Whoever may update every Tenant (a cluster admin,
//! a controller that applies from Git) may change all of it but the Owners. A member may update this one
//! Tenant, and so change its members, but the Owners. An Owner (custom verb `own`) may
//! change the Owners too. The operator changes nothing but its finalizer, and nobody else
//! takes that off: without it a tenant's policies go while its pods still run.

use crds::well_known::{GROUP, NAMESPACE_PREFIX, OWN_VERB, TENANT_FINALIZER};
use k8s_openapi::api::admissionregistration::v1::{Validation, Variable};

use super::{Policy, Scope, kept, must, must_or_name, operator_user, rule, variable};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-tenants",
        description: "A Tenant is deleted only under deletionPolicy Purge; only an Owner changes \
                      Owners; a member changes nothing but members; the operator changes no spec, \
                      and it alone lets a Tenant go.",
        rules: vec![rule(
            GROUP,
            "v1alpha1",
            &["tenants"],
            &["CREATE", "UPDATE", "DELETE"],
        )],
        scope: Scope::Cluster,
        conditions: vec![],
        variables: variables(),
        validations: [
            deletion(),
            vec![subjects(), owners()],
            member(),
            vec![finalizer(), operator()],
        ]
        .concat(),
    }
}

fn variables() -> Vec<Variable> {
    let owners = |name, object| {
        let expression = format!(
            "
            {object}.spec.members.filter(m, m.role == 'Owner')
              .map(m, m.kind + ' ' + m.?namespace.orValue('') + ' ' + m.name)"
        );
        variable(name, &expression)
    };
    vec![
        variable(
            "byOperator",
            &format!("request.userInfo.username == '{}'", operator_user()),
        ),
        // Whoever may update every Tenant is not bound by what a member may.
        variable(
            "byMember",
            &format!(
                "
                !variables.byOperator &&
                !authorizer.group('{GROUP}').resource('tenants').check('update').allowed()"
            ),
        ),
        variable(
            "byOwner",
            &format!(
                "
                authorizer.group('{GROUP}').resource('tenants')
                  .namespace('{NAMESPACE_PREFIX}' + oldObject.metadata.name)
                  .name(oldObject.metadata.name).check('{OWN_VERB}').allowed()"
            ),
        ),
        // RBAC follows the spec a moment later: until then, who was removed still has rights.
        standing("isOwner", "m.role == 'Owner'"),
        standing("isManager", "m.role != 'User'"),
        owners("ownersBefore", "oldObject"),
        owners("ownersAfter", "object"),
        variable("changed", &changed()),
        variable(
            "metadataKept",
            "
            object.metadata.?labels == oldObject.metadata.?labels &&
            object.metadata.?finalizers == oldObject.metadata.?finalizers &&
            object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences",
        ),
        // What kubectl applied last is among them: the next apply of whoever manages the
        // platform would take out of the spec what somebody else has put in there.
        variable("annotationsKept", &kept("annotations", "true")),
    ]
}

/// A variable: whoever asks is a member by the spec as it stands, in such a role.
fn standing(name: &str, role: &str) -> Variable {
    variable(
        name,
        &format!(
            "
            oldObject.spec.members.exists(m, {role} && (
              m.kind == 'User' && m.name == request.userInfo.username ||
              m.kind == 'Group' && m.name in request.userInfo.?groups.orValue([]) ||
              m.kind == 'ServiceAccount' && request.userInfo.username ==
                'system:serviceaccount:' + m.?namespace.orValue('') + ':' + m.name))"
        ),
    )
}

/// A list of the fields of the spec, members apart, that differ.
fn changed() -> String {
    let fields: Vec<String> = spec_fields()
        .iter()
        .filter(|field| *field != "members")
        .map(|field| {
            format!("(object.spec.?{field} == oldObject.spec.?{field} ? [] : ['spec.{field}'])")
        })
        .collect();
    fields.join(" +\n")
}

fn spec_fields() -> Vec<String> {
    crds::all()
        .into_iter()
        .filter(|crd| crd.spec.names.kind == "Tenant")
        .flat_map(|crd| crd.spec.versions)
        .filter_map(|version| {
            version
                .schema?
                .open_api_v3_schema?
                .properties?
                .remove("spec")
        })
        .flat_map(|spec| spec.properties.unwrap_or_default().into_keys())
        .collect()
}

fn deletion() -> Vec<Validation> {
    // One that is marked already is not marked again; asking twice is no fault.
    vec![
        must(
            "
            request.operation != 'DELETE' ||
            oldObject.metadata.?deletionTimestamp.hasValue() ||
            oldObject.spec.?deletionPolicy.orValue('Retain') == 'Purge'",
            "spec.deletionPolicy: is Retain, which refuses deletion; set spec.deletionPolicy to \
             Purge, then delete again",
        ),
        // What is half removed cannot be kept any more.
        must(
            "
            request.operation != 'UPDATE' ||
            !oldObject.metadata.?deletionTimestamp.hasValue() ||
            oldObject.spec.?deletionPolicy.orValue('Retain') != 'Purge' ||
            object.spec.?deletionPolicy.orValue('Retain') == 'Purge'",
            "spec.deletionPolicy: the tenant is being removed, which cannot be stopped half-way; \
             leave it at Purge, and make the tenant anew once it is gone",
        ),
        // Foreground: the garbage collector takes the policies while pods still run. Orphan:
        // it makes the namespace nobody's.
        must(
            "
            request.operation != 'DELETE' ||
            request.?options.?propagationPolicy.orValue('Background') == 'Background' &&
            !request.?options.?orphanDependents.orValue(false)",
            "propagationPolicy: must be Background (the default of kubectl delete), because Cloister \
             itself takes a tenant's objects away, pods before their policies",
        ),
        must(
            "
            request.operation == 'DELETE' || object.metadata.?finalizers.orValue([]).all(f,
              !(f in ['foregroundDeletion', 'orphan']) ||
              request.operation == 'UPDATE' && f in oldObject.metadata.?finalizers.orValue([]))",
            "metadata.finalizers: foregroundDeletion and orphan are refused, because Cloister \
             itself takes a tenant's objects away, pods before their policies",
        ),
    ]
}

/// As Kubernetes names service accounts: RBAC refuses a binding that names another, with all
/// its other subjects. Too dear for a rule of the CRD, which has to reckon with the worst.
fn subjects() -> Validation {
    must(
        "
        request.operation == 'DELETE' || variables.byOperator ||
        object.spec.members.filter(m, m.kind == 'ServiceAccount').all(m,
          m.name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$') &&
          m.?namespace.orValue('').matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
        "spec.members: name and namespace of a ServiceAccount are lower case: a-z, 0-9 and -, and \
         dots in the name",
    )
}

fn owners() -> Validation {
    must(
        "
        request.operation != 'UPDATE' ||
        sets.equivalent(variables.ownersBefore, variables.ownersAfter) ||
        variables.byOwner && (!variables.byMember || variables.isOwner)",
        &format!(
            "spec.members: only an Owner of the tenant, or whoever holds the verb {OWN_VERB} on \
             tenants.{GROUP}, may add, change or remove an Owner; ask one of the Owners"
        ),
    )
}

fn member() -> Vec<Validation> {
    vec![
        must(
            "request.operation != 'UPDATE' || !variables.byMember || variables.isManager",
            "spec.members: whoever asks is neither Owner nor Admin of the tenant any more",
        ),
        must_or_name(
            "request.operation != 'UPDATE' || !variables.byMember || variables.changed.size() == 0",
            "a member of the tenant may change spec.members and nothing else; ask who manages the \
             platform. Changed",
            "variables.changed.join(', ')",
        ),
        must(
            "
            request.operation != 'UPDATE' || !variables.byMember ||
            variables.metadataKept && variables.annotationsKept",
            "metadata: a member of the tenant may change spec.members and nothing else; leave \
             labels, annotations, finalizers and ownerReferences as they are",
        ),
    ]
}

fn finalizer() -> Validation {
    must(
        &format!(
            "
            request.operation != 'UPDATE' || variables.byOperator ||
            !('{TENANT_FINALIZER}' in oldObject.metadata.?finalizers.orValue([])) ||
            '{TENANT_FINALIZER}' in object.metadata.?finalizers.orValue([])"
        ),
        &format!(
            "metadata.finalizers: only the operator takes {TENANT_FINALIZER} off, once the tenant's \
             pods have ended; leave it where it is (apply instead of replace). Where no operator \
             will run again, see docs/operations.md, Uninstall"
        ),
    )
}

fn operator() -> Validation {
    must(
        "
        request.operation != 'UPDATE' || !variables.byOperator ||
        object.spec == oldObject.spec &&
        object.metadata.?labels == oldObject.metadata.?labels &&
        object.metadata.?annotations == oldObject.metadata.?annotations &&
        object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences",
        "the operator itself may change nothing of a Tenant but its finalizer and its status",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gatekeeper::{OPERATOR, refusals};

    /// What is said of finalizers when these become those.
    fn said(user: &str, operation: &str, before: &[&str], after: &[&str]) -> Vec<String> {
        let tenant = |finalizers: &[&str]| {
            json!({"metadata": {"name": "acme", "finalizers": finalizers},
                "spec": {"members": [], "deletionPolicy": "Purge"}})
        };
        let old = match operation {
            "CREATE" => Value::Null,
            _ => tenant(before),
        };
        let request = json!({"operation": operation, "userInfo": {"username": user}});
        let context = json!({"request": request, "object": tenant(after), "oldObject": old});
        let mut said = refusals("cloister-tenants", &context);
        said.retain(|one| one.starts_with("metadata.finalizers:"));
        said
    }

    #[test]
    fn rejects_everybody_but_the_operator_who_takes_its_finalizer_off() {
        let ours = "cloister.dev/teardown";
        let theirs = "example.com/theirs";
        assert_eq!(said("admin", "UPDATE", &[ours], &[]).len(), 1);
        assert_eq!(said("admin", "UPDATE", &[ours, theirs], &[theirs]).len(), 1);
        assert_eq!(said(OPERATOR, "UPDATE", &[ours], &[]), [""; 0]);
        assert_eq!(said("admin", "UPDATE", &[ours, theirs], &[ours]), [""; 0]);
        assert_eq!(said("admin", "UPDATE", &[ours], &[theirs, ours]), [""; 0]);
        assert_eq!(said("admin", "UPDATE", &[], &[]), [""; 0]);
    }

    #[test]
    fn rejects_at_creation_what_would_take_the_objects_in_another_order() {
        for finalizer in ["foregroundDeletion", "orphan"] {
            assert_eq!(said("admin", "CREATE", &[], &[finalizer]).len(), 1);
            assert_eq!(said("admin", "UPDATE", &[], &[finalizer]).len(), 1);
            assert_eq!(said("admin", "UPDATE", &[finalizer], &[finalizer]), [""; 0]);
        }
        for finalizer in ["cloister.dev/teardown", "example.com/theirs"] {
            assert_eq!(said("admin", "CREATE", &[], &[finalizer]), [""; 0]);
        }
    }
}
