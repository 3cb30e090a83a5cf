//! The operator needs every right that its manifests give it, and no other.

use std::collections::BTreeSet;

use operator::rules::{self, Rule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, eventually, path_of, pause};

use crate::{
    in_process::{Operator, pretend_probes},
    teardown::run,
    tenants::{self, LIMIT, path, proven, says, tenant, with},
};

const OPERATOR: &str = "system:serviceaccount:cloister-system:cloister-operator";

/// Rights that no request shows, and why each is held all the same.
const UNSEEN: [(&str, &str, &str); 3] = [
    // Nobody can grant what they do not hold, and members get these of one Tenant.
    ("cloister.dev", "tenants", "get"),
    ("cloister.dev", "tenants", "update"),
    // Asked for inside the server, when a binding is made.
    ("rbac.authorization.k8s.io", "clusterroles", "bind"),
];

/// Rights of the dispatch of Executions, which [`live`] has none of: without a node there is no
/// sandbox that dials. The cluster's tests run Executions, and fail where one of these is missing;
/// that each is used, nothing shows.
const OF_DISPATCH: [(&str, &str, &str); 13] = [
    ("cloister.dev", "integrations", "list"),
    ("cloister.dev", "integrations", "watch"),
    ("cloister.dev", "integrations/status", "patch"),
    ("cloister.dev", "executions", "list"),
    ("cloister.dev", "executions", "watch"),
    ("cloister.dev", "executions", "delete"),
    ("cloister.dev", "executions/status", "patch"),
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("", "secrets", "create"),
    ("", "secrets", "get"),
    ("", "secrets", "update"),
    ("discovery.k8s.io", "endpointslices", "create"),
    ("discovery.k8s.io", "endpointslices", "patch"),
];

/// A right as RBAC counts them: group, resource with its subresource, verb.
type Right = (String, String, String);

fn granted() -> BTreeSet<Right> {
    let all = [
        rules::operator(),
        rules::operator_in_system(),
        rules::operator_in_default(),
        rules::operator_in_decoy(),
    ];
    all.iter().flatten().flat_map(rights).collect()
}

fn rights(rule: &Rule) -> Vec<Right> {
    let pairs = rule.resources.iter().flat_map(|resource| {
        let verbs = rule.verbs.iter();
        verbs.map(move |verb| (*resource, *verb))
    });
    pairs
        .map(|(resource, verb)| right(rule.group, resource, verb))
        .collect()
}

