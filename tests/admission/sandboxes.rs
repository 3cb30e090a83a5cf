//! Sandboxes, the pods of Executions: the operator makes them as they must be, and nobody else
//! makes any.

use serde_json::{Value, json};
use tests::server::{Scratch, assert_accepted, assert_refused};

use super::{probes, set};

/// A sandbox, its supervisor brought by an init container: not every server has image volumes.
fn sandbox(scratch: &Scratch) -> Value {
    let owner = json!({"apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
        "name": "hello", "uid": "00000000-0000-4000-8000-00000000000b", "controller": true});
    let metadata = json!({
        "name": "cloister-run-0123456789ab",
        "labels": {"cloister.dev/tenant": scratch.tenant, "cloister.dev/role": "sandbox",
            "cloister.dev/integration": "hello"},
        "ownerReferences": [owner],
    });
    let mut pod = probes::pod(scratch, &metadata);
    let mut first = pod["spec"]["containers"][0].clone();
    first["name"] = json!("supervisor");
    pod["spec"]["initContainers"] = json!([first]);
    let token = json!({"serviceAccountToken": {"audience": "cloister-dispatch", "path": "token"}});
    pod["spec"]["volumes"] = json!([
        {"name": "supervisor", "emptyDir": {}},
        {"name": "token", "projected": {"sources": [token]}},
        {"name": "work", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]);
    pod
}

#[tokio::test]
async fn accepts_a_sandbox_of_the_operator_alone() {
    Scratch::run(async |scratch| {
        let pod = sandbox(scratch);
        assert_accepted(&scratch.admin.operator().dry_run(&pod).await);
        let words = ["'cloister-probes'", "metadata.labels:"];
        assert_refused(&scratch.admin.dry_run(&pod).await, &words);
    })
    .await;
}

#[tokio::test]
async fn rejects_a_sandbox_that_is_not_as_it_must_be() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let pod = sandbox(scratch);
        let token = |audience: &str| json!({"serviceAccountToken": {"audience": audience, "path": audience}});
        let ours = "cloister-dispatch";
        for (pointer, value, words) in [
            (
                "/spec/volumes/1/projected/sources",
                json!([token("vault")]),
                ["'cloister-pods'", "audience"],
            ),
            (
                "/spec/volumes/1/projected/sources",
                json!([token(ours), token("vault")]),
                ["'cloister-pods'", "audience"],
            ),
            (
                "/spec/volumes/2",
                json!({"name": "work", "hostPath": {"path": "/"}}),
                ["restricted", "hostPath"],
            ),
            (
                "/spec/volumes/2",
                json!({"name": "work", "secret": {"secretName": "credential"}}),
                ["'cloister-operator'", "anything of the tenant's"],
            ),
            (
                "/metadata/labels/cloister.dev~1integration",
                json!("another"),
                ["'cloister-operator'", "its Integration as controller"],
            ),
            (
                "/metadata/ownerReferences/0/kind",
                json!("Execution"),
                ["'cloister-operator'", "its Integration as controller"],
            ),
            (
                "/metadata/labels/cloister.dev~1role",
                json!("probe"),
                ["'cloister-operator'", "each by name and label"],
            ),
        ] {
            let changed = set(&pod, pointer, &value);
            assert_refused(&operator.dry_run(&changed).await, &words);
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_secrets_and_endpoints_of_the_operator_but_those_of_the_dispatch() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let secret = |name: &str| {
            json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": "cloister-system"}})
        };
        let slice = |name: &str| {
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": "cloister-system",
                    "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "endpoints": [{"addresses": ["198.51.100.1"]}],
                "ports": [{"name": "dispatch", "port": 7443}]})
        };
        let words = ["'cloister-operator'", "no Secret and no EndpointSlice but"];
        for object in [secret("cloister-other"), slice("cloister-canary")] {
            assert_refused(&operator.dry_run(&object).await, &words);
        }
        // Where an operator leads, its own are there already.
        for object in [secret("cloister-dispatch"), slice("cloister-dispatch")] {
            let answer = operator.dry_run(&object).await;
            if !matches!(&answer, Err(refusal) if refusal.code == 409) {
                assert_accepted(&answer);
            }
        }
        let mut token = secret("cloister-dispatch");
        token["type"] = json!("kubernetes.io/service-account-token");
        token["metadata"]["annotations"] =
            json!({"kubernetes.io/service-account.name": "cloister-operator"});
        let words = ["'cloister-operator'", "no Secret that asks for a token"];
        assert_refused(&operator.dry_run(&token).await, &words);
        // In a tenant's namespace it has no right to one at all.
        let mut theirs = secret("cloister-dispatch");
        theirs["metadata"]["namespace"] = json!(scratch.namespace);
        assert!(operator.dry_run(&theirs).await.is_err());
    })
    .await;
}
