//! Sandboxes that are not what they must be, and networks that are not: nothing of the command
//! runs, and the check that failed is named.
//!
//! The operator makes no such sandbox, and admission lets nobody make most of them. So a fault comes
//! in from outside: a pod by the operator's own identity, like its own but for one thing; a policy
//! set aside by the cluster's admin; a limit of the node taken away beneath a sandbox that waits.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crds::well_known::{DECOY, DECOY_NAMESPACE};
use http::Method;
use serde_json::{Value, json};
use tests::live::{
    Live, POLICIES,
    executions::path,
    must, namespace_of, pause,
    pods::pod_path,
    policies_path, said,
    system::{OPERATOR, PODS_BINDING},
    text, until,
};
use tests::server::unique;

const LIMIT: Duration = Duration::from_mins(1);
/// A sandbox that waits looks every 30 s.
const NEXT_LOOK: Duration = Duration::from_secs(40);

/// An Integration of which one runs, and a sandbox stands ready that its limit keeps from the rest:
/// whoever waits is ended by a sandbox that is of no use, and by nothing else.
async fn crowded(live: &Live, tenant: &str) {
    let spec = json!({"warm": {"min": 1}, "concurrency": {"limit": 1}, "timeout": "10m",
        "startDeadline": "10m"});
    live.integrate(tenant, "rest", &["sleep", "590"], &spec)
        .await;
    live.until_warm(tenant, "rest", LIMIT).await;
    let first = live.execute(tenant, "rest", &json!({})).await;
    live.until_reason(tenant, &first, "Running", LIMIT).await;
}

/// One more Execution, which waits.
async fn waiting(live: &Live, tenant: &str) -> String {
    let name = live.execute(tenant, "rest", &json!({})).await;
    live.until_reason(tenant, &name, "Queued", LIMIT).await;
    name
}

