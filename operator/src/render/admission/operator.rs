//! Policy `cloister-operator`: no write of the operator lands outside the namespaces of
//! tenants, but for what its sandboxes dial and a quota that shows what is counted, and it hands out no right but those of members,
//! whatever RBAC allows it. RBAC cannot say "these kinds, in namespaces that are a tenant's",
//! nor "roles with these rules", nor a name at creation, so its rules are wider than what the
//! operator does; this closes the gap.
//!
//! In: names. Out: the policy. The operator's own Lease, its events and its answers are not
//! looked at.

mod places;

use crds::reserved::RESERVED;
use crds::well_known::{
    ADMIN_ROLE, DRILL_ANNOTATION, GROUP, INTEGRATION_LABEL, OWNER_ROLE, POD_SECURITY_VERSION,
    ROLE_LABEL, ROLE_PROBE, ROLE_SANDBOX, ROLE_WORKER, SCHEDULED_TIME_ANNOTATION, USER_ROLE,
    WORKER_LABEL,
};
use k8s_openapi::api::admissionregistration::v1::{NamedRuleWithOperations, Validation};

use super::{Policy, Scope, condition, must, operator_user, rule, variable};
use crate::names::{
    EGRESS_PREFIX, POLICIES, PROBE_PREFIX, SANDBOX_PREFIX, WORKER_POLICY_PREFIX, WORKER_PREFIX,
};

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
            // An eviction is created, too.
            variable("evicts", "request.?subResource.orValue('') == 'eviction'"),
            variable(
                "makes",
                "request.operation == 'CREATE' && !variables.evicts",
            ),
            variable("resource", "request.resource.resource"),
            variable(
                "ofDispatch",
                "variables.resource in ['endpointslices', 'secrets']",
            ),
        ],
        validations: [
            places::places(),
            places::dispatch(),
            pods(),
            vec![evictions()],
            workers(),
            openings(),
            runs(),
            grants(),
        ]
        .concat(),
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
        rule("", "v1", &["pods/eviction"], &["CREATE"]),
        rule("discovery.k8s.io", "v1", &["endpointslices"], verbs),
        rule(GROUP, "v1alpha1", &["executions"], &["CREATE"]),
        rule("networking.k8s.io", "v1", &["networkpolicies"], verbs),
        rule("apps", "v1", &["deployments", "statefulsets"], verbs),
        rule("policy", "v1", &["poddisruptionbudgets"], verbs),
        rule(RBAC, "v1", bindings, verbs),
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
                variables.resource != 'pods' || !variables.makes ||
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
        given(
            "variables.resource != 'pods' || !variables.makes",
            "dyn(object).spec",
        ),
        given(
            "!(variables.resource in ['deployments', 'statefulsets']) || !variables.grants",
            "dyn(object).spec.template.spec",
        ),
        // A volume that is there already may be anybody's.
        must(
            "
            variables.resource != 'statefulsets' || !variables.grants ||
            dyn(object).spec.?volumeClaimTemplates.orValue([]).all(c,
              ['dataSource', 'dataSourceRef', 'selector', 'volumeName'].all(f,
                !(f in c.spec)))",
            "the operator of Cloister may make no StatefulSet whose claims are for a volume that is \
             there already, or for a copy of one",
        ),
    ]
}

/// Whom it evicts: pods of a tenant that a Drill takes a zone from, and no others.
fn evictions() -> Validation {
    must(
        &format!(
            "
            !variables.evicts ||
            namespaceObject.metadata.?annotations[?'{DRILL_ANNOTATION}'].orValue('') != ''"
        ),
        "the operator of Cloister may evict no pod but of a tenant that a Drill takes a zone from",
    )
}

