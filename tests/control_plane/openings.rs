//! What Integrations may reach: their policies are made, kept and withdrawn, and cost their tenant
//! no proof; and the operator may write no others.

use http::Method;
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, eventually, send};

use crate::{
    in_process::{Operator, pretend_probes},
    tenants::{LIMIT, condition, path, proven, tenant, with},
};

const JSON: &str = "application/json";
const NAMESPACE: &str = "tenant-open";
const NETWORKING: &str = "/apis/networking.k8s.io/v1/namespaces/tenant-open/networkpolicies";
const INTEGRATIONS: &str = "/apis/cloister.dev/v1alpha1/namespaces/tenant-open/integrations";

fn block(cidr: &str, port: u16) -> Value {
    json!([{"cidr": cidr, "ports": [{"port": port, "protocol": "TCP"}]}])
}

fn allowing(ceiling: &Value) -> Value {
    let isolation = json!({"egressCeiling": ceiling});
    with(tenant("open"), "/spec/isolation", isolation)
}

async fn ask(plane: &ControlPlane, name: &str, egress: &Value) {
    let object = json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"image": "hello", "command": ["/hello"], "egress": egress},
    });
    plane.apply(&object).await.unwrap();
}

/// The policies of an Integration.
async fn policies(plane: &ControlPlane, name: &str) -> Vec<Value> {
    let list = plane.get(NETWORKING).await.unwrap();
    let all = list["items"].as_array().cloned().unwrap_or_default();
    let begins = format!("cloister-egress-{name}-");
    let named = |one: &Value| {
        one["metadata"]["name"]
            .as_str()
            .unwrap()
            .starts_with(&begins)
    };
    all.into_iter().filter(named).collect()
}

