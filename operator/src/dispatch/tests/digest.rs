//! The digest of the image is in the status that a run ends with, also where the kubelet tells it
//! only after the sandbox has spoken.

use contract::run::{Cause, Exit};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
    warm,
};
use crate::dispatch::sandbox::Facts;

const DIGEST: &str = "sha256:0123";

/// The kubelet says which image the containers of a pod are of.
fn kubelet_tells(sim: &mut Sim, name: &str) {
    let object = sim.pods.get_mut(name).unwrap();
    object["status"]["containerStatuses"] = json!([{"name": "command", "image": "example",
        "imageID": format!("registry/example@{DIGEST}"), "ready": true, "restartCount": 0}]);
    let pod: Pod = serde_json::from_value(object.clone()).unwrap();
    sim.book.pod(Facts::of(&pod).unwrap(), sim.now);
}

fn digest(sim: &Sim) -> &Value {
    &sim.executions["one"]["status"]["sandbox"]["imageDigest"]
}

#[test]
fn one_that_comes_after_the_start_is_in_the_last_write() {
    let mut sim = warm(0);
    sim.command = Command::Waits;
    sim.writes.clear();
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    let name = at_work(&sim);
    assert_eq!(digest(&sim), &Value::Null);
    kubelet_tells(&mut sim, &name);
    assert!(sim.settle());
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.settle());
    assert_eq!(digest(&sim), DIGEST);
    assert_eq!(sim.writes, ["Make", "Bind one", "Finish one"]);
}

#[test]
fn one_that_is_known_is_in_the_first() {
    let mut sim = warm(1);
    sim.command = Command::Waits;
    let name = sim.names().pop_first().unwrap();
    kubelet_tells(&mut sim, &name);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle());
    assert_eq!(digest(&sim), DIGEST);
    sim.end(&name, Cause::Completed, Exit::Code(0));
    assert!(sim.settle());
    assert_eq!(digest(&sim), DIGEST);
}
