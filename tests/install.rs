//! From nothing to a Tenant that is Ready, by the three commands of the README, and to its first
//! Integration; and again, and again, with no retry.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    cluster::Cluster,
    live::{Live, must, system::OPERATOR, tenant, text, until, within},
    server::unique,
};

/// What the cluster of this machine installs: `manifests/install` with an outside.
const OVERLAY: &str = "overlay";
/// From the first command to a Tenant that is Ready.
const READY: Duration = Duration::from_secs(90);

fn kubectl(live: &Live, arguments: &[&str]) -> String {
    must(live.nodes().kubectl(arguments), &arguments.join(" "))
}

/// As `docs/operations.md` says: tenants first, while there is an operator that takes them
/// away in order; then all the rest.
fn uninstall(live: &Live) {
    let all = ["delete", "tenants", "--all", "--wait", "--timeout=150s"];
    let purge = r#"{"spec":{"deletionPolicy":"Purge"}}"#;
    let names = kubectl(live, &["get", "tenants", "-o", "name"]);
    for name in names.lines() {
        let patch = ["patch", name, "--type=merge", "-p", purge];
        let told = live.nodes().kubectl(&patch);
        // One that a test before this told to go may have gone since it was listed.
        if !matches!(&told, Err(error) if error.to_string().contains("(NotFound)")) {
            must(told, &patch.join(" "));
        }
    }
    kubectl(live, &all);
    kubectl(
        live,
        &[
            "delete",
            "-k",
            OVERLAY,
            "--wait",
            "--ignore-not-found",
            "--timeout=150s",
        ],
    );
}

/// Whatever says of itself that it belongs to Cloister.
fn left(live: &Live) -> String {
    let kinds = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings";
    let label = "-lapp.kubernetes.io/part-of=cloister";
    let mut left = kubectl(live, &["get", kinds, label, "-o", "name"]);
    let namespaces = kubectl(live, &["get", "namespaces", "-o", "name"]);
    let ours = |name: &&str| name.contains("cloister") || name.contains("/tenant-");
    left.extend(
        namespaces
            .lines()
            .filter(ours)
            .map(|name| format!("{name}\n")),
    );
    left
}

/// The three commands of the README, each once.
fn install(live: &Live, tenant: &str) {
    kubectl(live, &["apply", "-k", OVERLAY]);
    let label = "--selector=app.kubernetes.io/part-of=cloister";
    let condition = ["--for=condition=Available", "--timeout=3m"];
    let wait = ["wait", "deployment", "--all-namespaces", label];
    kubectl(live, &[wait.as_slice(), &condition].concat());
    let manifest = self::tenant(tenant, &json!({})).to_string();
    let made = live
        .nodes()
        .kubectl_with_input(&["apply", "-f", "-"], &manifest);
    must(made, "apply a Tenant");
    let name = format!("tenant/{tenant}");
    kubectl(
        live,
        &["wait", "--for=condition=Ready", "--timeout=60s", &name],
    );
    // And what comes next: no quota is in the way of kinds that are so young.
    let integration = json!({
        "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
        "metadata": {"name": "hello", "namespace": format!("tenant-{tenant}")},
        "spec": {"image": "localhost/cloister/examples:dev", "command": ["/hello"]},
    });
    let made = live
        .nodes()
        .kubectl_with_input(&["apply", "-f", "-"], &integration.to_string());
    must(made, "apply an Integration");
}

fn rounds() -> u32 {
    let asked = std::env::var_os("INSTALL_ROUNDS");
    asked
        .and_then(|text| text.to_str()?.parse().ok())
        .unwrap_or(2)
}

#[tokio::test]
async fn installs_every_time_with_no_retry() {
    Live::run_on_own("installs_every_time_with_no_retry", async |live| {
        assert!(Path::new(OVERLAY).exists(), "{OVERLAY}");
        let rounds = rounds();
        for round in 1..=rounds {
            let begun = Instant::now();
            uninstall(live);
            let uninstalled = begun.elapsed();
            assert_eq!(left(live), "", "left after uninstalling");
            let begun = Instant::now();
            let name = unique("fresh");
            install(live, &name);
            let ready = begun.elapsed();
            live.until_proven(&name, READY).await;
            let proven = begun.elapsed();
            println!(
                "    round {round} of {rounds}: removed in {uninstalled:.1?}; Ready {ready:.1?}, \
                 proven {proven:.1?} after the first command"
            );
            within("first command -> Ready", ready, READY);
        }
    })
    .await;
}

#[tokio::test]
async fn installing_twice_changes_nothing() {
    Live::run_on_own("installing_twice_changes_nothing", async |live| {
        let cluster: &Cluster = live.nodes();
        kubectl(live, &["apply", "-k", OVERLAY]);
        // Exits with 1, and so fails, if there is any difference.
        let difference = cluster.kubectl(&["diff", "-k", OVERLAY]);
        assert_eq!(must(difference, "kubectl diff"), "");
        // What kubectl says would not do: of a disruption budget it always says "configured",
        // because it sends the selector whole, whether or not it differs.
        let generations = || {
            let each =
                r#"{range .items[*]}{.kind}/{.metadata.name} {.metadata.generation}{"\n"}{end}"#;
            kubectl(
                live,
                &["get", "-k", OVERLAY, "-o", &format!("jsonpath={each}")],
            )
        };
        let before = generations();
        assert!(before.contains("Deployment/cloister-operator"), "{before}");
        kubectl(live, &["apply", "-k", OVERLAY]);
        assert_eq!(generations(), before);
    })
    .await;
}

/// Whoever drains nodes takes one replica of the operator at a time. Here, behind a fresh
/// installation: a replica that is not well may go at any time, and after a fault of its node the
/// API server takes one for well until its kubelet says otherwise.
#[tokio::test]
async fn replicas_are_evicted_one_at_a_time() {
    Live::run_on_own("replicas_are_evicted_one_at_a_time", async |live| {
        live.stands("cloister-system", OPERATOR).await;
        let budget =
            "/apis/policy/v1/namespaces/cloister-system/poddisruptionbudgets/cloister-operator";
        until("all are well", READY, async || {
            let status = must(live.get(budget).await, budget)["status"].take();
            let well = status["currentHealthy"] == 3 && status["disruptionsAllowed"] == 1;
            if well {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
        let mut pods = live.pods_of(OPERATOR).await;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let [first, second, ..] = &pods[..] else {
            panic!("two replicas or more are needed: {}", pods.len());
        };
        let evict = async |pod: &Value| {
            let name = text(pod, "/metadata/name");
            live.evict("cloister-system", &name).await
        };
        must(evict(first).await, "evict the first");
        let refusal = evict(second).await.err();
        let code = refusal.as_ref().map(|refusal| refusal.code);
        assert_eq!(code, Some(429), "{refusal:?}");
        live.stands("cloister-system", OPERATOR).await;
    })
    .await;
}
