//! What the API server refuses before any code of Cloister runs, and what it must let
//! through: bad input of every kind, changes by the wrong people, tampering with a tenant's
//! namespace.

#[path = "admission/cast.rs"]
mod cast;
#[path = "admission/egress.rs"]
mod egress;
#[path = "admission/execution.rs"]
mod execution;
#[path = "admission/finalizers.rs"]
mod finalizers;
#[path = "admission/integration.rs"]
mod integration;
#[path = "admission/members.rs"]
mod members;
#[path = "admission/namespace.rs"]
mod namespace;
#[path = "admission/operator.rs"]
mod operator;
#[path = "admission/probes.rs"]
mod probes;
#[path = "admission/sandboxes.rs"]
mod sandboxes;
#[path = "admission/tenant.rs"]
mod tenant;
#[path = "admission/workers.rs"]
mod workers;

use serde_json::{Value, json};

/// The least that is a Tenant.
fn minimal(name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"members": [{"kind": "User", "name": "owner@example.com", "role": "Owner"}]},
    })
}

/// The least that is an Integration.
fn integration(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"image": "localhost/cloister/examples:dev", "command": ["/hello"]},
    })
}

/// The least that is an Execution.
fn execution(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"integration": "hello"},
    })
}

/// Where nothing is kept, because nothing is but asked for.
const ANYWHERE: &str = "default";

/// The object with the value at a path, which is made where it is not there.
fn set(object: &Value, pointer: &str, value: &Value) -> Value {
    let mut object = object.clone();
    let mut place = &mut object;
    for key in pointer.split('/').skip(1) {
        place = match key.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[key.replace("~1", "/")],
        };
    }
    *place = value.clone();
    object
}
