//! Policy `cloister-pods`: what every pod in a tenant's namespace must be, on top of the
//! Pod Security Standard `restricted`, which the namespace's own labels enforce.
//!
//! In: names. Out: the policy. A pod that conforms once goes on conforming: updates that
//! leave the spec alone (finalizers, labels) pass unseen, and neither status nor deletion is
//! looked at, so nothing can get stuck here.

use crds::{
    tenant::{Runtime, State},
    well_known::{
        ANYWHERE, DISPATCH_AUDIENCE, GVISOR_RUNTIME_CLASS, REGION_LABEL, REGIONS_ANNOTATION,
        ROLE_LABEL, ROLE_PROBE, ROLE_SANDBOX, ROLE_WORKER, RUNTIME_ANNOTATION,
        SANDBOX_SERVICE_ACCOUNT, STATE_LABEL, ZONE_LABEL, ZONES_ANNOTATION,
    },
};
use k8s_openapi::api::admissionregistration::v1::{Validation, Variable};

use super::{Policy, Scope, condition, must, must_or_name, operator_user, rule, variable};
use crate::names::PROBE_PRIORITY;

/// What the API server itself lets pods tolerate, as key and effect: for a while, that their
/// node is lost; and, where they have requests, that memory is short there. A toleration
/// without key or effect stands for all of them, and is none of these.
const TOLERATED: [&str; 3] = [
    "node.kubernetes.io/not-ready:NoExecute",
    "node.kubernetes.io/unreachable:NoExecute",
    "node.kubernetes.io/memory-pressure:NoSchedule",
];

/// Variable that a cluster without user namespaces sets to `false`.
pub const USER_NAMESPACES_REQUIRED: &str = "userNamespacesRequired";

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "cloister-pods",
        description: "Every pod in a tenant's namespace, on top of pod security restricted: no \
                      root group, no writable root, no account of its own, limits, user \
                      namespace, the tenant's runtime, region and zone, no taint ignored.",
        rules: vec![
            rule("", "v1", &["pods"], &["CREATE", "UPDATE"]),
            rule("", "v1", &["pods/ephemeralcontainers"], &["UPDATE"]),
        ],
        scope: Scope::TenantNamespaces,
        conditions: vec![condition(
            "spec-is-new-or-changed",
            "request.operation == 'CREATE' || object.spec != oldObject.spec",
        )],
        variables: [container_variables(), namespace_variables()].concat(),
        validations: [identity(), container_rules(), pod_rules(), placement()].concat(),
    }
}

/// What is wrong with which container, by name.
fn container_variables() -> Vec<Variable> {
    vec![
        // First, because the chart knows it by its place.
        variable(USER_NAMESPACES_REQUIRED, "true"),
        variable(
            "containers",
            "object.spec.containers + object.spec.?initContainers.orValue([])",
        ),
        variable(
            "inRootGroup",
            "
            variables.containers.filter(c,
              c.?securityContext.?runAsGroup.orValue(
                object.spec.?securityContext.?runAsGroup.orValue(0)) == 0
            ).map(c, c.name)",
        ),
        // Pod security says the same today, but stops saying it for pods in a user
        // namespace once the cluster turns UserNamespacesPodSecurityStandards on.
        variable(
            "asRoot",
            "
            variables.containers.filter(c,
              !c.?securityContext.?runAsNonRoot.orValue(
                object.spec.?securityContext.?runAsNonRoot.orValue(false)) ||
              c.?securityContext.?runAsUser.orValue(
                object.spec.?securityContext.?runAsUser.orValue(1)) == 0
            ).map(c, c.name)",
        ),
        variable(
            "unmasked",
            "
            variables.containers.filter(c,
              c.?securityContext.?procMount.orValue('Default') != 'Default'
            ).map(c, c.name)",
        ),
        variable(
            "writable",
            "
            variables.containers.filter(c,
              !c.?securityContext.?readOnlyRootFilesystem.orValue(false)
            ).map(c, c.name)",
        ),
        variable(
            "unlimited",
            "
            variables.containers.filter(c,
              ['cpu', 'memory'].exists(r, !c.?resources.?limits[?r].hasValue() ||
                !quantity(string(c.resources.limits[r])).isGreaterThan(quantity('0')))
            ).map(c, c.name)",
        ),
    ]
}

