//! Tests of what all policies together say to a sandbox: the pod of an Execution, which the
//! operator makes.
//!
//! Pod security `restricted`, which refuses a host path too, has its tests where a server is.

use serde_json::{Value, json};

use crate::gatekeeper::{OPERATOR, refusals};

const AUDIENCE: &str = "cloister-dispatch";

/// A container, as confined as it must be.
fn container(name: &str, command: &[&str]) -> Value {
    json!({
        "name": name, "image": "localhost/cloister/examples:dev", "command": command,
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}},
    })
}

fn token(audience: &str) -> Value {
    json!({"serviceAccountToken": {"audience": audience, "path": "token"}})
}

/// A sandbox where the cluster has image volumes.
fn sandbox() -> Value {
    let mut main = container("main", &["/cloister/cloister-sandbox", "serve"]);
    main["volumeMounts"] = json!([
        {"name": "supervisor", "mountPath": "/cloister", "readOnly": true},
        {"name": "token", "mountPath": "/var/run/cloister", "readOnly": true},
        {"name": "work", "mountPath": "/work"}, {"name": "tmp", "mountPath": "/tmp"},
    ]);
    json!({
        "metadata": {
            "name": "cloister-run-0123456789ab", "namespace": "tenant-acme",
            "labels": {"app.kubernetes.io/managed-by": "cloister", "cloister.dev/tenant": "acme",
                "cloister.dev/role": "sandbox", "cloister.dev/integration": "hello"},
            "annotations": {"cloister.dev/boundary": "0123456789abcdef"},
            "ownerReferences": [{"apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
                "name": "hello", "uid": "00000000-0000-4000-8000-00000000000b",
                "controller": true}],
        },
        "spec": {
            "serviceAccountName": "cloister-sandbox", "automountServiceAccountToken": false,
            "enableServiceLinks": false, "hostUsers": false, "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [main],
            "volumes": [
                {"name": "supervisor", "image": {"reference": "localhost/cloister/sandbox:dev"}},
                {"name": "token", "projected": {"sources": [token(AUDIENCE)]}},
                {"name": "work", "emptyDir": {"sizeLimit": "64Mi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        },
    })
}

/// The same where an init container brings the supervisor.
fn with_init_container() -> Value {
    let mut pod = sandbox();
    let command = ["/cloister-sandbox", "install", "/cloister"];
    pod["spec"]["initContainers"] = json!([container("supervisor", &command)]);
    pod["spec"]["volumes"][0] = json!({"name": "supervisor", "emptyDir": {}});
    pod
}

/// What is said to it in a tenant of this state, each with the policy's name.
fn said_by(user: &str, state: &str, pod: &Value) -> Vec<String> {
    let annotations = json!({"cloister.dev/runtime": "Hardened", "cloister.dev/regions": "*",
        "cloister.dev/zones": "*"});
    let namespace = json!({"metadata": {"annotations": annotations,
        "labels": {"cloister.dev/tenant": "acme", "cloister.dev/state": state}}});
    let request = json!({"operation": "CREATE", "userInfo": {"username": user},
        "kind": {"kind": "Pod"}, "resource": {"resource": "pods"},
        "namespace": "tenant-acme", "name": pod["metadata"]["name"]});
    let context = json!({"request": request, "object": pod, "namespaceObject": namespace});
    let policies = ["cloister-pods", "cloister-operator", "cloister-probes"];
    let said = policies.iter().flat_map(|policy| {
        let said = refusals(policy, &context).into_iter();
        said.map(move |message| format!("{policy}: {message}"))
    });
    said.collect()
}

fn said(pod: &Value) -> Vec<String> {
    said_by(OPERATOR, "Active", pod)
}

/// A sandbox with this value at a path is refused, once, in words that begin so.
#[track_caller]
fn refused(pointer: &str, value: &Value, words: &str) {
    for mut pod in [sandbox(), with_init_container()] {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap();
        match key.parse::<usize>() {
            Ok(index) => parent[index] = value.clone(),
            Err(_) => parent[key.replace("~1", "/")] = value.clone(),
        }
        let said = said(&pod);
        assert!(
            matches!(&*said, [one] if one.starts_with(words)),
            "{pointer} = {value}: {said:?}"
        );
    }
}

#[test]
fn accepts_a_sandbox_of_the_operator() {
    for pod in [sandbox(), with_init_container()] {
        assert_eq!(said(&pod), [""; 0]);
    }
}

#[test]
fn accepts_a_sandbox_on_a_stricter_kernel_than_the_tenant_asks_for_and_no_other() {
    let class = |class: &str, host_users: Value| {
        let mut pod = sandbox();
        pod["spec"]["runtimeClassName"] = json!(class);
        pod["spec"]["hostUsers"] = host_users;
        pod
    };
    assert_eq!(said(&class("gvisor", Value::Null)), [""; 0]);
    let words = "cloister-pods: spec.runtimeClassName:";
    refused("/spec/runtimeClassName", &json!("runc"), words);
}

#[test]
fn rejects_a_sandbox_in_a_tenant_that_is_not_active() {
    for state in ["Suspended", "Terminating", ""] {
        let said = said_by(OPERATOR, state, &sandbox());
        assert!(
            matches!(&*said, [one] if one.starts_with("cloister-pods: nothing new starts")),
            "{state}: {said:?}"
        );
    }
}

#[test]
fn rejects_a_sandbox_of_anybody_else() {
    for user in [
        "admin",
        "system:serviceaccount:tenant-acme:cloister-sandbox",
    ] {
        let said = said_by(user, "Active", &sandbox());
        let words = [
            "cloister-probes: metadata.labels:",
            "cloister-probes: metadata.annotations:",
            "cloister-probes: metadata.name:",
        ];
        assert!(
            said.len() == words.len() && said.iter().zip(words).all(|(one, w)| one.starts_with(w)),
            "{user}: {said:?}"
        );
    }
}

#[test]
fn rejects_a_token_for_anybody_but_the_operator() {
    let sources = "/spec/volumes/1/projected/sources";
    let words = "cloister-pods: spec.volumes:";
    for wrong in [
        json!([token("https://kubernetes.default.svc")]),
        json!([token("")]),
        json!([{"serviceAccountToken": {"path": "token"}}]),
        json!([token(AUDIENCE), token("vault")]),
    ] {
        refused(sources, &wrong, words);
    }
    let second = json!({"name": "tmp", "projected": {"sources": [token("vault")]}});
    refused("/spec/volumes/3", &second, words);
    let mounted = "cloister-pods: spec.automountServiceAccountToken:";
    refused("/spec/automountServiceAccountToken", &json!(true), mounted);
}

#[test]
fn rejects_a_sandbox_of_another_account() {
    let words = "cloister-pods: spec.serviceAccountName:";
    for account in ["default", "cloister-operator", ""] {
        refused("/spec/serviceAccountName", &json!(account), words);
    }
}

#[test]
fn rejects_a_sandbox_that_belongs_to_no_integration() {
    let words = "cloister-operator: the operator of Cloister may make no pod but";
    let label = "/metadata/labels/cloister.dev~1integration";
    for wrong in [Value::Null, json!("another"), json!("")] {
        let mut pod = sandbox();
        *pod.pointer_mut(label).unwrap() = wrong.clone();
        if wrong.is_null() {
            let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
            labels.remove("cloister.dev/integration");
        }
        let said = said(&pod);
        assert!(
            matches!(&*said, [one] if one.starts_with(words)),
            "{wrong}: {said:?}"
        );
    }
    let owner = "/metadata/ownerReferences/0";
    for (field, wrong) in [
        ("controller", json!(false)),
        ("kind", json!("Tenant")),
        ("name", json!("another")),
        ("apiVersion", json!("example.com/v1")),
    ] {
        refused(&format!("{owner}/{field}"), &wrong, words);
    }
    refused("/metadata/ownerReferences", &json!([]), words);
}

#[test]
fn rejects_a_name_and_a_role_that_do_not_go_together() {
    let words = "cloister-operator: the operator of Cloister may make no pod but";
    for name in ["cloister-probe-a", "run", ""] {
        refused("/metadata/name", &json!(name), words);
    }
    for role in ["probe", "worker", ""] {
        refused("/metadata/labels/cloister.dev~1role", &json!(role), words);
    }
}

#[test]
fn rejects_a_pod_of_the_operator_that_is_given_what_is_the_tenants() {
    let words = "cloister-operator: the operator of Cloister may make no pod that is given";
    for volume in [
        json!({"hostPath": {"path": "/"}}),
        json!({"secret": {"secretName": "credential"}}),
        json!({"configMap": {"name": "settings"}}),
        json!({"csi": {"driver": "secrets-store.csi.k8s.io"}}),
        json!({"projected": {"sources": [{"secret": {"name": "credential"}}]}}),
        json!({"projected": {"sources": [token(AUDIENCE), {"configMap": {"name": "a"}}]}}),
        json!({"projected": {"sources": []}}),
        json!({}),
    ] {
        let mut volume = volume;
        volume["name"] = json!("tmp");
        refused("/spec/volumes/3", &volume, words);
    }
    // Nor by anybody's word a claim, which is for pods of Workers.
    let claim = json!({"name": "tmp", "persistentVolumeClaim": {"claimName": "data"}});
    let mut claiming = sandbox();
    claiming["spec"]["volumes"][3] = claim;
    let said_to_it = said(&claiming);
    let beginnings = ["cloister-pods: spec.volumes: a claim is", words];
    assert!(
        said_to_it.len() == 2
            && said_to_it
                .iter()
                .zip(beginnings)
                .all(|(one, w)| one.starts_with(w)),
        "{said_to_it:?}"
    );
    let from = |kind: &str| json!([{"name": "A", "valueFrom": {kind: {"name": "a", "key": "b"}}}]);
    let main = "/spec/containers/0";
    refused(&format!("{main}/env"), &from("secretKeyRef"), words);
    refused(&format!("{main}/env"), &from("configMapKeyRef"), words);
    let all = json!([{"secretRef": {"name": "a"}}]);
    refused(&format!("{main}/envFrom"), &all, words);

    let mut plain = sandbox();
    plain["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]);
    assert_eq!(said(&plain), [""; 0]);
}
