//! What is not Cloister's is refused by name, never adopted and never changed; and one bad
//! tenant is nobody else's trouble.

use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Refusal, eventually, path_of, pause};

use crate::{
    in_process::Operator,
    tenants::{LIMIT, condition, message, path, says, tenant, with},
};

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

/// Objects with each name of ours in a tenant's namespace, made by somebody else.
fn foreign(tenant: &str) -> Vec<Value> {
    let inside = |version: &str, kind: &str, name: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind,
            "metadata": {"name": name, "namespace": format!("tenant-{tenant}")}});
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    };
    let policy = json!({"spec": {"podSelector": {}, "ingress": [{}]}});
    let rbac = "rbac.authorization.k8s.io";
    let binding = json!({"roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "mallory"}]});
    let rbac_v1 = &format!("{rbac}/v1");
    let whole = |kind: &str, name: &str, rest: &Value| {
        let mut object = json!({"apiVersion": rbac_v1, "kind": kind,
            "metadata": {"name": format!("cloister:tenant:{tenant}:{name}")}});
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    };
    let networking = "networking.k8s.io/v1";
    vec![
        inside(
            networking,
            "NetworkPolicy",
            "cloister-deny-all",
            policy.clone(),
        ),
        inside(
            networking,
            "NetworkPolicy",
            "cloister-allow-dns",
            policy.clone(),
        ),
        inside(
            networking,
            "NetworkPolicy",
            "cloister-allow-canary",
            policy.clone(),
        ),
        inside(
            networking,
            "NetworkPolicy",
            "cloister-allow-dispatch",
            policy,
        ),
        inside(
            "v1",
            "ResourceQuota",
            "cloister-limits",
            json!({"spec": {"hard": {"pods": "9"}, "scopes": ["NotTerminating"]}}),
        ),
        inside(
            "v1",
            "ResourceQuota",
            "cloister-pod-limits",
            json!({"spec": {"hard": {"services": "9"}}}),
        ),
        inside(
            "v1",
            "LimitRange",
            "cloister-limits",
            json!({"spec": {"limits": []}}),
        ),
        inside("v1", "ServiceAccount", "cloister-sandbox", json!({})),
        inside(
            rbac_v1,
            "RoleBinding",
            "cloister-tenant-owner",
            binding.clone(),
        ),
        inside(
            rbac_v1,
            "RoleBinding",
            "cloister-tenant-admin",
            binding.clone(),
        ),
        inside(
            rbac_v1,
            "RoleBinding",
            "cloister-tenant-user",
            binding.clone(),
        ),
        whole("ClusterRole", "view", &json!({"rules": []})),
        whole("ClusterRole", "manage", &json!({"rules": []})),
        whole("ClusterRoleBinding", "view", &binding),
        whole("ClusterRoleBinding", "manage", &binding),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_somebody_else_is_refused_and_left_as_it_is() {
    let plane = ControlPlane::start().await;
    let theirs = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "tenant-taken", "labels": {"team": "payments"}}});
    let before = plane.apply(&theirs).await.unwrap();
    let _operator = Operator::start(&plane);
    plane.apply(&tenant("taken")).await.unwrap();
    says(&plane, "taken", "Ready", "False", "NamespaceTaken").await;
    let said = message(&plane, "taken", "Ready").await;
    assert!(
        said.contains("tenant-taken") && said.contains("remove it"),
        "{said}"
    );
    pause(1000).await;
    let after = plane.get("/api/v1/namespaces/tenant-taken").await.unwrap();
    assert_eq!(version(&before), version(&after));
    for list in [
        "/api/v1/namespaces/tenant-taken/resourcequotas",
        "/apis/networking.k8s.io/v1/namespaces/tenant-taken/networkpolicies",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-taken/rolebindings",
    ] {
        let inside = plane.get(list).await.unwrap();
        assert_eq!(inside["items"], json!([]), "{list}");
    }
    let roles = plane
        .get("/apis/rbac.authorization.k8s.io/v1/clusterroles")
        .await
        .unwrap();
    assert!(!roles.to_string().contains("cloister:tenant:taken"));

    // When they take it away, the tenant gets its own.
    plane
        .delete("/api/v1/namespaces/tenant-taken", &Value::Null)
        .await
        .unwrap();
    says(&plane, "taken", "Ready", "True", "Provisioned").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_object_with_a_name_of_ours_is_refused_and_the_rest_is_kept() {
    let plane = ControlPlane::start().await;
    let name = "squatted";
    let mut running = Operator::start(&plane);
    plane.apply(&tenant(name)).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    let deny_all = format!(
        "/apis/networking.k8s.io/v1/namespaces/tenant-{name}/networkpolicies/cloister-deny-all"
    );
    for object in foreign(name) {
        let (kind, path) = (&object["kind"], path_of(&object));
        // With the operator away, somebody replaces ours by theirs.
        running.kill().await;
        plane.delete(&path, &Value::Null).await.unwrap();
        let theirs = plane.create(&object).await.unwrap();
        let probe = if path == deny_all {
            deny_all.replace("deny-all", "allow-dns")
        } else {
            deny_all.clone()
        };
        plane.delete(&probe, &Value::Null).await.unwrap();
        running = Operator::start(&plane);

        says(&plane, name, "Ready", "False", "ForeignObject").await;
        let said = message(&plane, name, "Ready").await;
        let (kind, child) = (
            kind.as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap(),
        );
        assert!(said.contains(kind) && said.contains(child), "{said}");
        eventually(LIMIT, async || {
            plane.get(&probe).await.map(drop).map_err(|r| r.message)
        })
        .await;
        let now = plane.get(&path).await.unwrap();
        let same = now["metadata"]["uid"] == theirs["metadata"]["uid"]
            && now["spec"]["hard"] == theirs["spec"]["hard"]
            && now["metadata"]["labels"] == theirs["metadata"]["labels"];
        assert!(same, "theirs was changed: {now}");

        plane.delete(&path, &Value::Null).await.unwrap();
        says(&plane, name, "Ready", "True", "Provisioned").await;
    }
    // One of ours that somebody has disowned is not ours any more.
    let disown = json!({"metadata": {"ownerReferences": null}});
    plane.merge(&deny_all, "mallory", &disown).await.unwrap();
    says(&plane, name, "Ready", "False", "ForeignObject").await;
    plane.delete(&deny_all, &Value::Null).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_go_also_where_a_foreign_object_is_in_the_way() {
    let plane = ControlPlane::start().await;
    let name = "obstructed";
    let mut running = Operator::start(&plane);
    plane.apply(&tenant(name)).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    running.kill().await;
    let objects = foreign(name);
    let quota = objects
        .iter()
        .find(|object| object["kind"] == "ResourceQuota")
        .unwrap();
    plane.delete(&path_of(quota), &Value::Null).await.unwrap();
    plane.create(quota).await.unwrap();
    let _running = Operator::start(&plane);
    plane
        .apply(&with(tenant(name), "/spec/state", json!("Suspended")))
        .await
        .unwrap();
    says(&plane, name, "Ready", "False", "ForeignObject").await;
    let bindings =
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-{name}/rolebindings");
    let left = plane.get(&bindings).await.unwrap();
    let left: Vec<&Value> = left["items"].as_array().unwrap().iter().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["roleRef"]["name"], "cloister-tenant-user");
}

/// Whoever can write into a tenant's namespace can also write our owner reference. What
/// then carries it is treated as ours: made to say what ours says. Nothing is gained by
/// forging, and nothing of anybody else's is lost by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_owner_reference_gains_nothing() {
    let plane = ControlPlane::start().await;
    let name = "forged";
    let _operator = Operator::start(&plane);
    let made = plane.apply(&tenant(name)).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    let owner = json!([{"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant", "name": name,
        "uid": made["metadata"]["uid"], "controller": true}]);
    for mut object in foreign(name) {
        let path = path_of(&object);
        let before = plane.get(&path).await.unwrap();
        object["metadata"]["ownerReferences"] = owner.clone();
        // The operator is faster than we are, mostly; somebody who insists gets their turn.
        eventually(LIMIT, async || {
            plane
                .delete(&path, &Value::Null)
                .await
                .map_err(|refusal| refusal.message)?;
            plane
                .create(&object)
                .await
                .map(drop)
                .map_err(|refusal: Refusal| refusal.message)
        })
        .await;
        eventually(LIMIT, async || {
            let now = plane.get(&path).await.map_err(|refusal| refusal.message)?;
            for key in [
                "spec",
                "rules",
                "roleRef",
                "subjects",
                "automountServiceAccountToken",
            ] {
                if now[key] != before[key] {
                    return Err(format!("{path} says {}, not {}", now[key], before[key]));
                }
            }
            Ok(())
        })
        .await;
        says(&plane, name, "Ready", "True", "Provisioned").await;
    }

    let gone = async |object: &Value| {
        eventually(LIMIT, async || match plane.get(&path_of(object)).await {
            Err(refusal) if refusal.code == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    };
    // A binding of another name with our owner reference gives rights to nobody: it goes.
    let extra = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "extra", "namespace": format!("tenant-{name}"), "ownerReferences": owner},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": []});
    plane.create(&extra).await.unwrap();
    gone(&extra).await;
    // So does a policy, and it is named until then.
    let widening = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "widening", "namespace": format!("tenant-{name}"), "ownerReferences": owner},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]}});
    plane.create(&widening).await.unwrap();
    gone(&widening).await;
    says(&plane, name, "Ready", "True", "Provisioned").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_with_its_remedy_and_harms_nobody_else() {
    let plane = ControlPlane::start().await;
    plane
        .pretend_node("pretended", "zone-a", "203.0.113.9")
        .await;
    let _operator = Operator::start(&plane);
    let residency = |zone: &str| json!({"regions": ["local-1"], "zones": [zone]});
    let ceiling = json!({"egressCeiling": [{"cidr": "203.0.113.0/24", "ports": [{"port": 443}]}]});
    let bad = [
        (
            "node-cidr",
            "/spec/isolation",
            ceiling,
            "Ready",
            "InvalidSpec",
            "203.0.113.9",
        ),
        (
            "no-gvisor",
            "/spec/isolation",
            json!({"runtime": "GVisor"}),
            "Ready",
            "InvalidSpec",
            "gvisor",
        ),
        (
            "no-zone",
            "/spec/residency",
            residency("zone-x"),
            "ResidencyCompliant",
            "NoSuchPlace",
            "zone-x",
        ),
    ];
    for (name, pointer, value, ..) in &bad {
        plane
            .apply(&with(tenant(name), pointer, value.clone()))
            .await
            .unwrap();
    }
    plane.apply(&tenant("good")).await.unwrap();
    says(&plane, "good", "Ready", "True", "Provisioned").await;
    for (name, _, _, type_, reason, word) in &bad {
        says(&plane, name, type_, "False", reason).await;
        let said = message(&plane, name, type_).await;
        assert!(said.contains(word), "{said}");
        assert_eq!(condition(&plane, name, "Ready").await.0, "False");
        let policies =
            format!("/apis/networking.k8s.io/v1/namespaces/tenant-{name}/networkpolicies");
        let deny_all = plane.get(&format!("{policies}/cloister-deny-all")).await;
        assert!(deny_all.is_ok(), "{name} has no boundary: {deny_all:?}");
        println!("{name}: {type_} is False, {reason}: {said}");
    }
    // Each is well as soon as the fault is gone.
    for (name, ..) in &bad {
        let mut mended = tenant(name);
        mended["spec"]["residency"] = json!({"regions": ["local-1"], "zones": ["zone-a"]});
        mended["spec"]["isolation"] = json!({"runtime": "Hardened"});
        plane.apply(&mended).await.unwrap();
        says(&plane, name, "Ready", "True", "Provisioned").await;
    }
    assert!(plane.get(&path("good")).await.is_ok());
}
