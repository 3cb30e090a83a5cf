//! A tenant's namespace: who may say what it is, and what must not appear in it.

use http::Method;
use serde_json::{Value, json};
use tests::server::{Patch, Scratch, Server, assert_accepted, assert_refused, eventually, unique};

fn namespace(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    })
}

#[tokio::test]
async fn rejects_a_forged_tenant_namespace() {
    let admin = Server::admin().await;
    let forged = namespace(&unique("forged"), &json!({"cloister.dev/tenant": "acme"}));
    let words = [
        "metadata.labels[cloister.dev/tenant]",
        "create a Tenant instead",
    ];
    assert_refused(&admin.dry_run(&forged).await, &words);
    // A name that is not known yet is not the decoy's.
    let generated = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"generateName": "cloister-decoy", "labels": {"cloister.dev/tenant": "x"}},
    });
    assert_refused(&admin.dry_run(&generated).await, &words);
    // What is not a tenant's is nobody's business.
    assert_accepted(
        &admin
            .dry_run(&namespace(&unique("plain"), &json!({"team": "a"})))
            .await,
    );
}

/// It stands for a tenant without being one, and comes with the installation.
#[tokio::test]
async fn accepts_that_the_decoy_is_installed_and_changed() {
    let admin = Server::admin().await;
    let path = "/api/v1/namespaces/cloister-decoy?dryRun=All";
    let change = json!({"metadata": {"labels": {"cloister.dev/state": "Suspended"}}});
    let merge = "application/merge-patch+json";
    assert_accepted(&admin.send(Method::PATCH, path, merge, &change).await);
}

#[tokio::test]
async fn rejects_making_a_namespace_a_tenants_afterwards() {
    let admin = Server::admin().await;
    let plain = namespace(&unique("plain"), &json!({}));
    assert_accepted(&admin.create(&plain).await);
    let change = json!({"metadata": {"labels": {"cloister.dev/tenant": "acme"}}});
    let answer = admin.patch(&plain, Patch::Merge, &change).await;
    let harmless = json!({"metadata": {"labels": {"team": "a"}}});
    let allowed = admin.patch(&plain, Patch::Merge, &harmless).await;
    assert_accepted(&admin.delete(&plain).await);
    assert_refused(&answer, &["metadata.labels", "change the Tenant instead"]);
    assert_accepted(&allowed);
}

/// Changes to the metadata of a tenant's namespace, and the field that the refusal names.
fn tampering() -> Vec<(Value, &'static str)> {
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]);
    let label = |key: &str, value: Value| (json!({"labels": {key: value}}), "metadata.labels");
    let annotation =
        |key: &str, value: Value| (json!({"annotations": {key: value}}), "metadata.annotations");
    vec![
        label("cloister.dev/tenant", Value::Null),
        label("cloister.dev/tenant", json!("another")),
        label("cloister.dev/state", json!("Suspended")),
        label("cloister.dev/new", json!("x")),
        label("pod-security.kubernetes.io/enforce", json!("privileged")),
        label("pod-security.kubernetes.io/enforce", Value::Null),
        label("pod-security.kubernetes.io/audit", json!("privileged")),
        (json!({"labels": null}), "metadata.labels"),
        annotation("cloister.dev/regions", json!("elsewhere")),
        annotation("cloister.dev/runtime", Value::Null),
        (json!({"annotations": null}), "metadata.annotations"),
        (
            json!({"ownerReferences": owner}),
            "metadata.ownerReferences",
        ),
    ]
}

/// Whether pods would be confined less.
fn loosens(metadata: &Value) -> bool {
    const ENFORCED: [&str; 2] = [
        "pod-security.kubernetes.io/enforce",
        "pod-security.kubernetes.io/enforce-version",
    ];
    metadata.get("labels").is_some_and(|labels| {
        labels.is_null() || ENFORCED.iter().any(|key| labels.get(key).is_some())
    })
}

#[tokio::test]
async fn rejects_changing_what_a_tenants_namespace_says() {
    Scratch::run(async |scratch| {
        let object = scratch.namespace_object();
        let path = format!("/api/v1/namespaces/{}?dryRun=All", scratch.namespace);
        for (metadata, field) in tampering() {
            let change = json!({"metadata": metadata});
            let answer = scratch.admin.patch(&object, Patch::Merge, &change).await;
            assert_refused(&answer, &["'cloister-namespaces'", field, "Cloister"]);
            // The operator may, but for how its pods are confined.
            let operator = scratch.admin.operator();
            let merge = "application/merge-patch+json";
            let answer = operator.send(Method::PATCH, &path, merge, &change).await;
            if loosens(&change["metadata"]) {
                assert_refused(&answer, &["'cloister-operator'", "restricted"]);
            } else {
                assert_accepted(&answer);
            }
        }
        // Others may write what is theirs.
        let theirs = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}});
        assert_accepted(&scratch.admin.patch(&object, Patch::Merge, &theirs).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_deleting_the_namespace_instead_of_the_tenant() {
    Scratch::run(async |scratch| {
        let answer = scratch.admin.delete(&scratch.namespace_object()).await;
        assert_refused(&answer, &["delete the Tenant instead", "Purge"]);
    })
    .await;
}

/// The garbage collector acts for a Tenant that is gone, and whatever is in the namespace
/// must not keep it from its end.
#[tokio::test]
async fn a_namespace_comes_to_its_end() {
    Scratch::run(async |scratch| {
        let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
        let path = format!("/api/v1/namespaces/{}", scratch.namespace);
        let dry = json!({"dryRun": ["All"]});
        let answer = scratch
            .admin
            .user(collector, &["system:masters"])
            .send(Method::DELETE, &path, "application/json", &dry)
            .await;
        assert_accepted(&answer);
        assert_accepted(&scratch.admin.create(&opaque(scratch)).await);
        assert_accepted(
            &scratch
                .admin
                .operator()
                .delete(&scratch.namespace_object())
                .await,
        );
        eventually(
            async || match scratch.admin.get(&scratch.namespace_object()).await {
                Err(refusal) if refusal.code == 404 => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await;
        // For the end of the test, which deletes it.
        assert_accepted(
            &scratch
                .admin
                .operator()
                .create(&scratch.namespace_object())
                .await,
        );
    })
    .await;
}

fn opaque(scratch: &Scratch) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "a", "namespace": scratch.namespace},
    })
}

