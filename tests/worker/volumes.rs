//! A volume for each replica: proven with it, written by the command, kept over restarts, scaling and
//! the loss of a zone, and gone with the Worker.
//!
//! The cluster of this machine has no provisioner: the test makes a directory on each node, and a
//! volume of each.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    cluster::topology::NODES,
    live::{
        Live, TEST_LABEL, must, namespace_of, text, until, within,
        workers::{placed, worker_path},
    },
    server::unique,
};

/// From nothing to proven and running, image pulled.
const UP: Duration = Duration::from_mins(2);
const SAID: Duration = Duration::from_secs(30);

/// A class of its own, and a volume on each node.
async fn provide(live: &Live) -> String {
    let class = unique("local");
    let labels = json!({TEST_LABEL: "true"});
    let object = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": class, "labels": labels}, "volumeBindingMode": "WaitForFirstConsumer",
        "provisioner": "kubernetes.io/no-provisioner"});
    must(live.admin.create(&object).await, "create the class");
    for node in &NODES {
        let path = format!("/var/lib/cloister-tests/{class}");
        let made = live.nodes().in_node(node, "mkdir");
        let made = must(made, node.name).args(["-p", &path]).status();
        assert!(must(made, node.name).success(), "{path} on {}", node.name);
        let term =
            |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
        let expressions = [
            term("kubernetes.io/hostname", node.name),
            term("topology.kubernetes.io/zone", node.zone),
        ];
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": format!("{class}-{}", node.name), "labels": labels},
            "spec": {"capacity": {"storage": "16Mi"}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": class,
                "local": {"path": path}, "nodeAffinity": {"required": {"nodeSelectorTerms":
                    [{"matchExpressions": expressions}]}}}});
        must(live.admin.create(&volume).await, "create the volume");
    }
    class
}

async fn claims(live: &Live, tenant: &str) -> Vec<String> {
    let path = format!(
        "/api/v1/namespaces/{}/persistentvolumeclaims",
        namespace_of(tenant)
    );
    let all = live.list(&path).await;
    all.iter()
        .map(|claim| text(claim, "/metadata/name"))
        .collect()
}

/// Waits until a replica says this.
async fn until_says(live: &Live, tenant: &str, pod: &str, words: &str) {
    let check = async || {
        let pods = live.replicas(tenant, "keeper").await;
        if !pods.iter().any(|one| text(one, "/metadata/name") == pod) {
            return Err(format!("{pod} is not there"));
        }
        match live.log_of(tenant, pod).await {
            log if log.contains(words) => Ok(()),
            log => Err(log),
        }
    };
    until(&format!("{pod} says {words}"), UP, check).await;
}

/// Of this tenant's Worker.
const NAME: &str = "keeper";
const RUNNING: (&str, &str) = ("True", "Running");

/// Another pod of the same number has the same volume, where that is.
async fn restarts(live: &Live, tenant: &str, (pod, node): &(String, String)) {
    let namespace = namespace_of(tenant);
    live.delete(&format!("/api/v1/namespaces/{namespace}/pods/{pod}"))
        .await;
    until_says(live, tenant, pod, "started 2 times").await;
    let again: Vec<_> = live
        .replicas(tenant, NAME)
        .await
        .iter()
        .map(placed)
        .collect();
    assert!(again.contains(&(pod.clone(), node.clone())), "{again:?}");
    live.until_worker((tenant, NAME), "Ready", RUNNING, UP)
        .await;
}

/// Fewer replicas leave the claim of the last one, and more take it up again.
async fn scales(live: &Live, tenant: &str, times: usize) {
    let worker = worker_path(tenant, NAME);
    live.change(
        &format!("{worker}/scale"),
        &json!({"spec": {"replicas": 2}}),
    )
    .await;
    until("two are left", UP, async || {
        match live.replicas(tenant, NAME).await.len() {
            2 => Ok(()),
            count => Err(format!("{count} replicas")),
        }
    })
    .await;
    assert_eq!(claims(live, tenant).await.len(), 3);
    let more = json!({"spec": {"replicas": 3, "minAvailable": 2}});
    live.change(&worker, &more).await;
    let words = format!("started {times} times");
    until_says(live, tenant, "worker-keeper-2", &words).await;
    live.until_worker((tenant, NAME), "Ready", RUNNING, UP)
        .await;
}

/// A zone takes nothing: what has its volume there waits for it, and goes nowhere else.
async fn waits(live: &Live, tenant: &str, (pod, node): &(String, String)) {
    let this = (tenant, NAME);
    let node = format!("/api/v1/nodes/{node}");
    let cordon = |on: bool| json!({"spec": {"unschedulable": on}});
    live.change(&node, &cordon(true)).await;
    let namespace = namespace_of(tenant);
    live.delete(&format!("/api/v1/namespaces/{namespace}/pods/{pod}"))
        .await;
    let waiting = ("False", "Unschedulable");
    let (said, _) = live.until_worker(this, "Ready", waiting, SAID).await;
    println!("    says: {}", said.message);
    let lost = ("False", "NoCapacity");
    let (said, _) = live.until_worker(this, "ZoneRedundant", lost, SAID).await;
    println!("    says: {}", said.message);
    let words = "whose volumes are there wait for it";
    assert!(said.message.contains(words), "{said:?}");
    live.change(&node, &cordon(false)).await;
    live.until_worker(this, "Ready", RUNNING, UP).await;
    let redundant = ("True", "Redundant");
    live.until_worker(this, "ZoneRedundant", redundant, SAID)
        .await;
}

#[tokio::test]
async fn each_replica_keeps_its_volume_and_waits_for_its_zone() {
    Live::run_on_own(
        "each_replica_keeps_its_volume_and_waits_for_its_zone",
        async |live| {
            let tenant = live.proven("keeping", &json!({})).await;
            let volume = json!({"name": "data", "size": "16Mi", "mountPath": "/data/agent",
                "storageClassName": provide(live).await});
            let spec = json!({"replicas": 3, "zones": {"minimum": 2}, "volumes": [volume]});
            let command = ["keep", "/data/agent/starts"];
            live.employ(&tenant, NAME, &command, &spec).await;
            let this = (&*tenant, NAME);
            let (_, took) = live.until_worker(this, "Ready", RUNNING, UP).await;
            within(
                "Worker with volumes applied -> three proven and ready",
                took,
                UP,
            );
            let redundant = ("True", "Redundant");
            live.until_worker(this, "ZoneRedundant", redundant, SAID)
                .await;
            let pods = live.replicas(&tenant, NAME).await;
            let mut places: Vec<_> = pods.iter().map(placed).collect();
            places.sort();
            for (pod, _) in &places {
                until_says(live, &tenant, pod, "started 1 times").await;
            }
            restarts(live, &tenant, &places[2]).await;
            scales(live, &tenant, 3).await;
            waits(live, &tenant, &places[0]).await;

            // With the Worker, its claims.
            live.delete(&worker_path(&tenant, NAME)).await;
            until("no claim is left", UP, async || {
                match claims(live, &tenant).await {
                    left if left.is_empty() => Ok(()),
                    left => Err(format!("{left:?}")),
                }
            })
            .await;
            let services = format!("/api/v1/namespaces/{}/services", namespace_of(&tenant));
            let none: [Value; 0] = [];
            assert_eq!(live.list(&services).await, none, "nothing dials it");
        },
    )
    .await;
}