/// What the namespace says about its tenant: a policy sees the namespace, not the Tenant.
fn namespace_variables() -> Vec<Variable> {
    let annotation = |name, key| {
        let expression = format!("namespaceObject.metadata.?annotations[?'{key}'].orValue('')");
        variable(name, &expression)
    };
    vec![
        variable(
            "state",
            &format!("namespaceObject.metadata.?labels[?'{STATE_LABEL}'].orValue('unknown')"),
        ),
        annotation("runtime", RUNTIME_ANNOTATION),
        annotation("regions", REGIONS_ANNOTATION),
        annotation("zones", ZONES_ANNOTATION),
        variable(
            "nodeTerms",
            "
            object.spec.?affinity.?nodeAffinity
              .?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])",
        ),
        variable("runtimeClass", "object.spec.?runtimeClassName.orValue('')"),
        variable(
            "intolerable",
            &format!(
                "
                object.spec.?tolerations.orValue([])
                  .map(t, t.?key.orValue('') + ':' + t.?effect.orValue(''))
                  .filter(t, !(t in ['{}']))",
                TOLERATED.join("', '")
            ),
        ),
    ]
}

/// Whether anything may start, and as whom. A suspended tenant is still probed: what runs
/// on in it must still be shown to be shut in.
fn identity() -> Vec<Validation> {
    let (active, suspended) = (State::Active.as_str(), State::Suspended.as_str());
    let operator = operator_user();
    let probe = format!("object.metadata.?labels['{ROLE_LABEL}'].orValue('') == '{ROLE_PROBE}'");
    vec![
        must_or_name(
            &format!(
                "request.operation != 'CREATE' || variables.state == '{active}' || \
                 (variables.state == '{suspended}' && request.userInfo.username == '{operator}' \
                 && {probe})"
            ),
            "nothing new starts in this namespace, because its tenant is not Active; to start \
             again, set spec.state of the Tenant to Active. The tenant is",
            "variables.state",
        ),
        // A Windows pod is let off half of restricted, and can have none of the fields below.
        must(
            "object.spec.?os.?name.orValue('linux') == 'linux'",
            "spec.os.name: must be linux or absent",
        ),
        must(
            &format!("object.spec.?serviceAccountName.orValue('') == '{SANDBOX_SERVICE_ACCOUNT}'"),
            &format!(
                "spec.serviceAccountName: must be {SANDBOX_SERVICE_ACCOUNT}, which has no rights, \
                 for every pod of a tenant"
            ),
        ),
        must(
            "!object.spec.?automountServiceAccountToken.orValue(true)",
            "spec.automountServiceAccountToken: must be false, because no pod of a tenant talks to \
             the API server",
        ),
        must(
            &format!(
                "
                object.spec.?volumes.orValue([]).all(v,
                  v.?projected.?sources.orValue([]).all(s,
                    !has(s.serviceAccountToken) ||
                    s.serviceAccountToken.?audience.orValue('') == '{DISPATCH_AUDIENCE}'))"
            ),
            &format!(
                "spec.volumes: a projected serviceAccountToken must have the audience \
                 {DISPATCH_AUDIENCE}; one for the API server or anything else is refused"
            ),
        ),
    ]
}

fn container_rules() -> Vec<Validation> {
    let none = |variable: &str, message: &str| {
        must_or_name(
            &format!("variables.{variable}.size() == 0"),
            message,
            &format!("variables.{variable}.join(', ')"),
        )
    };
    vec![
        none(
            "inRootGroup",
            "securityContext.runAsGroup: must be set, on the pod or on each container, and not be \
             0; wrong in containers",
        ),
        none(
            "asRoot",
            "securityContext.runAsNonRoot: must be true, and runAsUser not 0; wrong in containers",
        ),
        none(
            "unmasked",
            "securityContext.procMount: must be Default or absent; wrong in containers",
        ),
        none(
            "writable",
            "securityContext.readOnlyRootFilesystem: must be true on each container, mount an \
             emptyDir where it has to write; wrong in containers",
        ),
        none(
            "unlimited",
            "resources.limits: cpu and memory must be set, above 0, on each container; wrong in containers",
        ),
        // They cannot have limits, and they are a way into a pod that is running.
        must(
            "object.spec.?ephemeralContainers.orValue([]).size() == 0",
            "spec.ephemeralContainers: refused, because nothing may enter a tenant's running pod",
        ),
    ]
}