fn service(scratch: &Scratch, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "a", "namespace": scratch.namespace},
        "spec": spec,
    })
}

#[tokio::test]
async fn rejects_services_that_open_a_tenant_to_the_outside() {
    Scratch::run(async |scratch| {
        let ports = json!([{"port": 80}]);
        for (spec, words) in [
            (
                json!({"type": "NodePort", "ports": ports}),
                "spec.type: must be ClusterIP",
            ),
            (
                json!({"type": "LoadBalancer", "ports": ports}),
                "spec.type: must be ClusterIP",
            ),
            (
                json!({"type": "ExternalName", "externalName": "example.com"}),
                "spec.type: must be ClusterIP",
            ),
            (
                json!({"ports": ports, "externalIPs": ["203.0.113.1"]}),
                "spec.externalIPs:",
            ),
        ] {
            let answer = scratch.admin.dry_run(&service(scratch, &spec)).await;
            assert_refused(&answer, &["'cloister-services'", words]);
        }
        let headless = json!({"clusterIP": "None", "ports": ports});
        assert_accepted(&scratch.admin.dry_run(&service(scratch, &headless)).await);
        let plain = service(scratch, &json!({"ports": ports}));
        assert_accepted(&scratch.admin.create(&plain).await);
        let change = json!({"spec": {"type": "NodePort"}});
        let answer = scratch.admin.patch(&plain, Patch::Merge, &change).await;
        assert_refused(&answer, &["spec.type: must be ClusterIP"]);
    })
    .await;
}

#[tokio::test]
async fn rejects_tokens_of_a_tenants_accounts() {
    Scratch::run(async |scratch| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "sandbox", "namespace": scratch.namespace},
            "spec": {
                "serviceAccountName": "cloister-sandbox",
                "automountServiceAccountToken": false,
                "hostUsers": false,
                "securityContext": {
                    "runAsNonRoot": true, "runAsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "main", "image": "x",
                    "resources": {"limits": {"cpu": "1", "memory": "32Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }],
            },
        });
        let pod = scratch.admin.create(&pod).await.unwrap();
        let bound = json!({
            "apiVersion": "v1", "kind": "Pod", "name": "sandbox", "uid": pod["metadata"]["uid"],
        });
        let dispatch = json!({"audiences": ["cloister-dispatch"], "boundObjectRef": bound});
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/cloister-sandbox/token?dryRun=All",
            scratch.namespace
        );
        let request = async |who: &Server, spec: &Value| {
            let body = json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec,
            });
            who.send(Method::POST, &path, "application/json", &body)
                .await
        };
        let words = ["'cloister-tokens'", "no token is issued"];
        assert_refused(&request(&scratch.admin, &json!({})).await, &words);
        assert_refused(&request(&scratch.admin, &dispatch).await, &words);
        // In the group of nodes, and with rights that stand in for those that the node
        // authorizer gives a real one for its own pods.
        let node = scratch
            .admin
            .user("a-node", &["system:nodes", "system:masters"]);
        let elsewhere = json!({"audiences": ["vault"], "boundObjectRef": bound});
        let both = json!({"audiences": ["cloister-dispatch", "vault"], "boundObjectRef": bound});
        let unbound = json!({"audiences": ["cloister-dispatch"]});
        for spec in [json!({}), elsewhere, both, unbound] {
            assert_refused(&request(&node, &spec).await, &words);
        }
        assert_accepted(&request(&node, &dispatch).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_a_secret_that_would_be_filled_with_a_token() {
    Scratch::run(async |scratch| {
        let mut secret = opaque(scratch);
        assert_accepted(&scratch.admin.dry_run(&secret).await);
        secret["type"] = json!("kubernetes.io/service-account-token");
        secret["metadata"]["annotations"] =
            json!({"kubernetes.io/service-account.name": "cloister-sandbox"});
        let answer = scratch.admin.dry_run(&secret).await;
        assert_refused(&answer, &["'cloister-token-secrets'", "never expires"]);
    })
    .await;
}