/// A pod like one that the operator made, to be changed.
async fn like_one_of_ours(live: &Live, tenant: &str) -> Value {
    let mut pod = live.sandboxes(tenant, "rest").await.remove(0);
    pod["metadata"] = json!({
        "name": unique("cloister-run-seeded"), "namespace": namespace_of(tenant),
        "labels": pod["metadata"]["labels"], "annotations": pod["metadata"]["annotations"],
        "ownerReferences": pod["metadata"]["ownerReferences"],
    });
    (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
    pod["status"] = json!(null);
    pod["spec"]["nodeName"] = json!(null);
    pod
}

fn add(pod: &mut Value, pointer: &str, item: Value) {
    if let Some(Value::Array(list)) = pod.pointer_mut(pointer) {
        list.push(item);
    }
}

/// The Execution ends as unproven, by this check, and nothing of its command ever ran.
async fn assert_unproven(live: &Live, tenant: &str, name: &str, words: &str, limit: Duration) {
    let (object, took) = live.until_over(tenant, name, limit).await;
    let ended = said(&object, "Succeeded");
    let seconds = took.as_secs_f64();
    println!(
        "    {} after {seconds:.1} s: {}",
        ended.reason, ended.message
    );
    assert_eq!(ended.reason, "SandboxUnproven", "{object}");
    assert!(ended.message.contains(words), "{words}: {object}");
    assert_ran_nothing(&object);
}

/// No sandbox was ever given to it, so that nothing can have been run, and nothing came of it.
fn assert_ran_nothing(object: &Value) {
    assert_eq!(text(object, "/status/times/started"), "", "it ran");
    for field in ["sandbox", "result", "exitCode", "signal"] {
        assert_eq!(object["status"][field], Value::Null, "{field}: {object}");
    }
}

#[tokio::test]
async fn a_sandbox_that_is_not_what_it_must_be_is_refused_and_named() {
    Live::run(async |live| {
        type Fault = fn(&mut Value);
        let tenant = live.proven("seeded", &json!({})).await;
        crowded(live, &tenant).await;
        let faults: [(&str, Fault); 3] = [
            ("Runtime: expected Host, saw GVisor", |pod| {
                pod["spec"]["runtimeClassName"] = json!("gvisor");
                pod["spec"]["hostUsers"] = json!(null);
            }),
            (
                "TokenMounted: expected none, saw /run/secrets/kubernetes.io/serviceaccount/token",
                |pod| {
                    let place = "/run/secrets/kubernetes.io/serviceaccount";
                    let mount = json!({"name": "token", "mountPath": place, "readOnly": true});
                    add(pod, "/spec/containers/0/volumeMounts", mount);
                },
            ),
            ("Mounts: expected none, saw /extra (", |pod| {
                add(
                    pod,
                    "/spec/volumes",
                    json!({"name": "extra", "emptyDir": {}}),
                );
                let mount = json!({"name": "extra", "mountPath": "/extra"});
                add(pod, "/spec/containers/0/volumeMounts", mount);
            }),
        ];
        for (words, fault) in faults {
            let waits = waiting(live, &tenant).await;
            let mut pod = like_one_of_ours(live, &tenant).await;
            fault(&mut pod);
            must(live.admin.operator().create(&pod).await, "seed a sandbox");
            assert_unproven(live, &tenant, &waits, words, LIMIT).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_writable_root_is_refused_and_named() {
    Live::run_on_own("a_writable_root_is_refused_and_named", async |live| {
        let tenant = live.proven("writable", &json!({})).await;
        crowded(live, &tenant).await;
        let waits = waiting(live, &tenant).await;
        let mut pod = like_one_of_ours(live, &tenant).await;
        pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = json!(false);
        let refused = live.admin.operator().create(&pod).await;
        assert!(refused.is_err(), "admission is the first to refuse it");
        live.change(
            PODS_BINDING,
            &json!({"spec": {"validationActions": ["Audit"]}}),
        )
        .await;
        // The servers hear of it a moment later.
        until("admission lets it pass", LIMIT, async || {
            let made = live.admin.operator().create(&pod).await;
            made.map(drop).map_err(|refusal| refusal.to_string())
        })
        .await;
        let words = "ReadOnlyRoot: expected true, saw false";
        assert_unproven(live, &tenant, &waits, words, LIMIT).await;
    })
    .await;
}

/// Where the limits of this container are, in whichever version of cgroups this machine has.
fn memory_limit_of(container: &str) -> Option<PathBuf> {
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = waiting.pop() {
        // Groups come and go while we look.
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = below.map(|entry| entry.path()).filter(|path| path.is_dir());
        for path in below {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let names = ["memory.max", "memory.limit_in_bytes"];
            let limit = names.map(|name| path.join(name));
            let limit = limit.into_iter().find(|limit| limit.is_file());
            match limit {
                Some(limit) if name.contains(container) => return Some(limit),
                _ => waiting.push(path),
            }
        }
    }
    None
}

fn lift(limit: &Path) -> std::io::Result<()> {
    if limit.ends_with("memory.max") {
        return fs::write(limit, "max");
    }
    // No limit of memory may be above that of memory and swap together (cgroups v1).
    let with_swap = limit.with_file_name("memory.memsw.limit_in_bytes");
    if with_swap.exists() {
        fs::write(with_swap, "-1")?;
    }
    fs::write(limit, "-1")
}

#[tokio::test]
async fn a_sandbox_that_loses_its_memory_limit_while_it_waits_is_refused_and_named() {
    Live::run_on_own(
        "a_sandbox_that_loses_its_memory_limit_while_it_waits_is_refused_and_named",
        async |live| {
            let tenant = live.proven("unlimited", &json!({})).await;
            crowded(live, &tenant).await;
            live.until_warm(&tenant, "rest", LIMIT).await;
            let waits = waiting(live, &tenant).await;
            for pod in live.sandboxes(&tenant, "rest").await {
                let path = pod_path(&namespace_of(&tenant), &text(&pod, "/metadata/name"));
                // The kubelet says it a moment after the sandbox has spoken.
                let (id, _) = until("its container has a name", LIMIT, async || {
                    let pod = live
                        .get(&path)
                        .await
                        .map_err(|refusal| refusal.to_string())?;
                    match text(&pod, "/status/containerStatuses/0/containerID") {
                        id if id.is_empty() => Err(pod["status"].to_string()),
                        id => Ok(id),
                    }
                })
                .await;
                let id = id.rsplit('/').next().unwrap_or_default();
                let limit = memory_limit_of(id).unwrap_or_else(|| panic!("no cgroup of {id}"));
                must(lift(&limit), "take the limit away");
            }
            let words = "MemoryLimit: expected at most ";
            assert_unproven(live, &tenant, &waits, words, LIMIT).await;
        },
    )
    .await;
}

fn allow_all(namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "allow-all", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{}], "egress": [{}]},
    })
}

/// The policies go, and another one opens everything, while no operator runs. The sandbox that waits
/// sees it by itself. It is the first to be heard: it comes back within two seconds of a new leader,
/// and its word ends who waits, while the Tenant's condition only keeps them waiting.
#[tokio::test]
async fn a_network_that_was_opened_behind_the_operators_back_is_seen_by_the_sandbox() {
    Live::run_on_own(
        "a_network_that_was_opened_behind_the_operators_back_is_seen_by_the_sandbox",
        async |live| {
            let tenant = live.proven("opened", &json!({})).await;
            let spec = json!({"warm": {"min": 1}, "startDeadline": "10m"});
            live.integrate(&tenant, "hello", &["world"], &spec).await;
            live.until_warm(&tenant, "hello", LIMIT).await;
            live.scale(OPERATOR, 0).await;
            let open = allow_all(&namespace_of(&tenant));
            must(live.admin.create(&open).await, "open the network");
            for policy in POLICIES {
                live.delete(&format!("{}/{policy}", policies_path(&tenant)))
                    .await;
            }
            pause(NEXT_LOOK).await;
            let waits = live.execute(&tenant, "hello", &json!({})).await;
            live.ask_for(OPERATOR, 3).await;
            let words = "expected Blocked, saw Connected";
            assert_unproven(live, &tenant, &waits, words, Duration::from_mins(2)).await;
            let isolation = live.said(&tenant, "IsolationVerified").await;
            assert_ne!(isolation.status, "True", "{isolation:?}");
        },
    )
    .await;
}

/// Opened before the operator's eyes, it is the Tenant's condition that fires first: it names the
/// policy within seconds, and nothing starts from then on, proven sandbox or not.
#[tokio::test]
async fn a_network_that_is_opened_before_the_operators_eyes_starts_nothing() {
    Live::run(async |live| {
        let tenant = live.proven("widened", &json!({})).await;
        let spec = json!({"warm": {"min": 1}, "startDeadline": "10s"});
        live.integrate(&tenant, "hello", &["world"], &spec).await;
        live.until_warm(&tenant, "hello", LIMIT).await;
        let open = allow_all(&namespace_of(&tenant));
        must(live.admin.create(&open).await, "open the network");
        let widened = ("False", &["WidenedByOthers"][..]);
        live.until_said(&tenant, "IsolationVerified", widened, LIMIT)
            .await;
        let (object, ended) = live.run_once(&tenant, "hello", LIMIT).await;
        println!("    {}: {}", ended.reason, ended.message);
        assert_eq!(ended.reason, "IsolationUnverified", "{object}");
        assert!(ended.message.contains("allow-all"), "{object}");
        assert_ran_nothing(&object);
    })
    .await;
}

/// Its silence is no proof once it is gone; sandboxes come that dial the new one.
#[tokio::test]
async fn a_decoy_that_moves_is_followed_by_the_sandboxes() {
    Live::run_on_own(
        "a_decoy_that_moves_is_followed_by_the_sandboxes",
        async |live| {
            let tenant = live.proven("decoy", &json!({})).await;
            let spec = json!({"warm": {"min": 1}, "startDeadline": "10m"});
            live.integrate(&tenant, "hello", &["world"], &spec).await;
            live.until_warm(&tenant, "hello", LIMIT).await;
            let pods = format!("/api/v1/namespaces/{DECOY_NAMESPACE}/pods");
            let now = json!({"gracePeriodSeconds": 0});
            for pod in live.list(&pods).await {
                let path = format!("{pods}/{}", text(&pod, "/metadata/name"));
                let gone = live
                    .admin
                    .send(Method::DELETE, &path, "application/json", &now);
                must(gone.await, "delete the decoy");
            }
            live.stands(DECOY_NAMESPACE, DECOY).await;
            let followed = async || {
                let there = live.list(&pods).await;
                let there = there.iter().map(|pod| text(pod, "/status/podIP"));
                let there = there.filter(|address| !address.is_empty());
                let there: Vec<String> = there.map(|address| format!("\"{address}:")).collect();
                let sandboxes = live.sandboxes(&tenant, "hello").await;
                let dials = |pod: &Value| {
                    let told = pod["spec"]["containers"][0]["args"].to_string();
                    there.iter().any(|address| told.contains(address))
                };
                if !sandboxes.is_empty() && sandboxes.iter().all(dials) {
                    Ok(())
                } else {
                    Err(format!("{} sandboxes, {there:?}", sandboxes.len()))
                }
            };
            // What was proven before stands for 90 s.
            let limit = Duration::from_secs(150);
            until("every sandbox dials the new decoy", limit, followed).await;
            let (object, ended) = live.run_once(&tenant, "hello", LIMIT).await;
            assert_eq!(ended.reason, "Completed", "{object}");
            let path = format!("{}/hello", path(&tenant, "integrations"));
            let line = must(live.get(&path).await, "the Integration");
            println!("    {:?}", said(&line, "Warm"));
        },
    )
    .await;
}