/// Nothing of the tenant's is in a pod of this spec, unless the request is about another kind.
fn given(unless: &str, spec: &str) -> Validation {
    must(
        &format!(
            "
            {unless} ||
            {spec}.?volumes.orValue([]).all(v,
              has(v.emptyDir) || has(v.image) ||
              v.?projected.?sources.orValue([]).size() > 0 &&
              v.projected.sources.all(s, has(s.serviceAccountToken))) &&
            ({spec}.containers + {spec}.?initContainers.orValue([])).all(c,
              c.?envFrom.orValue([]).size() == 0 &&
              c.?env.orValue([]).all(e,
                !e.?valueFrom.?secretKeyRef.hasValue() &&
                !e.?valueFrom.?configMapKeyRef.hasValue()))"
        ),
        "the operator of Cloister may make no pod that is given anything of the tenant's: its \
         volumes are of kind emptyDir, image, or projected with nothing but tokens, and its \
         environment is from no Secret and no ConfigMap",
    )
}

/// What Workers are made of: a Deployment or a `StatefulSet`, and a budget, by name, of the Worker that
/// they are about and of no other pods.
fn workers() -> Vec<Validation> {
    let of_worker = format!(
        "
        dyn(object).metadata.?ownerReferences.orValue([]).exists(o,
          o.?controller.orValue(false) && o.kind == 'Worker' &&
          o.apiVersion.startsWith('{GROUP}/') && request.name == '{WORKER_PREFIX}' + o.name &&
          o.name == dyn(object).spec.?selector.?matchLabels[?'{WORKER_LABEL}'].orValue('')) &&
        dyn(object).spec.?selector.?matchLabels[?'{ROLE_LABEL}'].orValue('') == '{ROLE_WORKER}'"
    );
    vec![must(
        &format!(
            "
            !(variables.resource in ['deployments', 'poddisruptionbudgets', 'statefulsets']) ||
            !variables.grants ||
            {}",
            of_worker.trim()
        ),
        &format!(
            "the operator of Cloister may write no Deployment, StatefulSet and PodDisruptionBudget \
             but {WORKER_PREFIX}<name> of a Worker, with that as controller, which selects pods of \
             that alone"
        ),
    )]
}

/// What its network policies open: those that every tenant has, by name, and for the sandboxes of
/// one Integration blocks of addresses that are nobody's but the public's. A repair takes two
/// writes, and in the first one what somebody else has put beside its fields is still there.
fn openings() -> Vec<Validation> {
    let (fixed, reserved) = (POLICIES.join("', '"), RESERVED.join("', '"));
    let of_integration = of_one(
        EGRESS_PREFIX,
        "Integration",
        INTEGRATION_LABEL,
        ROLE_SANDBOX,
    );
    let of_worker = of_one(WORKER_POLICY_PREFIX, "Worker", WORKER_LABEL, ROLE_WORKER);
    vec![must(
        &format!(
            "
            variables.resource != 'networkpolicies' || !variables.grants ||
            request.name in ['{fixed}'] ||
            ({of_integration} &&
              dyn(object).spec.?policyTypes.orValue([]) == ['Egress'] ||
            {of_worker} &&
              dyn(object).spec.?policyTypes.orValue([]) == ['Ingress', 'Egress']) &&
            dyn(object).spec.?podSelector.?matchLabels.orValue({{}}).size() == 2 &&
            dyn(object).spec.?podSelector.?matchExpressions.orValue([]).size() == 0 &&
            (dyn(object).spec.?ingress.orValue([]).size() == 0 ||
              request.operation == 'UPDATE' &&
              dyn(object).spec.?ingress.orValue([]) ==
                dyn(oldObject).spec.?ingress.orValue([])) &&
            dyn(object).spec.?egress.orValue([]).all(r,
              r.?ports.orValue([]).size() > 0 && r.?to.orValue([]).size() > 0 &&
              r.to.all(p, isCIDR(p.?ipBlock.?cidr.orValue('')) &&
                ['{reserved}'].all(b,
                  !cidr(b).containsCIDR(p.ipBlock.cidr) &&
                  !cidr(p.ipBlock.cidr).containsCIDR(b))))"
        ),
        &format!(
            "the operator of Cloister may write no network policy but those that every tenant has, \
             and one that begins with {EGRESS_PREFIX} or {WORKER_POLICY_PREFIX}, has its Integration \
             or Worker as controller, selects the pods of that alone, and opens ports of public \
             addresses, outgoing"
        ),
    )]
}

