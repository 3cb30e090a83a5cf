//! What the API server refuses before any code of Cloister runs, and what it must let
//! through: bad Tenants, changes by the wrong people, tampering with a tenant's namespace.

#[path = "admission/cast.rs"]
mod cast;
#[path = "admission/egress.rs"]
mod egress;
#[path = "admission/finalizers.rs"]
mod finalizers;
#[path = "admission/members.rs"]
mod members;
#[path = "admission/namespace.rs"]
mod namespace;
#[path = "admission/operator.rs"]
mod operator;
#[path = "admission/probes.rs"]
mod probes;
#[path = "admission/tenant.rs"]
mod tenant;

use serde_json::{Value, json};

/// The least that is a Tenant.
fn minimal(name: &str) -> Value {
    json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"members": [{"kind": "User", "name": "owner@example.com", "role": "Owner"}]},
    })
}

/// The object with the value at a path, which is made where it is not there.
fn set(object: &Value, pointer: &str, value: &Value) -> Value {
    let mut object = object.clone();
    let mut place = &mut object;
    for key in pointer.split('/').skip(1) {
        place = match key.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[key],
        };
    }
    *place = value.clone();
    object
}