/// Waits until an Integration has the one policy that opens this.
async fn opens(plane: &ControlPlane, name: &str, cidr: &str, port: u16) -> Value {
    let mut found = Value::Null;
    eventually(LIMIT, async || {
        let policies = policies(plane, name).await;
        let spec = json!({
            "podSelector": {"matchLabels": {"cloister.dev/role": "sandbox",
                "cloister.dev/integration": name}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": cidr}}],
                "ports": [{"protocol": "TCP", "port": port}]}],
        });
        match &policies[..] {
            [one] if one["spec"] == spec => {
                found = one.clone();
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    found
}

async fn opens_nothing(plane: &ControlPlane, name: &str) {
    eventually(LIMIT, async || match &policies(plane, name).await[..] {
        [] => Ok(()),
        some => Err(format!("{some:?}")),
    })
    .await;
}

async fn boundary(plane: &ControlPlane) -> Value {
    let tenant = plane.get(&path("open")).await.unwrap();
    tenant["status"]["isolation"]["boundary"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_integrations_come_stay_and_go_and_cost_no_proof() {
    let plane = ControlPlane::start().await;
    plane
        .pretend_node("pretended", "zone-a", "198.51.100.9")
        .await;
    plane.pretend_probing_targets().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    let wide = allowing(&block("203.0.113.0/24", 443));
    plane.apply(&wide).await.unwrap();
    proven(&plane, "open").await;
    let before = boundary(&plane).await;

    ask(&plane, "hello", &block("203.0.113.8/29", 443)).await;
    ask(&plane, "beyond", &block("203.0.113.8/29", 80)).await;
    ask(&plane, "other", &block("203.0.113.16/32", 443)).await;
    let policy = opens(&plane, "hello", "203.0.113.8/29", 443).await;
    opens(&plane, "other", "203.0.113.16/32", 443).await;
    assert!(policies(&plane, "beyond").await.is_empty());
    let integration = plane.get(&format!("{INTEGRATIONS}/hello")).await.unwrap();
    let owner = &policy["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], integration["metadata"]["uid"]);
    assert_eq!(owner["controller"], json!(true));

    // Another list is the same policy.
    ask(&plane, "hello", &block("203.0.113.8/30", 443)).await;
    let changed = opens(&plane, "hello", "203.0.113.8/30", 443).await;
    assert_eq!(changed["metadata"]["uid"], policy["metadata"]["uid"]);
    assert_eq!(boundary(&plane).await, before);

    // What somebody makes of it comes back: rules put beside ours, and its end.
    let at = format!(
        "{NETWORKING}/{}",
        policy["metadata"]["name"].as_str().unwrap()
    );
    let more = json!({"spec": {"ingress": [{}], "policyTypes": ["Egress", "Ingress"],
        "egress": [{}], "podSelector": {"matchLabels": null}}});
    plane.merge(&at, "mallory", &more).await.unwrap();
    opens(&plane, "hello", "203.0.113.8/30", 443).await;
    proven(&plane, "open").await;
    let selects_nothing = json!({"metadata": {"labels": null}});
    plane.merge(&at, "mallory", &selects_nothing).await.unwrap();
    eventually(LIMIT, async || {
        let labels = plane.get(&at).await.unwrap()["metadata"]["labels"].clone();
        match labels["cloister.dev/integration"].as_str() {
            Some("hello") => Ok(()),
            _ => Err(labels.to_string()),
        }
    })
    .await;
    plane.delete(&at, &json!({})).await.unwrap();
    let back = opens(&plane, "hello", "203.0.113.8/30", 443).await;
    assert_ne!(back["metadata"]["uid"], policy["metadata"]["uid"]);

    // A list that is gone, an Integration that is gone, a ceiling that holds it no more.
    ask(&plane, "hello", &json!([])).await;
    opens_nothing(&plane, "hello").await;
    ask(&plane, "hello", &block("203.0.113.8/30", 443)).await;
    opens(&plane, "hello", "203.0.113.8/30", 443).await;
    let gone = format!("{INTEGRATIONS}/other");
    plane.delete(&gone, &json!({})).await.unwrap();
    opens_nothing(&plane, "other").await;
    let said = condition(&plane, "open", "IsolationVerified").await;
    assert_eq!(said, ("True".to_owned(), "Proven".to_owned()));
    assert_eq!(boundary(&plane).await, before);
    plane
        .apply(&allowing(&block("203.0.113.0/24", 80)))
        .await
        .unwrap();
    opens_nothing(&plane, "hello").await;
    opens(&plane, "beyond", "203.0.113.8/29", 80).await;

    // With its tenant it goes first, and what shuts stays for as long as there is a namespace.
    plane.delete(&path("open"), &json!({})).await.unwrap();
    opens_nothing(&plane, "beyond").await;
    let deny = format!("{NETWORKING}/cloister-deny-all");
    assert!(plane.get(&deny).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_write_no_policy_that_opens_more() {
    let plane = ControlPlane::start().await;
    plane
        .pretend_node("pretended", "zone-a", "198.51.100.9")
        .await;
    plane.pretend_probing_targets().await;
    let _kubelet = pretend_probes(&plane);
    let _operator = Operator::start(&plane);
    plane
        .apply(&allowing(&block("203.0.113.0/24", 443)))
        .await
        .unwrap();
    proven(&plane, "open").await;
    ask(&plane, "hello", &block("203.0.113.8/29", 443)).await;
    let mut good = opens(&plane, "hello", "203.0.113.8/29", 443).await;
    let owners = good["metadata"]["ownerReferences"].take();
    good["metadata"] = json!({"name": "cloister-egress-hello-2", "namespace": NAMESPACE,
        "ownerReferences": owners});
    let operator = plane.operator();
    let dry = format!("{NETWORKING}?dryRun=All");
    let post = async |policy: &Value| send(&operator, Method::POST, &dry, JSON, policy).await;
    post(&good).await.unwrap();
    for (pointer, value) in [
        ("/metadata/name", json!("allow-all")),
        ("/metadata/ownerReferences", json!([])),
        ("/metadata/ownerReferences/0/name", json!("other")),
        ("/spec/podSelector", json!({})),
        ("/spec/policyTypes", json!(["Egress", "Ingress"])),
        ("/spec/egress", json!([{}])),
        ("/spec/egress/0/to/0/ipBlock/cidr", json!("0.0.0.0/0")),
        ("/spec/egress/0/to/0/ipBlock/cidr", json!("10.0.0.0/8")),
        (
            "/spec/egress/0/to/0/ipBlock/cidr",
            json!("fd00:ec2::254/128"),
        ),
        ("/spec/egress/0/to/0", json!({"podSelector": {}})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let refusal = post(&bad).await.unwrap_err().message;
        assert!(
            refusal.contains("may write no network policy but"),
            "{pointer}: {refusal}"
        );
    }
}
