//! Policy `cloister-probes`: what marks a pod of a tenant as Cloister's own, a probe, a sandbox
//! or a Worker's, only the operator writes. They are known by their labels: what a probe reports is
//! believed, and a sandbox may dial the operator. A Worker's are made by the controller of
//! `ReplicaSets` or `StatefulSets`, from what the operator wrote; [`workers`](super::workers) sees to
//! that.
//!
//! In: names. Out: the policy. What leaves labels and annotations alone (the kubelet's
//! status, finalizers) passes, so nothing can get stuck here.

use crds::well_known::{GROUP, ROLE_LABEL, ROLE_WORKER};

use super::{
    Policy, Scope, begins, condition, kept, must, operator_user, rule, variable,
    workers::{REPLICA_SETS, STATEFUL_SETS},
};
use crate::names::{PROBE_PREFIX, SANDBOX_PREFIX, WORKER_PREFIX};

/// The policy.
pub fn policy() -> Policy {
    let prefix = format!("{GROUP}/");
    let marks = |name, map| {
        let none =
            format!("object.metadata.?{map}.orValue({{}}).all(k, !k.startsWith('{prefix}'))");
        let same = kept(map, &begins(&[&prefix]));
        variable(
            name,
            &format!("request.operation == 'CREATE' ?\n({none}) :\n({same})"),
        )
    };
    Policy {
        name: "cloister-probes",
        description: "No pod of a tenant is marked as one of Cloister's probes or sandboxes, but \
                      by the operator.",
        // Every subresource: status takes labels along, and a binding's own go over to the
        // pod that it binds.
        rules: vec![rule(
            "",
            "v1",
            &["bindings", "pods", "pods/*"],
            &["CREATE", "UPDATE"],
        )],
        scope: Scope::TenantNamespaces,
        conditions: vec![
            condition(
                "by-others",
                &format!("request.userInfo.username != '{}'", operator_user()),
            ),
            condition("not-of-a-worker", &not_of_a_worker()),
        ],
        variables: vec![
            marks("labelsKept", "labels"),
            marks("annotationsKept", "annotations"),
        ],
        validations: vec![
            must(
                "variables.labelsKept",
                &format!(
                    "metadata.labels: those of {GROUP} say what is Cloister's own, and only its \
                     operator writes them on a tenant's pod"
                ),
            ),
            must(
                "variables.annotationsKept",
                &format!(
                    "metadata.annotations: those of {GROUP} say what is Cloister's own, and only \
                     its operator writes them on a tenant's pod"
                ),
            ),
            // A binding and an eviction bear the name of the pod that they are about.
            must(
                &format!(
                    "
                    request.operation != 'CREATE' || request.kind.kind != 'Pod' ||
                    !['{PROBE_PREFIX}', '{SANDBOX_PREFIX}'].exists(p,
                      object.metadata.?name.orValue('').startsWith(p))"
                ),
                &format!(
                    "metadata.name: {PROBE_PREFIX} and {SANDBOX_PREFIX} are how names of Cloister's \
                     probes and sandboxes begin; choose another"
                ),
            ),
        ],
    }
}

/// The request does not make a pod of a Worker on behalf of its `ReplicaSet` or `StatefulSet`.
fn not_of_a_worker() -> String {
    format!(
        "
        !(request.operation == 'CREATE' && request.kind.kind == 'Pod' &&
          request.?subResource.orValue('') == '' &&
          object.metadata.?labels[?'{ROLE_LABEL}'].orValue('') == '{ROLE_WORKER}' &&
          object.metadata.?generateName.orValue('').startsWith('{WORKER_PREFIX}') &&
          object.metadata.?ownerReferences.orValue([]).exists(o,
            o.?controller.orValue(false) && (
              o.kind == 'ReplicaSet' && request.userInfo.username in ['{}'] ||
              o.kind == 'StatefulSet' && request.userInfo.username in ['{}'])))",
        REPLICA_SETS.join("', '"),
        STATEFUL_SETS.join("', '")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gatekeeper::{OPERATOR, refusals};

    fn by(user: &str, operation: &str, before: &Value, after: &Value) -> Vec<String> {
        let request = json!({"operation": operation, "userInfo": {"username": user},
            "kind": {"kind": "Pod"}});
        let context = json!({"request": request, "object": after, "oldObject": before});
        refusals("cloister-probes", &context)
    }

    fn pod(name: &str, labels: &Value, annotations: &Value) -> Value {
        json!({"metadata": {"name": name, "labels": labels, "annotations": annotations}})
    }

    #[test]
    fn rejects_what_looks_like_a_probe_or_a_sandbox_of_somebody_else() {
        let probe = json!({"cloister.dev/role": "probe"});
        let sandbox = json!({"cloister.dev/role": "sandbox"});
        let boundary = json!({"cloister.dev/boundary": "x"});
        for (pod, word) in [
            (pod("a", &probe, &json!({})), "metadata.labels"),
            (pod("a", &sandbox, &json!({})), "metadata.labels"),
            (pod("a", &json!({}), &boundary), "metadata.annotations"),
            (
                pod("cloister-probe-a", &json!({}), &json!({})),
                "metadata.name",
            ),
            (
                pod("cloister-run-a", &json!({}), &json!({})),
                "metadata.name",
            ),
        ] {
            let said = by("platform", "CREATE", &Value::Null, &pod);
            assert!(matches!(&*said, [one] if one.starts_with(word)), "{said:?}");
            assert!(by(OPERATOR, "CREATE", &Value::Null, &pod).is_empty());
        }
        let plain = pod("a", &json!({"app": "a"}), &json!({}));
        assert!(by("platform", "CREATE", &Value::Null, &plain).is_empty());
        assert!(by("platform", "CREATE", &Value::Null, &json!({"metadata": {}})).is_empty());
    }

    #[test]
    fn rejects_marking_and_unmarking_a_pod_afterwards() {
        let plain = pod("a", &json!({"app": "a"}), &json!({}));
        let marked = pod(
            "a",
            &json!({"app": "a", "cloister.dev/role": "probe"}),
            &json!({}),
        );
        let other = pod(
            "a",
            &json!({"app": "a", "cloister.dev/role": "x"}),
            &json!({}),
        );
        for (before, after) in [(&plain, &marked), (&marked, &plain), (&marked, &other)] {
            assert_eq!(by("kubelet", "UPDATE", before, after).len(), 1);
            assert!(by(OPERATOR, "UPDATE", before, after).is_empty());
        }
        let renamed = pod(
            "a",
            &json!({"app": "b", "cloister.dev/role": "probe"}),
            &json!({}),
        );
        assert!(by("kubelet", "UPDATE", &marked, &renamed).is_empty());
        assert!(by("kubelet", "UPDATE", &marked, &marked).is_empty());

        let annotated = |value| pod("a", &json!({}), &json!({"cloister.dev/node": value}));
        for value in ["", "absent ", "node-a"] {
            let (bare, annotated) = (pod("a", &json!({}), &json!({})), annotated(value));
            for (before, after) in [(&bare, &annotated), (&annotated, &bare)] {
                assert_eq!(by("kubelet", "UPDATE", before, after).len(), 1, "{value:?}");
            }
        }
    }
}
