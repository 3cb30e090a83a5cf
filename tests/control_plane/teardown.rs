//! A tenant goes, whatever is in the way, and its network stays shut until the last pod
//! has gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, Refusal, eventually, pause, send},
    live::POLICIES,
};

use crate::{
    in_process::{Operator, Task, allow_lease},
    tenants::{self, LIMIT, condition, message, path, says, tenant, with},
};

/// What is promised: gone within this, also with stuck pods.
const PROMISED: Duration = Duration::from_mins(2);

/// A pod as admission wants it.
pub fn pod(tenant: &str, name: &str, extra: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": format!("tenant-{tenant}")},
        "spec": {
            "serviceAccountName": "cloister-sandbox", "automountServiceAccountToken": false,
            "hostUsers": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "image": "none",
                "resources": {"limits": {"cpu": "10m", "memory": "16Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}}],
        },
    });
    for (part, fields) in extra.as_object().into_iter().flatten() {
        for (key, value) in fields.as_object().unwrap() {
            pod[part][key] = value.clone();
        }
    }
    pod
}

/// Where it lies.
pub fn pod_path(tenant: &str, name: &str) -> String {
    format!("/api/v1/namespaces/tenant-{tenant}/pods/{name}")
}

/// Makes a pod and puts it on a node, so that only a kubelet, which there is none of, or
/// force ends it.
pub async fn run(plane: &ControlPlane, tenant: &str, name: &str, extra: &Value) {
    eventually(LIMIT, async || {
        let made = plane.create(&pod(tenant, name, extra)).await;
        made.map(drop).map_err(|refusal| refusal.message)
    })
    .await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "pretended"}});
    let bound = plane
        .post(&format!("{}/binding", pod_path(tenant, name)), &binding)
        .await;
    bound.unwrap();
}

async fn ready(plane: &ControlPlane, name: &str) {
    plane.apply(&tenant(name)).await.unwrap();
    says(plane, name, "Ready", "True", "Provisioned").await;
}

async fn purge(plane: &ControlPlane, name: &str) {
    plane.delete(&path(name), &Value::Null).await.unwrap();
}

/// Looks, all the time, whether the policy stands while a pod does. The pod is read before
/// and after the policy: it may have gone in between.
struct Witness {
    open: Arc<AtomicUsize>,
    looks: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    task: Task<()>,
}

