//! Finalizers of a Tenant: only the operator takes its own off, however somebody tries, and
//! nobody adds one that would have the garbage collector take the policies first. Of what is in
//! a tenant: nobody adds any.

use http::Method;
use serde_json::{Value, json};
use tests::server::{Patch, Scratch, Server, assert_accepted, assert_refused, unique};

use super::{cast::Cast, execution, integration, minimal, set};

const OURS: &str = "cloister.dev/teardown";

#[tokio::test]
async fn rejects_whoever_takes_the_finalizer_off_but_the_operator() {
    Cast::run(async |cast| {
        let none = json!({"metadata": {"finalizers": null}});
        let ours = json!({"metadata": {"finalizers": [OURS]}});
        assert_accepted(&cast.operator.patch(&cast.object, Patch::Merge, &ours).await);
        let mut whole = cast.root.get(&cast.object).await.unwrap();
        whole["metadata"]["finalizers"] = json!([]);
        let other = json!({"metadata": {"finalizers": ["example.com/other"]}});
        let removed = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
        for (content, change) in [
            ("application/merge-patch+json", &none),
            ("application/merge-patch+json", &other),
            ("application/json-patch+json", &removed),
            ("application/json", &whole),
        ] {
            for who in [&cast.root, &cast.delivery] {
                let answer = cast.dry(who, content, "", change).await;
                let words = [
                    "'cloister-tenants'",
                    "metadata.finalizers: only the operator",
                ];
                assert_refused(&answer, &words);
            }
            for who in [&cast.owner, &cast.admin, &cast.user] {
                let answer = cast.dry(who, content, "", change).await;
                assert!(answer.is_err(), "{answer:?}");
            }
        }
        // Others may hold the Tenant too, and let go again.
        let both = json!({"metadata": {"finalizers": [OURS, "example.com/other"]}});
        for change in [&both, &ours] {
            assert_accepted(&cast.root.patch(&cast.object, Patch::Merge, change).await);
        }
        // Where no operator runs, nothing is to be left.
        assert_accepted(&cast.operator.patch(&cast.object, Patch::Merge, &none).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_finalizers_that_would_take_the_policies_first() {
    let admin = Server::admin().await;
    let tenant = |finalizer: &str| -> Value {
        set(
            &minimal(&unique("t")),
            "/metadata/finalizers",
            &json!([finalizer]),
        )
    };
    for finalizer in ["foregroundDeletion", "orphan"] {
        let words = [
            "'cloister-tenants'",
            "metadata.finalizers: foregroundDeletion",
        ];
        assert_refused(&admin.dry_run(&tenant(finalizer)).await, &words);
    }
    for finalizer in [OURS, "example.com/other"] {
        assert_accepted(&admin.dry_run(&tenant(finalizer)).await);
    }
}

#[tokio::test]
async fn rejects_what_would_hold_an_integration_or_an_execution_in_place() {
    Scratch::run(async |scratch| {
        let admin = &scratch.admin;
        let words = ["'cloister-integrations'", "metadata.finalizers:"];
        for object in [
            integration(&scratch.namespace, "held"),
            execution(&scratch.namespace, "held"),
        ] {
            let finalizers = json!(["example.com/never"]);
            let held = set(&object, "/metadata/finalizers", &finalizers);
            assert_refused(&admin.dry_run(&held).await, &words);
            assert_accepted(&admin.create(&object).await);
            let change = json!({"metadata": {"finalizers": finalizers}});
            assert_refused(&admin.patch(&object, Patch::Merge, &change).await, &words);
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_a_deletion_that_leaves_sandboxes_behind() {
    Scratch::run(async |scratch| {
        let admin = &scratch.admin;
        let object = integration(&scratch.namespace, "left");
        assert_accepted(&admin.create(&object).await);
        let path = format!(
            "/apis/cloister.dev/v1alpha1/namespaces/{}/integrations/left",
            scratch.namespace
        );
        let delete = async |how: &str| {
            let body = json!({"propagationPolicy": how, "dryRun": ["All"]});
            let content = "application/json";
            admin.send(Method::DELETE, &path, content, &body).await
        };
        let words = ["'cloister-integrations'", "propagationPolicy:"];
        assert_refused(&delete("Orphan").await, &words);
        for how in ["Background", "Foreground"] {
            assert_accepted(&delete(how).await);
        }
    })
    .await;
}
