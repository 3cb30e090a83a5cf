//! Pods of Workers: who makes them, and that nobody else's pod has a claim.

use serde_json::{Value, json};
use tests::server::{Scratch, assert_accepted, assert_refused};

use super::probes;

/// A pod of a Worker, as the controller of this kind makes it, with a claim.
fn replica(scratch: &Scratch, owner: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": owner, "name": "worker-poller",
        "uid": "00000000-0000-4000-8000-00000000000b", "controller": true});
    let metadata = json!({
        "name": "worker-poller-0", "generateName": "worker-poller-",
        "labels": {"cloister.dev/tenant": scratch.tenant, "cloister.dev/role": "worker",
            "cloister.dev/worker": "poller"},
        "ownerReferences": [owner],
    });
    let mut pod = probes::pod(scratch, &metadata);
    pod["spec"]["volumes"] = json!([
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-worker-poller-0"}}]);
    pod
}

#[tokio::test]
async fn accepts_a_replica_with_a_claim_of_the_controller_of_stateful_sets_alone() {
    Scratch::run(async |scratch| {
        let controller = |name: &str| scratch.admin.service_account("kube-system", name);
        let sets = controller("statefulset-controller");
        assert_accepted(&sets.dry_run(&replica(scratch, "StatefulSet")).await);
        let words = ["'cloister-probes'", "metadata.labels:"];
        assert_refused(&sets.dry_run(&replica(scratch, "ReplicaSet")).await, &words);
        let pod = replica(scratch, "StatefulSet");
        assert_refused(&scratch.admin.dry_run(&pod).await, &words);
        let replicas = controller("replicaset-controller");
        assert_refused(&replicas.dry_run(&pod).await, &words);
    })
    .await;
}

#[tokio::test]
async fn rejects_a_claim_in_any_other_pod() {
    Scratch::run(async |scratch| {
        let mut pod = probes::pod(scratch, &json!({"name": "plain"}));
        pod["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        assert_accepted(&scratch.admin.dry_run(&pod).await);
        for volume in [
            json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-worker-poller-0"}}),
            json!({"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}}}),
        ] {
            pod["spec"]["volumes"] = json!([volume]);
            let words = ["'cloister-pods'", "spec.volumes: a claim is for pods of Workers alone"];
            assert_refused(&scratch.admin.dry_run(&pod).await, &words);
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_an_autoscaler_of_what_a_worker_is_made_of() {
    Scratch::run(async |scratch| {
        let scaler = |api: &str, kind: &str, name: &str| {
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "scaler", "namespace": scratch.namespace},
                "spec": {"maxReplicas": 9, "scaleTargetRef":
                    {"apiVersion": api, "kind": kind, "name": name}}})
        };
        let worker = scaler("cloister.dev/v1alpha1", "Worker", "poller");
        assert_accepted(&scratch.admin.dry_run(&worker).await);
        for kind in ["Deployment", "StatefulSet"] {
            let words = ["'cloister-autoscalers'", "name the Worker"];
            let of_parts = scaler("apps/v1", kind, "worker-poller");
            assert_refused(&scratch.admin.dry_run(&of_parts).await, &words);
            // The older version of the same kind is no way round it.
            let older = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
                "metadata": of_parts["metadata"], "spec": of_parts["spec"]});
            assert_refused(&scratch.admin.dry_run(&older).await, &words);
        }
    })
    .await;
}