impl Witness {
    fn of(plane: &ControlPlane, tenant: &str) -> Self {
        let (open, looks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let over = Arc::new(AtomicBool::new(false));
        let inside = format!("namespaces/tenant-{tenant}");
        let pods = format!("/api/v1/{inside}/pods");
        let policy =
            format!("/apis/networking.k8s.io/v1/{inside}/networkpolicies/cloister-deny-all");
        let (admin, seen, counted, end) =
            (plane.admin(), open.clone(), looks.clone(), over.clone());
        let task = Task::start(async move {
            let get = async |path: &str| -> Result<Value, Refusal> {
                send(&admin, Method::GET, path, "application/json", &Value::Null).await
            };
            while !end.load(Ordering::Acquire) {
                let shut = get(&policy).await.is_ok();
                let left = get(&pods).await.unwrap_or_default();
                let runs = left["items"]
                    .as_array()
                    .is_some_and(|items| !items.is_empty());
                counted.fetch_add(1, Ordering::AcqRel);
                if runs && !shut {
                    seen.fetch_add(1, Ordering::AcqRel);
                }
                pause(3).await;
            }
        });
        Self {
            open,
            looks,
            over,
            task,
        }
    }

    async fn says_shut(self) {
        self.over.store(true, Ordering::Release);
        self.task.end().await;
        let (open, looks) = (
            self.open.load(Ordering::Acquire),
            self.looks.load(Ordering::Acquire),
        );
        println!("network: looked {looks} times, {open} times open with a pod there");
        assert!(looks > 10, "only {looks} looks");
        assert_eq!(open, 0, "a pod was there without cloister-deny-all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_goes_whatever_is_in_the_way_and_its_network_stays_shut() {
    let plane = ControlPlane::start().await;
    plane
        .pretend_node("pretended", "zone-a", "203.0.113.9")
        .await;
    let running = Operator::start(&plane);
    let long = json!({"spec": {"terminationGracePeriodSeconds": 3600}});
    let held = json!({"metadata": {"finalizers": ["example.com/never"]}});
    let cases: Vec<(&str, Value)> = vec![
        ("empty", Value::Null),
        ("stuck", json!({})),
        ("patient", long),
        ("held", held),
        ("unbound", json!({})),
        ("foreground", json!({})),
        ("opened", json!({})),
        ("restarted", json!({})),
    ];
    for (name, extra) in &cases {
        ready(&plane, name).await;
        if !extra.is_null() {
            run(&plane, name, "one", extra).await;
            run(&plane, name, "two", extra).await;
        }
    }
    let mut witnesses = Vec::new();
    for (name, extra) in &cases {
        if !extra.is_null() {
            witnesses.push(Witness::of(&plane, name));
        }
        match *name {
            "unbound" => {
                let list =
                    "/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-unbound/rolebindings";
                plane.delete(list, &Value::Null).await.unwrap();
                purge(&plane, name).await;
            }
            "opened" => {
                purge(&plane, name).await;
                let policies =
                    "/apis/networking.k8s.io/v1/namespaces/tenant-opened/networkpolicies";
                plane
                    .delete(&format!("{policies}/cloister-allow-dns"), &Value::Null)
                    .await
                    .unwrap();
            }
            "foreground" => {
                for policy in ["Foreground", "Orphan"] {
                    let how = json!({"propagationPolicy": policy});
                    let refused = plane.delete(&path(name), &how).await.unwrap_err();
                    assert!(
                        refused.message.contains("must be Background"),
                        "{refused:?}"
                    );
                }
                let held = json!({"metadata": {"finalizers": ["foregroundDeletion"]}});
                let refused = plane
                    .merge(&path(name), "impatient", &held)
                    .await
                    .unwrap_err();
                assert!(refused.message.contains("are refused"), "{refused:?}");
                purge(&plane, name).await;
            }
            _ => purge(&plane, name).await,
        }
    }
    let begun = std::time::Instant::now();
    // In the middle of it, the operator dies and another one begins.
    pause(3000).await;
    let mut running = running;
    running.kill().await;
    pause(1000).await;
    let _running = Operator::start(&plane);
    // What keeps the network shut is kept, also now.
    let policies = "/apis/networking.k8s.io/v1/namespaces/tenant-opened/networkpolicies";
    eventually(LIMIT, async || {
        let policy = plane.get(&format!("{policies}/cloister-allow-dns")).await;
        policy.map(drop).map_err(|refusal| refusal.message)
    })
    .await;
    // Members have lost their rights by now, but to look at the Tenant, and nothing new is
    // admitted.
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cloister:tenant:stuck";
    eventually(LIMIT, async || {
        let manage = plane.get(&format!("{bindings}:manage")).await;
        manage.map_or(Ok(()), |binding| Err(format!("still there: {binding}")))
    })
    .await;
    plane.get(&format!("{bindings}:view")).await.unwrap();
    eventually(LIMIT, async || {
        let refused = plane.create(&pod("stuck", "late", &json!({}))).await;
        refused.map_or(Ok(()), |pod| Err(format!("admitted: {pod}")))
    })
    .await;
    for (name, _) in &cases {
        let left = PROMISED.saturating_sub(begun.elapsed());
        tenants::gone(&plane, name, left).await;
        println!(
            "{name}: gone {} s after its deletion",
            begun.elapsed().as_secs()
        );
    }
    for witness in witnesses {
        witness.says_shut().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_never_had_a_namespace_goes_and_so_does_one_that_may_not_have_it() {
    let plane = ControlPlane::start().await;
    // Marked for deletion with the finalizer on, before any operator ran.
    let mut never = tenant("never");
    never["metadata"]["finalizers"] = json!(["cloister.dev/teardown"]);
    plane.apply(&never).await.unwrap();
    purge(&plane, "never").await;
    let none = json!({"metadata": {"finalizers": null}});
    let refused = plane.merge(&path("never"), "impatient", &none).await;
    let said = refused.unwrap_err().message;
    assert!(said.contains("only the operator takes"), "{said}");
    // The namespace is somebody else's, who keeps it.
    let theirs =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-taken"}});
    plane.apply(&theirs).await.unwrap();
    let _operator = Operator::start(&plane);
    tenants::gone(&plane, "never", LIMIT).await;
    plane.apply(&tenant("taken")).await.unwrap();
    says(&plane, "taken", "Ready", "False", "NamespaceTaken").await;
    purge(&plane, "taken").await;
    eventually(LIMIT, async || match plane.get(&path("taken")).await {
        Err(refusal) if refusal.code == 404 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let namespace = plane.get("/api/v1/namespaces/tenant-taken").await.unwrap();
    assert_eq!(namespace["status"]["phase"], "Active");
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_refuses_deletion_and_removes_nothing_even_where_admission_is_missing() {
    let plane = ControlPlane::start().await;
    let name = "retained";
    allow_lease(&plane, name).await;
    let _operator = Operator::of(&plane, name);
    let retained = with(tenant(name), "/spec/deletionPolicy", json!("Retain"));
    plane.apply(&retained).await.unwrap();
    says(&plane, name, "Ready", "True", "Provisioned").await;
    let refused = plane.delete(&path(name), &Value::Null).await.unwrap_err();
    assert!(
        refused.message.contains("set spec.deletionPolicy to Purge"),
        "{}",
        refused.message
    );
    assert!(plane.get(&path(name)).await.unwrap()["metadata"]["deletionTimestamp"].is_null());

    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    plane
        .delete(&format!("{policies}/cloister-tenants"), &Value::Null)
        .await
        .unwrap();
    eventually(LIMIT, async || {
        let deleted = plane.delete(&path(name), &Value::Null).await;
        deleted.map(drop).map_err(|refusal| refusal.message)
    })
    .await;
    says(&plane, name, "Ready", "False", "DeletionRefused").await;
    assert!(
        message(&plane, name, "Ready")
            .await
            .contains("set it to Purge")
    );
    pause(3000).await;
    let inside = plane
        .get(&format!(
            "/apis/networking.k8s.io/v1/namespaces/tenant-{name}/networkpolicies"
        ))
        .await;
    let policies = inside.unwrap()["items"].as_array().unwrap().len();
    assert_eq!(policies, POLICIES.len());
    let bindings =
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-{name}/rolebindings");
    let members = plane.get(&bindings).await.unwrap();
    assert_eq!(members["items"].as_array().unwrap().len(), 3);
    assert_eq!(condition(&plane, name, "Ready").await.1, "DeletionRefused");

    // The boundary is kept meanwhile: the tenant is still there, with all that runs in it.
    let deny_all = format!(
        "/apis/networking.k8s.io/v1/namespaces/tenant-{name}/networkpolicies/cloister-deny-all"
    );
    plane.delete(&deny_all, &Value::Null).await.unwrap();
    eventually(LIMIT, async || {
        plane
            .get(&deny_all)
            .await
            .map(drop)
            .map_err(|refusal| refusal.message)
    })
    .await;

    // And the remedy works.
    plane.apply(&tenant(name)).await.unwrap();
    tenants::gone(&plane, name, LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_asked_to_end_leaves_its_lease_to_the_next() {
    let plane = ControlPlane::start().await;
    let operator = Operator::start(&plane);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/cloister-system/leases/cloister-operator";
    let holder =
        async || plane.get(lease).await.unwrap_or_default()["spec"]["holderIdentity"].clone();
    eventually(LIMIT, async || {
        let holder = holder().await;
        if holder == "operator-0" {
            Ok(())
        } else {
            Err(format!("held by {holder}"))
        }
    })
    .await;
    operator.stop().await;
    assert_eq!(holder().await, "");
}
