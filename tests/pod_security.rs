//! What a pod in a tenant's namespace must be: the Pod Security Standard `restricted`, by
//! its whole upstream corpus, and Cloister's extras, one by one.
//!
//! The corpus is that of Kubernetes itself (`k8s.io/pod-security-admission`), fetched into
//! the Go module cache when the test runs and never copied into this repository.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "pod_security/corpus.rs"]
mod corpus;
#[path = "pod_security/extras.rs"]
mod extras;

use serde_json::{Value, json};

/// A pod that a tenant's namespace admits: the positive control of every refusal.
fn conforming(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "conforming", "namespace": namespace},
        "spec": {
            "serviceAccountName": "cloister-sandbox",
            "automountServiceAccountToken": false,
            "hostUsers": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "main",
                "image": "localhost/cloister/sandbox:dev",
                "resources": {"limits": {"cpu": "100m", "memory": "32Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}
