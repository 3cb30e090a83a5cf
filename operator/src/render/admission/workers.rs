//! Policy `cloister-workers`: what makes a Worker's pods, nobody writes but who has to.
//!
//! In: names. Out: the policy. The pods of a Worker carry labels that mark them as Cloister's own.
//! They are made by the controller of `ReplicaSets`, of whatever is a `ReplicaSet`: so those that
//! carry such labels on are made by the controller of Deployments alone, and Deployments that do by
//! the operator alone. What leaves the spec as it is (annotations, scale by those controllers,
//! status) passes, so nothing can get stuck here.

use crds::well_known::GROUP;

use super::{Policy, Scope, condition, must, operator_user, rule, variable};

/// As whom the controller of `ReplicaSets` asks: with an account of its own, or where the
/// controllers share one.
pub const REPLICA_SETS: [&str; 2] = [
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:kube-controller-manager",
];
/// The same of Deployments.
const DEPLOYMENTS: [&str; 2] = [
    "system:serviceaccount:kube-system:deployment-controller",
    "system:kube-controller-manager",
];

/// The policy.
pub fn policy() -> Policy {
    let prefix = format!("{GROUP}/");
    let marked = |of: &str| {
        format!(
            "{of}.spec.?template.?metadata.?labels.orValue({{}}).exists(k, k.startsWith('{prefix}'))"
        )
    };
    Policy {
        name: "cloister-workers",
        description: "What makes pods of a Worker is made by the operator of Cloister, and by the \
                      controller of Deployments from that.",
        rules: vec![
            rule("apps", "v1", &["deployments"], &["CREATE", "UPDATE"]),
            rule("apps", "v1", &["replicasets"], &["CREATE", "UPDATE"]),
        ],
        scope: Scope::TenantNamespaces,
        conditions: vec![
            condition(
                "spec-is-new-or-changed",
                "request.operation == 'CREATE' || object.spec != oldObject.spec",
            ),
            condition(
                "of-a-worker",
                &format!(
                    "{} ||\nrequest.operation == 'UPDATE' && {}",
                    marked("object"),
                    marked("oldObject")
                ),
            ),
        ],
        variables: vec![variable(
            "makers",
            &format!(
                "
                request.resource.resource == 'deployments' ? ['{}'] : ['{}']",
                operator_user(),
                DEPLOYMENTS.join("', '")
            ),
        )],
        validations: vec![must(
            "request.userInfo.username in variables.makers",
            &format!(
                "what makes pods with labels of {GROUP} is made by Cloister's operator alone, and \
                 by the controller of Deployments from that; change the Worker instead, or delete a \
                 pod to have it made anew"
            ),
        )],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gatekeeper::{OPERATOR, refusals};

    const CONTROLLER: &str = "system:serviceaccount:kube-system:deployment-controller";
    const REPLICAS: &str = "system:serviceaccount:kube-system:replicaset-controller";

    fn template(replicas: u32, labels: &Value) -> Value {
        json!({"metadata": {"name": "worker-poller"},
            "spec": {"replicas": replicas, "template": {"metadata": {"labels": labels}}}})
    }

    fn said(user: &str, resource: &str, before: &Value, after: &Value) -> Vec<String> {
        let operation = if before.is_null() { "CREATE" } else { "UPDATE" };
        let request = json!({"operation": operation, "userInfo": {"username": user},
            "resource": {"resource": resource}});
        let context = json!({"request": request, "object": after, "oldObject": before});
        refusals("cloister-workers", &context)
    }

    #[test]
    fn accepts_what_the_operator_and_the_controller_of_deployments_make() {
        let (none, labels) = (Value::Null, json!({"cloister.dev/role": "worker"}));
        let (one, two) = (template(1, &labels), template(2, &labels));
        for before in [&none, &one] {
            assert_eq!(said(OPERATOR, "deployments", before, &two), [""; 0]);
            assert_eq!(said(CONTROLLER, "replicasets", before, &two), [""; 0]);
        }
        let plain = template(1, &json!({"app": "a"}));
        for resource in ["deployments", "replicasets"] {
            assert_eq!(said("admin", resource, &none, &plain), [""; 0]);
            assert_eq!(said("admin", resource, &two, &two), [""; 0]);
        }
    }

    #[test]
    fn rejects_what_anybody_else_makes_that_carries_labels_of_cloister() {
        let (none, labels) = (Value::Null, json!({"cloister.dev/role": "worker"}));
        let (one, two) = (template(1, &labels), template(2, &labels));
        let plain = template(1, &json!({"app": "a"}));
        for (user, resource) in [
            ("admin", "deployments"),
            ("admin", "replicasets"),
            (OPERATOR, "replicasets"),
            (CONTROLLER, "deployments"),
        ] {
            for (before, after) in [(&none, &one), (&one, &two), (&one, &plain), (&plain, &one)] {
                let said = said(user, resource, before, after);
                assert!(
                    matches!(&*said, [one] if one.starts_with("what makes pods with labels")),
                    "{user} {resource}: {said:?}"
                );
            }
        }
    }

    /// What `cloister-probes` says to a pod that this user makes.
    fn pod(user: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut pod = json!({"metadata": {"name": "worker-poller-1-a",
            "generateName": "worker-poller-1-",
            "labels": {"cloister.dev/role": "worker", "cloister.dev/worker": "poller"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": "worker-poller-1", "uid": "1", "controller": true}]}});
        change(&mut pod["metadata"]);
        let request = json!({"operation": "CREATE", "userInfo": {"username": user},
            "kind": {"kind": "Pod"}, "resource": {"resource": "pods"}});
        refusals(
            "cloister-probes",
            &json!({"request": request, "object": pod}),
        )
    }

    #[test]
    fn a_pod_of_a_worker_is_made_for_its_replica_set_and_no_other() {
        assert_eq!(pod(REPLICAS, |_| ()), [""; 0]);
        for user in ["admin", CONTROLLER, "system:node:a"] {
            assert!(!pod(user, |_| ()).is_empty(), "{user}");
        }
        let others: [fn(&mut Value); 3] = [
            |meta| meta["labels"]["cloister.dev/role"] = json!("sandbox"),
            |meta| meta["generateName"] = json!("cloister-probe-"),
            |meta| meta["ownerReferences"] = json!([]),
        ];
        for other in others {
            assert!(!pod(REPLICAS, other).is_empty());
        }
    }
}