fn pod_rules() -> Vec<Validation> {
    vec![
        // A claim lasts longer than a pod, and what a Worker keeps in its own is nobody else's.
        // Which pods are a Worker's, cloister-probes says.
        must(
            &format!(
                "
                object.metadata.?labels[?'{ROLE_LABEL}'].orValue('') == '{ROLE_WORKER}' ||
                object.spec.?volumes.orValue([]).all(v,
                  !has(v.persistentVolumeClaim) && !has(v.ephemeral))"
            ),
            "spec.volumes: a claim is for pods of Workers alone, by spec.volumes of the Worker; use \
             an emptyDir, or make it a Worker",
        ),
        must(
            "
            object.spec.?securityContext.?supplementalGroups.orValue([]).all(g, g != 0) &&
            object.spec.?securityContext.?fsGroup.orValue(1) != 0",
            "spec.securityContext: neither supplementalGroups nor fsGroup may name group 0",
        ),
        // gVisor is a kernel of its own and does not take user namespaces.
        must(
            &format!(
                "
                !variables.{USER_NAMESPACES_REQUIRED} ||
                !object.spec.?hostUsers.orValue(true) ||
                variables.runtimeClass == '{GVISOR_RUNTIME_CLASS}'"
            ),
            &format!(
                "spec.hostUsers: must be false, so that no user of the pod is a user of the node, \
                 unless spec.runtimeClassName is {GVISOR_RUNTIME_CLASS}"
            ),
        ),
        must(
            "!object.spec.?shareProcessNamespace.orValue(false)",
            "spec.shareProcessNamespace: must be false or absent",
        ),
        must(
            "!object.spec.?priorityClassName.orValue('').startsWith('system-')",
            "spec.priorityClassName: the system- classes would let a tenant push out the \
             cluster's own pods; name another or none",
        ),
        // Whoever makes them, and where the class was made the default as well. Which pods are probes,
        // cloister-probes says.
        must(
            &format!(
                "
                object.spec.?priorityClassName.orValue('') != '{PROBE_PRIORITY}' ||
                object.metadata.?labels[?'{ROLE_LABEL}'].orValue('') == '{ROLE_PROBE}'"
            ),
            &format!(
                "spec.priorityClassName: {PROBE_PRIORITY} is for Cloister's probes, which no quota \
                 counts; name another or none"
            ),
        ),
    ]
}

/// On which kernel, and where.
fn placement() -> Vec<Validation> {
    let (hardened, gvisor) = (Runtime::Hardened.as_str(), Runtime::GVisor.as_str());
    vec![
        // No other than what probes look from: a class of its own could be any runtime. An
        // Integration or a Worker may ask for gVisor where its tenant does not; its pods see for
        // themselves.
        must_or_name(
            &format!(
                "
                variables.runtime == '{hardened}' && variables.runtimeClass == '' ||
                variables.runtimeClass == '{GVISOR_RUNTIME_CLASS}' && (
                  variables.runtime == '{gvisor}' || variables.runtime == '{hardened}' &&
                  object.metadata.?labels[?'{ROLE_LABEL}'].orValue('') in
                    ['{ROLE_SANDBOX}', '{ROLE_WORKER}'])"
            ),
            &format!(
                "spec.runtimeClassName: must be {GVISOR_RUNTIME_CLASS} where spec.isolation.runtime \
                 of the Tenant is {gvisor}, and absent where it is {hardened}; here, by annotation \
                 {RUNTIME_ANNOTATION} of the namespace, it is"
            ),
            "(variables.runtime == '' ? 'missing' : variables.runtime)",
        ),
        // Tainted nodes are kept for others, and no probe looks from them.
        must_or_name(
            "variables.intolerable.size() == 0",
            "spec.tolerations: only those that Kubernetes itself adds, because nodes with taints \
             are kept for others; remove",
            "variables.intolerable.join(', ')",
        ),
        // Whoever names the node leaves the scheduler out, and with it what is said of
        // regions and zones.
        must(
            "request.operation != 'CREATE' || object.spec.?nodeName.orValue('') == ''",
            "spec.nodeName: leave the node to the scheduler; for a certain node, use a required \
             node affinity on metadata.name",
        ),
        must(
            "object.spec.?schedulerName.orValue('default-scheduler') == 'default-scheduler'",
            "spec.schedulerName: must be default-scheduler, which is known to respect regions and \
             zones",
        ),
        pinned(REGION_LABEL, "regions", REGIONS_ANNOTATION),
        pinned(ZONE_LABEL, "zones", ZONES_ANNOTATION),
    ]
}

