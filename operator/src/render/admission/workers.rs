//! Policies `cloister-workers` and `cloister-autoscalers`: what makes a Worker's pods, nobody writes
//! but who has to, and what scales them, scales the Worker.
//!
//! In: names. Out: the policies. The pods of a Worker carry labels that mark them as Cloister's own.
//! They are made by the controller of `ReplicaSets`, of whatever is a `ReplicaSet`: so those that
//! carry such labels on are made by the controller of Deployments alone, and Deployments that do by
//! the operator alone. Those with volumes are made by the controller of `StatefulSets`, from one that
//! the operator made or from a `ControllerRevision`, which that controller makes of it. What leaves the spec as it is (annotations, scale by those controllers,
//! status) passes, so nothing can get stuck here.

use crds::well_known::GROUP;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::{Policy, Scope, condition, must, operator_user, rule, variable};
use crate::names::WORKER_PREFIX;

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
/// The same of `StatefulSets`.
pub const STATEFUL_SETS: [&str; 2] = [
    "system:serviceaccount:kube-system:statefulset-controller",
    "system:kube-controller-manager",
];

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-workers",
        description: "What makes pods of a Worker is made by the operator of Cloister, and by the \
                      controllers of Deployments and StatefulSets from that.",
        rules: vec![rule(
            "apps",
            "v1",
            &[
                "controllerrevisions",
                "deployments",
                "replicasets",
                "statefulsets",
            ],
            &["CREATE", "UPDATE"],
        )],
        scope: Scope::TenantNamespaces,
        conditions: conditions(),
        variables: vec![variable(
            "makers",
            &format!(
                "
                {{'controllerrevisions': ['{}'],
                  'replicasets': ['{}']}}[?request.resource.resource].orValue(['{}'])",
                STATEFUL_SETS.join("', '"),
                DEPLOYMENTS.join("', '"),
                operator_user(),
            ),
        )],
        validations: vec![must(
            "request.userInfo.username in variables.makers",
            &format!(
                "what makes pods with labels of {GROUP} is made by Cloister's operator alone, and \
                 by Kubernetes' own controllers from that; change the Worker instead, or delete a \
                 pod to have it made anew"
            ),
        )],
    }
}

/// Requests that make, or change, what makes pods with labels of Cloister's.
fn conditions() -> Vec<MatchCondition> {
    let prefix = format!("{GROUP}/");
    // A revision is found by its own labels, which are those of the template in it.
    let marked = |of: &str| {
        format!(
            "(request.resource.resource == 'controllerrevisions' ?
              dyn({of}).metadata.?labels.orValue({{}}) :
              dyn({of}).spec.?template.?metadata.?labels.orValue({{}})
            ).exists(k, k.startsWith('{prefix}'))"
        )
    };
    vec![
        condition(
            "what-counts-is-new-or-changed",
            "
                request.operation == 'CREATE' ||
                (request.resource.resource == 'controllerrevisions' ?
                  dyn(object).metadata.?labels.orValue({}) !=
                    dyn(oldObject).metadata.?labels.orValue({}) :
                  dyn(object).spec != dyn(oldObject).spec)"
                .trim(),
        ),
        condition(
            "of-a-worker",
            &format!(
                "{} ||\nrequest.operation == 'UPDATE' && {}",
                marked("object"),
                marked("oldObject")
            ),
        ),
    ]
}

