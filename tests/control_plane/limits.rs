//! A tenant may take all that it may have, and is looked at all the same.

use serde_json::{Value, json};
use tests::{control_plane::eventually, live::pods::conforming};

use crate::{
    crashes::plane,
    in_process::{Operator, pretend_probes},
    tenants::{LIMIT, path, proven, tenant, with},
};

/// A pod that uses so much of what a tenant may.
fn taking(name: &str, cpu: &str) -> Value {
    let mut pod = conforming("tenant-full", name, &[]);
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!("none");
    container["resources"] = json!({"limits": {"cpu": cpu, "memory": "64Mi"}});
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_takes_keeps_no_probe_out() {
    let plane = plane().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    let limits = json!({"pods": 2, "cpu": "2"});
    let asked = with(tenant("full"), "/spec/limits", limits);
    plane.apply(&asked).await.unwrap();
    proven(&plane, "full").await;

    plane.apply(&taking("most", "1900m")).await.unwrap();
    let no = plane
        .apply(&taking("more", "101m"))
        .await
        .unwrap_err()
        .message;
    assert!(no.contains("limits.cpu"), "{no}");
    plane.apply(&taking("rest", "100m")).await.unwrap();
    let no = plane
        .apply(&taking("third", "1m"))
        .await
        .unwrap_err()
        .message;
    let full = "used: limits.cpu=2,pods=2,";
    assert!(
        no.contains("quota: cloister-pod-limits") && no.contains(full),
        "{no}"
    );

    // Full, it is looked at again: at once, where somebody opens it.
    let seen = async || {
        let object = plane.get(&path("full")).await.unwrap();
        object["status"]["isolation"]["evidence"][0].clone()
    };
    let before = seen().await;
    let policy =
        "/apis/networking.k8s.io/v1/namespaces/tenant-full/networkpolicies/cloister-deny-all";
    plane.delete(policy, &Value::Null).await.unwrap();
    eventually(LIMIT, async || {
        let seen = seen().await;
        let looked = seen["probe"] != before["probe"];
        if looked && seen["outcome"] == "Proven" {
            return Ok(());
        }
        Err(format!("not since {before}: {seen}"))
    })
    .await;
    proven(&plane, "full").await;

    // And nobody else gets in as one, not even who may make pods there.
    for class in ["cloister-probe", "system-node-critical"] {
        let mut posing = taking("posing", "1m");
        posing["spec"]["priorityClassName"] = json!(class);
        let no = plane.apply(&posing).await.unwrap_err().message;
        assert!(no.contains("spec.priorityClassName"), "{no}");
    }
}