/// Node selector and affinity leave only nodes whose label is in the list. Terms of an
/// affinity are alternatives, so each of them has to; a term without expressions, or one
/// that says `NotIn` or `Exists`, leaves too much.
fn pinned(label: &str, list: &str, annotation: &str) -> Validation {
    must_or_name(
        &format!(
            "
            variables.{list} == '{ANYWHERE}' || variables.{list} != '' && (
              object.spec.?nodeSelector[?'{label}'].orValue(',') in variables.{list}.split(',') ||
              variables.nodeTerms.size() > 0 && variables.nodeTerms.all(t,
                t.?matchExpressions.orValue([]).exists(e,
                  e.key == '{label}' && e.operator == 'In' &&
                  e.values.all(v, v in variables.{list}.split(',')))))"
        ),
        &format!(
            "spec.nodeSelector: must pin {label} (or a required node affinity must, by In) to what \
             spec.residency of the Tenant allows, by annotation {annotation} of the namespace"
        ),
        &format!(
            "(variables.{list} == '' ? 'nothing, the annotation is missing' : variables.{list})"
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gatekeeper::refusals;

    /// What is said against a pod of a tenant with this runtime, the pod having these fields.
    fn said(runtime: &str, fields: &Value) -> Vec<String> {
        said_of(&json!({}), runtime, fields)
    }

    /// The same of one with these labels.
    fn said_of(labels: &Value, runtime: &str, fields: &Value) -> Vec<String> {
        let restricted = json!({"runAsNonRoot": true, "runAsGroup": 65532});
        let mut spec = json!({
            "serviceAccountName": "cloister-sandbox", "automountServiceAccountToken": false,
            "hostUsers": false, "securityContext": restricted,
            "containers": [{"name": "main",
                "resources": {"limits": {"cpu": "1", "memory": "1"}},
                "securityContext": {"readOnlyRootFilesystem": true}}],
        });
        for (key, value) in fields.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let annotations = json!({"cloister.dev/runtime": runtime, "cloister.dev/regions": "*",
            "cloister.dev/zones": "*"});
        let namespace = json!({"metadata": {"labels": {"cloister.dev/state": "Active"},
            "annotations": annotations}});
        let request = json!({"operation": "CREATE", "userInfo": {"username": "platform"}});
        let context = json!({"request": request, "object": {"metadata": {"labels": labels}, "spec": spec},
            "namespaceObject": namespace});
        refusals("cloister-pods", &context)
    }

    fn refused(runtime: &str, fields: &Value, word: &str) {
        let said = said(runtime, fields);
        assert!(
            matches!(&*said, [one] if one.starts_with(word)),
            "{fields}: {said:?}"
        );
    }

    /// Members put over what a pod or a container says of its security.
    fn over(mut context: Value, fields: &Value) -> Value {
        for (key, value) in fields.as_object().into_iter().flatten() {
            context[key] = value.clone();
        }
        context
    }

    #[test]
    fn rejects_a_claim_in_any_pod_but_a_workers() {
        for volume in [
            json!({"name": "a", "persistentVolumeClaim": {"claimName": "data-worker-poller-0"}}),
            json!({"name": "a", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}),
        ] {
            refused(
                "Hardened",
                &json!({"volumes": [volume]}),
                "spec.volumes: a claim is for pods",
            );
        }
        let scratch = json!({"volumes": [{"name": "a", "emptyDir": {}}]});
        assert_eq!(said("Hardened", &scratch), [""; 0]);
    }

    /// Pod security refuses these too, today. It lets them pass for pods in a user namespace
    /// once the cluster turns `UserNamespacesPodSecurityStandards` on, and Cloister does not.
    #[test]
    fn rejects_root_and_an_unmasked_proc_without_the_help_of_pod_security() {
        let pod = |fields: Value| {
            let whole = json!({"runAsNonRoot": true, "runAsGroup": 65532});
            json!({"securityContext": over(whole, &fields)})
        };
        let container = |fields: Value| {
            let context = over(json!({"readOnlyRootFilesystem": true}), &fields);
            let limits = json!({"limits": {"cpu": "1", "memory": "1"}});
            json!({"containers": [
                {"name": "main", "resources": limits, "securityContext": context}]})
        };
        let (root, proc) = (
            "securityContext.runAsNonRoot:",
            "securityContext.procMount:",
        );
        for (fields, word) in [
            (pod(json!({"runAsUser": 0})), root),
            (pod(json!({"runAsNonRoot": false})), root),
            (container(json!({"runAsUser": 0})), root),
            (container(json!({"runAsNonRoot": false})), root),
            (container(json!({"procMount": "Unmasked"})), proc),
        ] {
            refused("Hardened", &fields, word);
        }
    }

    #[test]
    fn rejects_limits_that_are_none() {
        let limits = |limits: Value| {
            json!({"containers": [{"name": "main", "resources": {"limits": limits},
                "securityContext": {"readOnlyRootFilesystem": true}}]})
        };
        for fields in [
            json!({}),
            json!({"cpu": "1"}),
            json!({"cpu": "0", "memory": "1"}),
            json!({"cpu": "1", "memory": "0"}),
        ] {
            refused("Hardened", &limits(fields), "resources.limits:");
        }
    }

    #[test]
    fn accepts_the_one_runtime_class_that_the_tenant_has() {
        let class = |name: &str| json!({"runtimeClassName": name});
        assert_eq!(said("Hardened", &json!({})), [""; 0]);
        assert_eq!(said("GVisor", &class("gvisor")), [""; 0]);
        for (runtime, fields) in [
            ("Hardened", class("gvisor")),
            ("Hardened", class("privileged-vm")),
            ("GVisor", json!({})),
            ("GVisor", class("runc")),
            ("", json!({})),
        ] {
            refused(runtime, &fields, "spec.runtimeClassName:");
        }
    }

    #[test]
    fn rejects_the_priority_of_probes_in_every_other_pod() {
        let fields = json!({"priorityClassName": "cloister-probe"});
        for role in ["sandbox", "worker", ""] {
            let labels = json!({"cloister.dev/role": role});
            let said = said_of(&labels, "Hardened", &fields);
            assert!(
                matches!(&*said, [one] if one.starts_with("spec.priorityClassName: cloister-probe")),
                "{role}: {said:?}"
            );
        }
        let probe = json!({"cloister.dev/role": "probe"});
        assert_eq!(said_of(&probe, "Hardened", &fields), [""; 0]);
        let batch = json!({"priorityClassName": "batch"});
        assert_eq!(said("Hardened", &batch), [""; 0]);
    }

    #[test]
    fn accepts_the_tolerations_of_kubernetes_itself_and_no_other() {
        let tolerations = |list: Value| json!({"tolerations": list});
        let added = json!([
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300},
            {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists",
                "effect": "NoSchedule"},
        ]);
        assert_eq!(said("Hardened", &tolerations(added)), [""; 0]);
        for toleration in [
            json!({"operator": "Exists"}),
            json!({"operator": "Exists", "effect": "NoExecute"}),
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}),
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists",
                "effect": "NoSchedule"}),
            json!({"key": "node.kubernetes.io/network-unavailable", "operator": "Exists",
                "effect": "NoSchedule"}),
            json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}),
            json!({"key": "dedicated", "value": "payments", "effect": "NoSchedule"}),
        ] {
            refused(
                "Hardened",
                &tolerations(json!([toleration])),
                "spec.tolerations:",
            );
        }
    }
}
