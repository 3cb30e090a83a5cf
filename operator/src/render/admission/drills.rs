//! Policy `cloister-drills`: nothing of a tenant is placed on a node that a Drill takes from it.
//!
//! In: names. Out: the policy. Who makes a pod does not matter: the scheduler places it by a
//! `Binding`, and is refused here, as if the node had no room; it tries again by and by. What the
//! operator alone makes (probes, by their names) goes on looking from there.

use crds::well_known::LOST_NODES_ANNOTATION;

use super::{Policy, Scope, must, rule, variable};
use crate::names::PROBE_PREFIX;

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-drills",
        description: "While a Drill takes a zone from a tenant, none of the tenant's pods is placed \
                      on a node of it.",
        rules: vec![rule("", "v1", &["pods/binding", "bindings"], &["CREATE"])],
        scope: Scope::TenantNamespaces,
        conditions: vec![],
        variables: vec![variable(
            "lost",
            &format!(
                "
                namespaceObject.metadata.?annotations[?'{LOST_NODES_ANNOTATION}'].orValue('')
                  .split(',')"
            ),
        )],
        validations: vec![must(
            &format!(
                "
                object.metadata.name.startsWith('{PROBE_PREFIX}') ||
                object.target.name != '' && !(object.target.name in variables.lost)"
            ),
            &format!(
                "the zone of this node is lost to the tenant in a Drill (annotation \
                 {LOST_NODES_ANNOTATION} of the namespace), and is given back when that is over; \
                 to end it now, delete the Drill"
            ),
        )],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::gatekeeper::refusals;

    /// What is said to a pod's being placed on this node while these are lost.
    fn said(pod: &str, node: &str, lost: Option<&str>) -> usize {
        let mut annotations = json!({"cloister.dev/zones": "*"});
        if let Some(lost) = lost {
            annotations["cloister.dev/lost-nodes"] = json!(lost);
        }
        let request = json!({"operation": "CREATE", "userInfo": {"username": "scheduler"},
            "resource": {"resource": "pods"}, "subResource": "binding"});
        let context = json!({"request": request,
            "object": {"metadata": {"name": pod}, "target": {"kind": "Node", "name": node}},
            "namespaceObject": {"metadata": {"annotations": annotations}}});
        refusals("cloister-drills", &context).len()
    }

    #[test]
    fn rejects_a_place_on_a_lost_node_and_no_other() {
        for (lost, node, refused) in [
            (Some("node-a,node-b"), "node-a", 1),
            (Some("node-a,node-b"), "node-b", 1),
            (Some("node-a,node-b"), "node-c", 0),
            (Some("node-ab"), "node-a", 0),
            (Some(""), "node-a", 0),
            (None, "node-a", 0),
        ] {
            let found = said("worker-poller-1-a", node, lost);
            assert_eq!(found, refused, "{node} of {lost:?}");
        }
        assert_eq!(said("worker-poller-1-a", "", Some("node-a")), 1);
    }

    #[test]
    fn accepts_probes_which_go_on_looking() {
        assert_eq!(said("cloister-probe-1", "node-a", Some("node-a")), 0);
    }
}
