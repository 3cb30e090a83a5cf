//! What marks a pod as Cloister's own: nobody but the operator writes it, by any way.

use http::Method;
use serde_json::{Value, json};
use tests::{
    live::pods::conforming,
    server::{Patch, Scratch, assert_accepted, assert_refused},
};

const LABELS: &[&str] = &["'cloister-probes'", "metadata.labels:"];
const ANNOTATIONS: &[&str] = &["'cloister-probes'", "metadata.annotations:"];
const NAME: &[&str] = &["'cloister-probes'", "metadata.name:"];
const PRIORITY: &[&str] = &["'cloister-pods'", "spec.priorityClassName:"];

/// A pod that is as it must be, with this metadata.
pub(crate) fn pod(scratch: &Scratch, metadata: &Value) -> Value {
    let mut pod = conforming(&scratch.namespace, "plain", &[]);
    pod["spec"]["containers"][0]["image"] = json!("nobody/runs:this");
    for (key, value) in metadata.as_object().into_iter().flatten() {
        pod["metadata"][key] = value.clone();
    }
    pod
}

fn marks() -> [(Value, &'static [&'static str]); 4] {
    [
        // The network lets a sandbox dial the operator.
        (json!({"labels": {"cloister.dev/role": "sandbox"}}), LABELS),
        (json!({"labels": {"cloister.dev/role": "probe"}}), LABELS),
        (json!({"labels": {"cloister.dev/new": "x"}}), LABELS),
        (
            json!({"annotations": {"cloister.dev/boundary": "x"}}),
            ANNOTATIONS,
        ),
    ]
}

#[tokio::test]
async fn rejects_a_pod_that_passes_for_one_of_cloisters_own() {
    Scratch::run(async |scratch| {
        let named = [
            (json!({"name": "cloister-probe-0"}), NAME),
            (json!({"name": "cloister-run-0"}), NAME),
            (
                json!({"name": null, "generateName": "cloister-probe-"}),
                NAME,
            ),
        ];
        for (metadata, words) in marks().into_iter().chain(named) {
            let forged = pod(scratch, &metadata);
            assert_refused(&scratch.admin.dry_run(&forged).await, words);
        }
        let ranked = |mut pod: Value| {
            pod["spec"]["priorityClassName"] = json!("cloister-probe");
            pod
        };
        let uncounted = ranked(pod(scratch, &json!({})));
        assert_refused(&scratch.admin.dry_run(&uncounted).await, PRIORITY);
        let probe = json!({"name": "cloister-probe-0", "labels": {"cloister.dev/role": "probe"}});
        let probe = ranked(pod(scratch, &probe));
        assert_accepted(&scratch.admin.operator().dry_run(&probe).await);
        let plain = pod(scratch, &json!({"labels": {"app": "a"}}));
        assert_accepted(&scratch.admin.dry_run(&plain).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_marking_a_pod_afterwards() {
    Scratch::run(async |scratch| {
        let plain = pod(scratch, &json!({}));
        assert_accepted(&scratch.admin.create(&plain).await);
        for (metadata, words) in marks() {
            let change = json!({"metadata": metadata});
            for part in ["", "status"] {
                let answer = scratch
                    .admin
                    .patch_subresource(&plain, part, Patch::Merge, &change)
                    .await;
                assert_refused(&answer, words);
            }
        }
        // And unmarking one that the operator has marked.
        let mark = json!({"metadata": {"labels": {"cloister.dev/role": "probe"}}});
        let operator = scratch.admin.operator();
        assert_accepted(&operator.patch(&plain, Patch::Merge, &mark).await);
        let unmark = json!({"metadata": {"labels": null}});
        let answer = scratch.admin.patch(&plain, Patch::Merge, &unmark).await;
        assert_refused(&answer, LABELS);
        let others = json!({"metadata": {"labels": {"app": "a"}}});
        assert_accepted(&scratch.admin.patch(&plain, Patch::Merge, &others).await);
    })
    .await;
}

/// What a binding says of labels and annotations goes over to the pod.
#[tokio::test]
async fn rejects_marking_a_pod_by_a_binding() {
    Scratch::run(async |scratch| {
        let plain = pod(scratch, &json!({}));
        assert_accepted(&scratch.admin.create(&plain).await);
        let inside = format!("/api/v1/namespaces/{}", scratch.namespace);
        for (metadata, words) in marks() {
            let mut binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": metadata,
                "target": {"apiVersion": "v1", "kind": "Node", "name": "nowhere"},
            });
            binding["metadata"]["name"] = json!("plain");
            for path in ["pods/plain/binding", "bindings"] {
                let path = format!("{inside}/{path}?dryRun=All");
                let content = "application/json";
                let answer = scratch.admin.send(Method::POST, &path, content, &binding);
                assert_refused(&answer.await, words);
            }
        }
    })
    .await;
}
