//! What is written stays written: nothing more is written, and what others change or
//! remove comes back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, eventually, path_of, pause};

use crate::{
    in_process::{Operator, allow_lease, pretend_probes},
    tenants::{self, LIMIT, path, proven, says, state_of, tenant, with},
};

/// Writes of the operator in the audit log, its lease aside.
fn writes(plane: &ControlPlane) -> Vec<String> {
    let operator = "system:serviceaccount:cloister-system:cloister-operator";
    let reads = ["get", "list", "watch"];
    plane
        .audit()
        .iter()
        .filter(|line| line["user"]["username"] == operator)
        .filter(|line| !reads.iter().any(|verb| line["verb"] == *verb))
        .filter(|line| line["objectRef"]["resource"] != "leases")
        .map(|line| format!("{} {}", line["verb"], line["requestURI"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_converged_tenant_is_written_to_no_more() {
    let plane = ControlPlane::start().await;
    plane
        .pretend_node("pretended", "zone-a", "203.0.113.9")
        .await;
    plane.pretend_probing_targets().await;
    let _kubelet = pretend_probes(&plane);
    let operator = Operator::start(&plane);
    let names = ["idle-a", "idle-b", "idle-c"];
    for name in names {
        plane.apply(&tenant(name)).await.unwrap();
    }
    for name in names {
        proven(&plane, name).await;
    }
    pause(2000).await;
    let before = writes(&plane);
    pause(20_000).await;
    let after = writes(&plane);
    assert_eq!(after[before.len()..], [] as [String; 0]);

    // An operator that starts finds nothing to do either.
    operator.stop().await;
    let _operator = Operator::start(&plane);
    pause(5000).await;
    let restarted = writes(&plane);
    assert_eq!(restarted[before.len()..], [] as [String; 0]);
    println!(
        "{} writes for 3 tenants, then 0 in 20 s, 0 after a restart",
        before.len()
    );

    let first = plane.apply(&tenant("idle-a")).await.unwrap();
    let second = plane.apply(&tenant("idle-a")).await.unwrap();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    assert_eq!(
        version(&first),
        version(&second),
        "apply twice, and the diff is empty"
    );
}

/// What somebody does to each child, and at which place of it.
fn edits() -> Vec<(&'static str, Value)> {
    let verbs = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let everybody = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
        "name": "system:authenticated"}]);
    vec![
        (
            "networkpolicies/cloister-deny-all",
            json!({"spec": {"podSelector": {"matchLabels": {"no": "pod"}}}}),
        ),
        (
            "networkpolicies/cloister-deny-all",
            json!({"spec": {"ingress": [{}], "egress": [{}]}}),
        ),
        (
            "networkpolicies/cloister-allow-dns",
            json!({"spec": {"egress": [{}]}}),
        ),
        (
            "networkpolicies/cloister-allow-canary",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "mallory"}}}),
        ),
        (
            "networkpolicies/cloister-allow-dispatch",
            json!({"spec": {"podSelector": {"matchLabels": {"cloister.dev/role": null}}}}),
        ),
        (
            "resourcequotas/cloister-limits",
            json!({"spec": {"hard": {"count/secrets": "9999"}}}),
        ),
        (
            "resourcequotas/cloister-pod-limits",
            json!({"spec": {"hard": {"pods": "9999", "limits.cpu": null}}}),
        ),
        (
            "resourcequotas/cloister-pod-limits",
            json!({"spec": {"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "In", "values": ["none"]}]}}}),
        ),
        (
            "resourcequotas/cloister-limits",
            json!({"spec": {"hard": {"secrets": "0", "count/secrets": null}}}),
        ),
        (
            "limitranges/cloister-limits",
            json!({"spec": {"limits": []}}),
        ),
        (
            "serviceaccounts/cloister-sandbox",
            json!({"automountServiceAccountToken": true}),
        ),
        (
            "rolebindings/cloister-tenant-user",
            json!({"subjects": everybody}),
        ),
        (
            "rolebindings/cloister-tenant-user",
            json!({"metadata": {"labels": {"cloister.dev/tenant": "other"}}}),
        ),
        (
            "clusterroles/cloister:tenant:T:view",
            json!({"rules": verbs}),
        ),
        (
            "clusterroles/cloister:tenant:T:view",
            json!({"aggregationRule":
            {"clusterRoleSelectors": [{"matchLabels": {"any": "thing"}}]}}),
        ),
        (
            "clusterrolebindings/cloister:tenant:T:manage",
            json!({"subjects": everybody}),
        ),
        (
            "clusterrolebindings/cloister:tenant:T:manage",
            json!({"metadata": {"labels": {"cloister.dev/extra": "1"}}}),
        ),
    ]
}

fn repairable(mut object: Value) -> Value {
    object["metadata"]["managers"] = Value::Null;
    object
}

/// p50 and p99, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> (u128, u128) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_millis();
    (at(50), at(99))
}