/// An autoscaler asks with its controller's rights, not with those of who wrote it: what only the
/// operator may scale, it may not, or the two would undo each other's work.
pub fn autoscalers() -> Policy {
    Policy {
        name: "cloister-autoscalers",
        description: "An autoscaler in a tenant's namespace scales a Worker, not what that is made \
                      of.",
        rules: vec![rule(
            "autoscaling",
            "v2",
            &["horizontalpodautoscalers"],
            &["CREATE", "UPDATE"],
        )],
        scope: Scope::TenantNamespaces,
        conditions: vec![condition(
            "spec-is-new-or-changed",
            "request.operation == 'CREATE' || object.spec != oldObject.spec",
        )],
        variables: vec![],
        validations: vec![must(
            &format!(
                "
                !(object.spec.scaleTargetRef.kind in ['Deployment', 'ReplicaSet', 'StatefulSet'] &&
                  object.spec.scaleTargetRef.name.startsWith('{WORKER_PREFIX}'))"
            ),
            &format!(
                "spec.scaleTargetRef: what a Worker is made of is the operator's to scale; name the \
                 Worker (kind: Worker, apiVersion: {GROUP}/v1alpha1)"
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
    const SETS: &str = "system:serviceaccount:kube-system:statefulset-controller";

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
            assert_eq!(said(OPERATOR, "statefulsets", before, &two), [""; 0]);
            assert_eq!(said(CONTROLLER, "replicasets", before, &two), [""; 0]);
        }
        let plain = template(1, &json!({"app": "a"}));
        for resource in ["deployments", "replicasets", "statefulsets"] {
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
            ("admin", "statefulsets"),
            (SETS, "statefulsets"),
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

    #[test]
    fn a_revision_with_the_labels_of_a_worker_is_its_controllers_to_make() {
        let revision = |labels: Value, number: u32| {
            json!({"metadata": {"name": "worker-poller-1", "labels": labels}, "data": {},
                "revision": number})
        };
        let labels = json!({"cloister.dev/role": "worker"});
        let (none, made) = (Value::Null, revision(labels.clone(), 1));
        let plain = revision(json!({"app": "a"}), 1);
        let by = |user: &str, before: &Value, after: &Value| {
            said(user, "controllerrevisions", before, after)
        };
        assert_eq!(by(SETS, &none, &made), [""; 0]);
        assert_eq!(by("admin", &none, &plain), [""; 0]);
        for user in ["admin", OPERATOR, CONTROLLER] {
            assert_eq!(by(user, &none, &made).len(), 1, "{user}");
            assert_eq!(
                by(user, &plain, &made).len(),
                1,
                "{user}: labels added later"
            );
            // Who takes an owner off, so that it goes or stays, is not held up.
            assert_eq!(by(user, &made, &revision(labels.clone(), 2)), [""; 0]);
        }
    }

    #[test]
    fn an_autoscaler_scales_the_worker_and_not_what_it_is_made_of() {
        let said = |kind: &str, name: &str| {
            let target = json!({"kind": kind, "name": name});
            let context = json!({"request": {"operation": "CREATE"}, "oldObject": null,
                "object": {"spec": {"scaleTargetRef": target}}});
            refusals("cloister-autoscalers", &context)
        };
        assert_eq!(said("Worker", "worker-a"), [""; 0]);
        assert_eq!(said("Deployment", "web"), [""; 0]);
        for kind in ["Deployment", "ReplicaSet", "StatefulSet"] {
            let refused = said(kind, "worker-poller");
            assert!(
                matches!(&*refused, [one] if one.starts_with("spec.scaleTargetRef:")),
                "{kind}: {refused:?}"
            );
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
    fn a_pod_of_a_worker_is_made_for_its_set_by_that_ones_controller_and_no_other() {
        let of_set = |meta: &mut Value| meta["ownerReferences"][0]["kind"] = json!("StatefulSet");
        assert_eq!(pod(REPLICAS, |_| ()), [""; 0]);
        assert_eq!(pod(SETS, of_set), [""; 0]);
        assert_eq!(pod("system:kube-controller-manager", of_set), [""; 0]);
        for user in ["admin", CONTROLLER, SETS, "system:node:a"] {
            assert!(!pod(user, |_| ()).is_empty(), "{user}");
        }
        for user in ["admin", REPLICAS, OPERATOR] {
            let is_let = pod(user, of_set).is_empty();
            assert_eq!(
                is_let,
                user == OPERATOR,
                "{user}: cloister-operator asks the operator"
            );
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