fn right(group: &str, resource: &str, verb: &str) -> Right {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

/// What the operator asked for, and how each request was answered.
fn used(plane: &ControlPlane) -> (BTreeSet<Right>, Vec<String>) {
    let (mut used, mut forbidden) = (BTreeSet::new(), Vec::new());
    for line in plane.audit() {
        let reference = &line["objectRef"];
        if line["user"]["username"] != OPERATOR || reference.is_null() {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = match text(&reference["subresource"]).as_str() {
            "" => text(&reference["resource"]),
            sub => format!("{}/{sub}", text(&reference["resource"])),
        };
        if line["responseStatus"]["code"] == 403 {
            let why = &line["responseStatus"]["message"];
            forbidden.push(format!("{} {}: {why}", line["verb"], line["requestURI"]));
        }
        used.insert((text(&reference["apiGroup"]), resource, text(&line["verb"])));
    }
    (used, forbidden)
}

/// Everything that an operator ever does.
async fn live(plane: &ControlPlane) {
    plane
        .pretend_node("pretended", "zone-a", "203.0.113.9")
        .await;
    plane.pretend_probing_targets().await;
    let _kubelet = pretend_probes(plane);
    let mut operator = Operator::start(plane);
    let name = "busy";
    plane.apply(&tenant(name)).await.unwrap();
    proven(plane, name).await;
    for (pointer, value) in [
        ("/spec/limits", json!({"pods": 7})),
        ("/spec/state", json!("Suspended")),
    ] {
        let changed = with(tenant(name), pointer, value);
        plane.apply(&changed).await.unwrap();
        says(plane, name, "Ready", "True", reason(&changed)).await;
    }
    plane.apply(&tenant(name)).await.unwrap();
    proven(plane, name).await;
    drift(plane, name).await;
    // The next one finds the lease taken, and then given back.
    operator.kill().await;
    let _operator = Operator::start(plane);
    run(
        plane,
        name,
        "held",
        &json!({"metadata": {"finalizers": ["example.com/never"]}}),
    )
    .await;
    let purged = plane.delete(&path(name), &Value::Null).await;
    purged.unwrap();
    tenants::gone(plane, name, 3 * LIMIT).await;
}

fn reason(tenant: &Value) -> &'static str {
    if tenant["spec"]["state"] == "Suspended" {
        "Suspended"
    } else {
        "Provisioned"
    }
}

/// Somebody edits one object of each kind, admission looking away, one of them twice, and
/// makes a policy and a quota that look like the operator's.
async fn drift(plane: &ControlPlane, name: &str) {
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let namespaces = format!("{policies}/cloister-namespaces");
    plane.delete(&namespaces, &Value::Null).await.unwrap();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let inside = format!("namespaces/tenant-{name}");
    let label = json!({"metadata": {"labels": {"cloister.dev/tenant": "x"}}});
    let limits = format!("/api/v1/{inside}");
    for path in [
        format!("/api/v1/namespaces/tenant-{name}"),
        format!("{limits}/resourcequotas/cloister-limits"),
        format!("{limits}/limitranges/cloister-limits"),
        format!("{limits}/serviceaccounts/cloister-sandbox"),
        format!("/apis/networking.k8s.io/v1/{inside}/networkpolicies/cloister-deny-all"),
        format!("{rbac}/{inside}/rolebindings/cloister-tenant-user"),
        format!("/apis/networking.k8s.io/v1/{inside}/networkpolicies/cloister-deny-all"),
        format!("{rbac}/clusterroles/cloister:tenant:{name}:view"),
        format!("{rbac}/clusterrolebindings/cloister:tenant:{name}:view"),
    ] {
        eventually(LIMIT, async || {
            let edited = plane.merge(&path, "mallory", &label).await;
            edited.map(drop).map_err(|refusal| refusal.message)
        })
        .await;
        eventually(LIMIT, async || {
            let object = plane.get(&path).await.unwrap();
            let found = &object["metadata"]["labels"]["cloister.dev/tenant"];
            if found == name {
                return Ok(());
            }
            Err(format!("{path} says {found}"))
        })
        .await;
    }
    let namespace = format!("tenant-{name}");
    let tenant = plane.get(&path(name)).await.unwrap();
    let owner = json!([{"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant", "name": name,
        "uid": tenant["metadata"]["uid"], "controller": true}]);
    let widening = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "widening", "namespace": namespace, "ownerReferences": owner},
        "spec": {"podSelector": {}, "ingress": [{}]}});
    let scoped = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "cloister-limits", "namespace": namespace, "ownerReferences": owner},
        "spec": {"hard": {"pods": "1"}, "scopes": ["NotTerminating"]}});
    plane.create(&widening).await.unwrap();
    eventually(LIMIT, async || {
        let quota = path_of(&scoped);
        plane
            .delete(&quota, &Value::Null)
            .await
            .map_err(|refusal| refusal.message)?;
        plane
            .create(&scoped)
            .await
            .map(drop)
            .map_err(|refusal| refusal.message)
    })
    .await;
    eventually(LIMIT, async || {
        let quota = plane.get(&path_of(&scoped)).await;
        let quota = quota.map_err(|refusal| refusal.message)?;
        if quota["spec"]["scopes"].is_null() {
            return Ok(());
        }
        Err(format!("the quota is {quota}"))
    })
    .await;
    proven(plane, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_of_the_operator_is_used_and_none_is_missing() {
    let plane = ControlPlane::start().await;
    live(&plane).await;
    pause(1000).await;
    let (used, forbidden) = used(&plane);
    // A namespace on its way out admits nothing: that is no missing right.
    let missing: Vec<_> = forbidden
        .iter()
        .filter(|line| !line.contains("being terminated"))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let granted = granted();
    let unseen = UNSEEN.iter().chain(&OF_DISPATCH);
    let unseen: BTreeSet<Right> = unseen.map(|(g, r, v)| right(g, r, v)).collect();
    let superfluous: Vec<_> = granted
        .difference(&used)
        .filter(|one| !unseen.contains(*one))
        .collect();
    println!(
        "{} rights, {} used, {} held for their reasons",
        granted.len(),
        granted.intersection(&used).count(),
        unseen.len()
    );
    assert!(superfluous.is_empty(), "nothing uses {superfluous:#?}");
    let ungranted: Vec<_> = used.difference(&granted).collect();
    assert!(ungranted.is_empty(), "used by another role: {ungranted:#?}");
}