/// Texts of the Events about a tenant.
async fn events(plane: &ControlPlane, name: &str) -> Vec<String> {
    let all = plane
        .get("/apis/events.k8s.io/v1/namespaces/default/events")
        .await
        .unwrap();
    let all = all["items"].as_array().cloned().unwrap_or_default();
    let about = all
        .iter()
        .filter(|event| event["regarding"]["name"] == name);
    about
        .map(|event| format!("{}: {}", event["reason"], event["note"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_remove_or_change_comes_back_and_the_event_names_them() {
    let plane = ControlPlane::start().await;
    let name = "drift";
    allow_lease(&plane, name).await;
    let _operator = Operator::of(&plane, name);
    plane.apply(&tenant(name)).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    pause(500).await;
    let state = state_of(&plane, name).await;
    let children: Vec<String> = state
        .keys()
        .map(|key| {
            key.replace("/T", &format!("/{name}"))
                .replace("tenant-T", &format!("tenant-{name}"))
                .replace(":T:", &format!(":{name}:"))
        })
        .filter(|path| !path.ends_with("/drift") && !path.ends_with("/tenant-drift"))
        .collect();
    assert!(children.len() >= 13, "{children:#?}");

    let mut deleted = Vec::new();
    for round in 0..3 {
        for child in &children {
            let before = plane.get(child).await.unwrap();
            let begun = Instant::now();
            plane.delete(child, &Value::Null).await.unwrap();
            eventually(LIMIT, async || match plane.get(child).await {
                Ok(object) if object["metadata"]["uid"] != before["metadata"]["uid"] => Ok(()),
                other => Err(format!("round {round}: {child} is not back: {other:?}")),
            })
            .await;
            deleted.push(begun.elapsed());
        }
    }
    let mut edited = Vec::new();
    for (child, edit) in edits() {
        let child = child.replace('T', name);
        let child = children.iter().find(|path| path.ends_with(&child)).unwrap();
        let key = state
            .keys()
            .find(|key| key.replace('T', name) == *child)
            .unwrap();
        let begun = Instant::now();
        plane.merge(child, "mallory", &edit).await.unwrap();
        eventually(LIMIT, async || {
            let now = state_of(&plane, name).await;
            let found = now.get(key).cloned().unwrap_or_default();
            let expected = state[key].clone();
            if repairable(found.clone()) == repairable(expected.clone()) {
                return Ok(());
            }
            let said = events(&plane, name).await;
            Err(format!(
                "{edit} stays in {child}:\n{found}\n{expected}\n{said:#?}"
            ))
        })
        .await;
        edited.push(begun.elapsed());
        says(&plane, name, "Ready", "True", "Provisioned").await;
    }
    let (count, edits) = (deleted.len(), edited.len());
    let (p50, p99) = percentiles(deleted);
    println!("{count} deleted children back: p50 {p50} ms, p99 {p99} ms");
    let (p50, p99) = percentiles(edited);
    println!("{edits} edited children back: p50 {p50} ms, p99 {p99} ms");
    let events = events(&plane, name).await;
    let told = |words: &str| events.iter().any(|event| event.contains(words));
    assert!(
        told("put back NetworkPolicy cloister-deny-all, changed by mallory"),
        "{events:#?}"
    );
    assert!(
        told("made NetworkPolicy cloister-deny-all again, which was missing"),
        "{events:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_changed_or_removed_behind_admissions_back_comes_back() {
    let plane = ControlPlane::start().await;
    let name = "shaken";
    let _operator = Operator::start(&plane);
    plane.apply(&tenant(name)).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    let namespace = format!("/api/v1/namespaces/tenant-{name}");
    let open =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    let refused = plane.merge(&namespace, "mallory", &open).await.unwrap_err();
    assert!(
        refused.message.contains("change the Tenant instead"),
        "{}",
        refused.message
    );
    let refused = plane.delete(&namespace, &Value::Null).await.unwrap_err();
    assert!(
        refused.message.contains("delete the Tenant instead"),
        "{}",
        refused.message
    );

    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    plane
        .delete(&format!("{policies}/cloister-namespaces"), &Value::Null)
        .await
        .unwrap();
    eventually(LIMIT, async || {
        let edited = plane.merge(&namespace, "mallory", &open).await;
        edited.map(drop).map_err(|refusal| refusal.message)
    })
    .await;
    let is_back = async || {
        let object = plane
            .get(&namespace)
            .await
            .map_err(|refusal| refusal.message)?;
        let label = &object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
        if label == "restricted" {
            Ok(())
        } else {
            Err(format!("enforce is {label}"))
        }
    };
    eventually(LIMIT, is_back).await;
    let before = plane.get(&namespace).await.unwrap();
    plane.delete(&namespace, &Value::Null).await.unwrap();
    eventually(LIMIT, async || match plane.get(&namespace).await {
        Ok(object) if object["metadata"]["uid"] != before["metadata"]["uid"] => Ok(()),
        other => Err(format!("the namespace is not back: {other:?}")),
    })
    .await;
    says(&plane, name, "Ready", "True", "Provisioned").await;
    let deny_all = "networkpolicies/cloister-deny-all";
    let there = plane
        .get(&format!(
            "/apis/networking.k8s.io/v1/namespaces/tenant-{name}/{deny_all}"
        ))
        .await;
    assert!(there.is_ok(), "{there:?}");

    // A spec that came and went leaves nothing behind.
    let suspended = with(tenant(name), "/spec/state", json!("Suspended"));
    plane.apply(&suspended).await.unwrap();
    says(&plane, name, "Ready", "True", "Suspended").await;
    plane.apply(&tenant(name)).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    assert!(plane.get(&path(name)).await.is_ok());
}

/// A policy that lets nobody change a quota.
fn refuses_quotas() -> [Value; 2] {
    let name = json!({"name": "nobody-changes-quotas"});
    let version = "admissionregistration.k8s.io/v1";
    [
        json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": name,
            "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
                "resources": ["resourcequotas"]}]},
                "validations": [{"expression": "request.userInfo.groups.exists(g, g == 'system:masters')",
                    "message": "quotas are frozen", "reason": "Forbidden"}]}}),
        json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": name,
            "spec": {"policyName": name["name"], "validationActions": ["Deny"]}}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_refused_deletes_nothing_and_is_made_when_it_is_not() {
    let plane = ControlPlane::start().await;
    let name = "frozen";
    let _operator = Operator::start(&plane);
    plane.apply(&tenant(name)).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    let [policy, binding] = refuses_quotas();
    plane.apply(&policy).await.unwrap();
    plane.apply(&binding).await.unwrap();
    let quota = format!("/api/v1/namespaces/tenant-{name}/resourcequotas/cloister-pod-limits");
    let before = plane.get(&quota).await.unwrap();
    // Policies take their time to be in force: until then, it is put back each time.
    let more = json!({"spec": {"hard": {"pods": "9999"}}});
    eventually(LIMIT, async || {
        plane
            .merge(&quota, "mallory", &more)
            .await
            .map_err(|refusal| refusal.message)?;
        pause(1000).await;
        match tenants::condition(&plane, name, "Ready").await {
            (status, reason) if (status.as_str(), reason.as_str()) == ("Unknown", "ApiError") => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let said = tenants::message(&plane, name, "Ready").await;
    assert!(said.contains("quotas are frozen"), "{said}");
    let now = plane.get(&quota).await.unwrap();
    assert_eq!(now["metadata"]["uid"], before["metadata"]["uid"]);

    for object in [&binding, &policy] {
        plane.delete(&path_of(object), &Value::Null).await.unwrap();
    }
    says(&plane, name, "Ready", "True", "Provisioned").await;
    let now = plane.get(&quota).await.unwrap();
    assert_eq!(now["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(now["spec"], before["spec"]);
}
