//! Policy `cloister-integrations`: what would hold an Integration, an Execution, a Worker or a Drill
//! in place, or leave its pods behind, nobody writes. They are the first objects that a tenant's members
//! both make and delete, and a namespace goes only when the last of them has gone.
//!
//! In: names. Out: the policy. Their specs are for the rules of the CRDs.

use crds::well_known::GROUP;

use super::{Policy, Scope, condition, must, operator_user, rule};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-integrations",
        description: "No Integration, Execution, Worker or Drill of a tenant has finalizers, or \
                      goes without its pods.",
        rules: vec![rule(
            GROUP,
            "v1alpha1",
            &["drills", "executions", "integrations", "workers"],
            &["CREATE", "UPDATE", "DELETE"],
        )],
        scope: Scope::TenantNamespaces,
        conditions: vec![condition(
            "by-others",
            &format!("request.userInfo.username != '{}'", operator_user()),
        )],
        variables: vec![],
        validations: vec![
            // What the API server itself sets at a deletion in the foreground is not asked here.
            must(
                "
                request.operation == 'DELETE' || object.metadata.?finalizers.orValue([]).all(f,
                  request.operation == 'UPDATE' &&
                  f in oldObject.metadata.?finalizers.orValue([]))",
                "metadata.finalizers: must be empty, because one that nobody takes off would keep \
                 the tenant from ever being removed",
            ),
            must(
                "
                request.operation != 'DELETE' ||
                request.?options.?propagationPolicy.orValue('Background') != 'Orphan' &&
                !request.?options.?orphanDependents.orValue(false)",
                "propagationPolicy: must not be Orphan, because pods would be left behind that belong to \
                 nothing",
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gatekeeper::{OPERATOR, refusals};

    fn said(user: &str, operation: &str, before: &Value, after: &Value) -> Vec<String> {
        let request = json!({"operation": operation, "userInfo": {"username": user}});
        let context = json!({"request": request, "object": after, "oldObject": before});
        refusals("cloister-integrations", &context)
    }

    fn with(finalizers: &[&str]) -> Value {
        json!({"metadata": {"name": "a", "finalizers": finalizers}})
    }

    #[test]
    fn rejects_a_finalizer_that_was_not_there() {
        let plain = json!({"metadata": {"name": "a"}});
        for finalizer in ["example.com/never", "orphan", "foregroundDeletion"] {
            let held = with(&[finalizer]);
            for (operation, before) in [("CREATE", &Value::Null), ("UPDATE", &plain)] {
                let said = said("admin", operation, before, &held);
                assert!(
                    matches!(&*said, [one] if one.starts_with("metadata.finalizers:")),
                    "{operation} {finalizer}: {said:?}"
                );
            }
            assert_eq!(said("admin", "UPDATE", &held, &held), [""; 0]);
            assert_eq!(said("admin", "UPDATE", &held, &plain), [""; 0]);
            assert_eq!(said(OPERATOR, "UPDATE", &plain, &held), [""; 0]);
        }
        assert_eq!(said("admin", "CREATE", &Value::Null, &plain), [""; 0]);
    }

    #[test]
    fn rejects_a_deletion_that_leaves_sandboxes_behind() {
        let deleted = |options: Value| {
            let request = json!({"operation": "DELETE", "userInfo": {"username": "admin"},
                "options": options});
            let context = json!({"request": request, "object": null, "oldObject": with(&[])});
            refusals("cloister-integrations", &context)
        };
        for options in [
            json!({"propagationPolicy": "Orphan"}),
            json!({"orphanDependents": true}),
        ] {
            let said = deleted(options);
            assert!(matches!(&*said, [one] if one.starts_with("propagationPolicy:")));
        }
        for options in [
            json!({}),
            json!({"propagationPolicy": "Background"}),
            json!({"propagationPolicy": "Foreground"}),
        ] {
            assert_eq!(deleted(options), [""; 0]);
        }
    }
}