/// An expression: the policy is of one object of this kind, by its name, its controller and the
/// pods that it selects.
fn of_one(prefix: &str, kind: &str, label: &str, role: &str) -> String {
    format!(
        "request.name.startsWith('{prefix}') &&
            dyn(object).metadata.?ownerReferences.orValue([]).exists(o,
              o.?controller.orValue(false) && o.kind == '{kind}' &&
              o.apiVersion.startsWith('{GROUP}/') &&
              o.name == dyn(object).spec.?podSelector.?matchLabels[?'{label}'].orValue('')) &&
            dyn(object).spec.?podSelector.?matchLabels[?'{ROLE_LABEL}'].orValue('') == '{role}'"
    )
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

    use crate::{
        egress::{self, Holder, Of},
        gatekeeper::{OPERATOR, refusals},
        meta::Owner,
        tenant::desired::network_policy,
        world::facts::Uid,
    };

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
    fn accepts_an_eviction_only_while_a_drill_takes_a_zone() {
        let said = |namespace: &str, drill: &str| {
            let request = json!({"operation": "CREATE", "userInfo": {"username": OPERATOR},
                "name": "worker-poller-1-a", "namespace": namespace, "subResource": "eviction",
                "resource": {"resource": "pods"}});
            let object = json!({"kind": "Eviction", "metadata": {"name": "worker-poller-1-a"}});
            let mut labels = json!({});
            if namespace.starts_with("tenant-") {
                labels["cloister.dev/tenant"] = json!("acme");
            }
            let annotations = json!({"cloister.dev/drill": drill});
            let context = json!({"request": request, "object": object,
                "namespaceObject": {"metadata": {"labels": labels, "annotations": annotations}}});
            refusals("cloister-operator", &context).len()
        };
        assert_eq!(
            said("tenant-acme", "00000000-0000-4000-8000-00000000000d"),
            0
        );
        assert_eq!(said("tenant-acme", ""), 1);
        assert_eq!(
            said("kube-system", "00000000-0000-4000-8000-00000000000d"),
            1
        );
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

    #[test]
    fn accepts_one_quota_of_cloisters_own() {
        let object = json!({"metadata": {}, "spec": {"hard": {
            "count/drills.cloister.dev": "0", "count/workers.cloister.dev": "0"}}});
        let quota = |place| said("resourcequotas", place, &object).len();
        assert_eq!(quota(("cloister-system", "cloister-counts")), 0);
        assert_eq!(quota(("cloister-system", "cloister-limits")), 1);
        assert_eq!(quota(("kube-system", "cloister-counts")), 1);
        let account = ("cloister-system", "cloister-counts");
        assert_eq!(said("serviceaccounts", account, &object).len(), 1);
        for other in [
            "pods",
            "count/pods",
            "limits.cpu",
            "count/workers.example.com",
        ] {
            let mut object = object.clone();
            object["spec"]["hard"][other] = json!("0");
            let said = said("resourcequotas", account, &object);
            assert!(
                matches!(&*said, [one] if one.contains("may write no quota in")),
                "{other}: {said:?}"
            );
        }
    }

    /// The policy that the Tenant room makes for an Integration `hello`.
    fn opening() -> Value {
        let owner = Owner {
            tenant: "acme".to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000a"),
        };
        let of = Of {
            tenant: &owner,
            namespace: "tenant-acme",
            holder: Holder::Integration,
            name: "hello",
            uid: Uid::parse("00000000-0000-4000-8000-00000000000b"),
        };
        let rules = json!([{"cidr": "203.0.113.0/24", "ports": [{"port": 443, "endPort": 444}]},
            {"cidr": "2600:1f00::/24", "ports": [{"port": 53, "protocol": "UDP"}]}]);
        let rules: Vec<_> = serde_json::from_value(rules).unwrap();
        json!(egress::policy(of, &egress::list(&rules).unwrap()))
    }

    /// The same for a Worker `poller`, which asks for nothing.
    fn shutting() -> Value {
        let owner = Owner {
            tenant: "acme".to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000a"),
        };
        let of = Of {
            tenant: &owner,
            namespace: "tenant-acme",
            holder: Holder::Worker,
            name: "poller",
            uid: Uid::parse("00000000-0000-4000-8000-00000000000b"),
        };
        json!(egress::policy(of, &[]))
    }

    fn opened(policy: &Value) -> Vec<String> {
        let name = policy["metadata"]["name"].as_str().unwrap();
        said("networkpolicies", ("tenant-acme", name), policy)
    }

    #[test]
    fn accepts_every_policy_that_is_made_here() {
        assert_eq!(opened(&opening()), [""; 0]);
        assert_eq!(opened(&shutting()), [""; 0]);
        let owner = Owner {
            tenant: "acme".to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000a"),
        };
        for policy in network_policy::all(&owner, "tenant-acme") {
            assert_eq!(opened(&json!(policy)), [""; 0]);
        }
    }

    #[test]
    fn rejects_a_policy_of_a_worker_that_lets_anything_in_or_is_about_other_pods() {
        for (path, value) in [
            ("/metadata/ownerReferences/0/kind", json!("Integration")),
            ("/metadata/ownerReferences/0/name", json!("another")),
            ("/spec/ingress", json!([{}])),
            ("/spec/egress", json!([{}])),
            ("/spec/policyTypes", json!(["Egress"])),
            (
                "/spec/podSelector/matchLabels/cloister.dev~1role",
                json!("sandbox"),
            ),
            (
                "/spec/podSelector/matchLabels/cloister.dev~1worker",
                json!("another"),
            ),
        ] {
            let mut policy = shutting();
            policy["spec"]["ingress"] = json!([]);
            policy["spec"]["egress"] = json!([]);
            *policy.pointer_mut(path).unwrap() = value;
            let said = opened(&policy);
            assert!(
                matches!(&*said, [one] if one.contains("may write no network policy but")),
                "{path}: {said:?}"
            );
        }
    }

    /// Where what a Worker is made of lies.
    const PLACE: (&str, &str) = ("tenant-acme", "worker-poller");

    /// A workload of a Worker, as far as the policy looks.
    fn workload() -> Value {
        let owner = json!([{"apiVersion": "cloister.dev/v1alpha1", "kind": "Worker",
            "name": "poller", "uid": "1", "controller": true}]);
        let labels = json!({"cloister.dev/role": "worker", "cloister.dev/worker": "poller"});
        json!({"metadata": {"name": "worker-poller", "ownerReferences": owner},
            "spec": {"selector": {"matchLabels": labels},
                "template": {"spec": {"containers": [{"name": "a", "env": []}], "volumes": []}}}})
    }

    #[test]
    fn rejects_a_deployment_or_a_budget_that_is_of_no_worker_or_holds_what_is_the_tenants() {
        let (whole, place) = (workload(), PLACE);
        for resource in ["deployments", "poddisruptionbudgets", "statefulsets"] {
            assert_eq!(said(resource, place, &whole), [""; 0]);
            assert_eq!(said(resource, ("tenant-acme", "other"), &whole).len(), 1);
            for (path, value) in [
                ("/metadata/ownerReferences/0/kind", json!("Integration")),
                ("/metadata/ownerReferences/0/name", json!("another")),
                ("/metadata/ownerReferences/0/controller", json!(false)),
                (
                    "/spec/selector/matchLabels/cloister.dev~1role",
                    json!("sandbox"),
                ),
                ("/spec/selector/matchLabels", json!({})),
            ] {
                let mut object = whole.clone();
                *object.pointer_mut(path).unwrap() = value;
                let said = said(resource, place, &object);
                assert!(
                    matches!(&*said, [one] if one.contains("may write no Deployment")),
                    "{resource} {path}: {said:?}"
                );
            }
        }
        let pod = "/spec/template/spec";
        let secret = json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}});
        for (path, value) in [
            (
                "volumes",
                json!([{"name": "a", "secret": {"secretName": "a"}}]),
            ),
            ("volumes", json!([{"name": "a", "hostPath": {"path": "/"}}])),
            ("containers/0/env", json!([secret])),
        ] {
            let mut object = whole.clone();
            *object.pointer_mut(&format!("{pod}/{path}")).unwrap() = value;
            for resource in ["deployments", "statefulsets"] {
                let said = said(resource, place, &object);
                assert!(
                    matches!(&*said, [one] if one.contains("is given anything of the tenant's")),
                    "{resource} {path}: {said:?}"
                );
            }
        }
    }

    #[test]
    fn rejects_a_claim_for_what_is_there_already() {
        let claims = |more: &Value| {
            let mut object = workload();
            let mut claim =
                json!({"metadata": {"name": "data"}, "spec": {"volumeMode": "Filesystem"}});
            for (field, value) in more.as_object().into_iter().flatten() {
                claim["spec"][field] = value.clone();
            }
            object["spec"]["volumeClaimTemplates"] = json!([claim]);
            said("statefulsets", PLACE, &object)
        };
        assert_eq!(claims(&json!({})), [""; 0]);
        for more in [
            json!({"volumeName": "of-another-tenant"}),
            json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "theirs"}}),
            json!({"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "theirs"}}),
            json!({"selector": {"matchLabels": {"a": "b"}}}),
        ] {
            let said = claims(&more);
            assert!(
                matches!(&*said, [one] if one.contains("a volume that is there already")),
                "{more}: {said:?}"
            );
        }
    }

    #[test]
    fn rejects_a_policy_that_opens_more_than_public_addresses_to_sandboxes_of_its_integration() {
        let (labels, to) = ("/spec/podSelector/matchLabels", "/spec/egress/0/to");
        for (path, value) in [
            ("/metadata/name", json!("allow-all")),
            ("/metadata/ownerReferences", json!([])),
            ("/metadata/ownerReferences/0/kind", json!("Tenant")),
            ("/metadata/ownerReferences/0/name", json!("another")),
            ("/metadata/ownerReferences/0/controller", json!(false)),
            ("/metadata/ownerReferences/0/apiVersion", json!("v1")),
            ("/spec/podSelector", json!({})),
            (labels, json!({"cloister.dev/role": "sandbox"})),
            (labels, json!({"cloister.dev/integration": "hello"})),
            (
                labels,
                json!({"cloister.dev/integration": "hello", "cloister.dev/role": "probe"}),
            ),
            (
                labels,
                json!({"cloister.dev/integration": "other", "cloister.dev/role": "sandbox"}),
            ),
            ("/spec/podSelector/matchExpressions", json!([{}])),
            ("/spec/policyTypes", json!(["Egress", "Ingress"])),
            ("/spec/policyTypes", json!(null)),
            ("/spec/egress", json!([{}])),
            ("/spec/egress/0/ports", json!([])),
            (to, json!([])),
            (to, json!([{"podSelector": {}}])),
            ("/spec/egress/0/to/0/ipBlock/cidr", json!("0.0.0.0/0")),
            (
                "/spec/egress/1/to/0/ipBlock/cidr",
                json!("fd00:ec2::254/128"),
            ),
            ("/spec/egress/0/to/0/ipBlock/cidr", json!("10.1.0.0/16")),
            ("/spec/egress/0/to/0/ipBlock/cidr", json!("much")),
        ] {
            let mut policy = opening();
            policy["spec"]["podSelector"]["matchExpressions"] = json!([]);
            *policy.pointer_mut(path).unwrap() = value;
            let said = opened(&policy);
            assert!(
                matches!(&*said, [one] if one.contains("may write no network policy but")),
                "{path}: {said:?}"
            );
        }
        let mut policy = opening();
        policy["spec"]["ingress"] = json!([{}]);
        assert_eq!(opened(&policy).len(), 1);
        // But it can still put back what somebody else has added that to.
        let updated = |before: &Value| {
            let request = json!({"operation": "UPDATE", "userInfo": {"username": OPERATOR},
                "name": policy["metadata"]["name"], "namespace": "tenant-acme",
                "resource": {"resource": "networkpolicies"}});
            let labels = json!({"cloister.dev/tenant": "acme"});
            let context = json!({"request": request, "object": policy, "oldObject": before,
                "namespaceObject": {"metadata": {"labels": labels}}});
            refusals("cloister-operator", &context)
        };
        assert_eq!(updated(&policy), [""; 0]);
        assert_eq!(updated(&opening()).len(), 1);
    }
}
