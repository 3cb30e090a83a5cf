//! Three replicas in three zones: proven, scaled, and missed where one cannot be.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tests::live::{
    Live, must, namespace_of, policies_path, until, within,
    workers::{placed, worker_path},
};

/// From nothing to proven and running, image pulled.
const UP: Duration = Duration::from_mins(2);
const SAID: Duration = Duration::from_secs(30);

#[tokio::test]
async fn comes_up_in_three_zones_proven_and_scales_by_its_subresource() {
    Live::run(async |live| {
        let tenant = live.proven("spread", &json!({})).await;
        let spec = json!({"replicas": 3, "zones": {"minimum": 3}, "minAvailable": 2});
        live.employ(&tenant, "poller", &["sleep", "100000"], &spec)
            .await;
        let this = (&*tenant, "poller");
        let (_, took) = live
            .until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        within("Worker applied -> three proven and ready", took, UP);
        live.until_worker(this, "ZoneRedundant", ("True", "Redundant"), SAID)
            .await;
        let status = live.worker(&tenant, "poller").await["status"].clone();
        assert_eq!(status["ready"], "3/3", "{status}");
        let spread = "zone-a:1,zone-b:1,zone-c:1";
        assert_eq!(status["spread"], spread, "{status}");

        let scale = format!("{}/scale", worker_path(&tenant, "poller"));
        live.change(&scale, &json!({"spec": {"replicas": 6}})).await;
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        let status = live.worker(&tenant, "poller").await["status"].clone();
        assert_eq!(status["spread"], "zone-a:2,zone-b:2,zone-c:2", "{status}");

        // As a user's autoscaler does it; to have fewer than its least needs no metrics to tell.
        let scaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "poller", "namespace": namespace_of(&tenant)},
            "spec": {"minReplicas": 7, "maxReplicas": 9, "scaleTargetRef":
                {"apiVersion": "cloister.dev/v1alpha1", "kind": "Worker", "name": "poller"}},
        });
        must(live.admin.create(&scaler).await, "create the autoscaler");
        let grown = async || {
            let worker = live.worker(&tenant, "poller").await;
            let spec = worker["spec"]["replicas"].clone();
            if spec == 7 {
                Ok(())
            } else {
                Err(spec.to_string())
            }
        };
        until("the autoscaler scales it", UP, grown).await;
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        let status = live.worker(&tenant, "poller").await["status"].clone();
        assert_eq!(status["ready"], "7/7", "{status}");
    })
    .await;
}

#[tokio::test]
async fn names_the_zone_that_may_not_be_lost_and_the_second_eviction_waits() {
    Live::run_on_own(
        "names_the_zone_that_may_not_be_lost_and_the_second_eviction_waits",
        async |live| {
            let tenant = live.proven("needed", &json!({})).await;
            let spec = json!({"replicas": 3, "zones": {"minimum": 3}, "minAvailable": 2});
            live.employ(&tenant, "poller", &["sleep", "100000"], &spec)
                .await;
            let this = (&*tenant, "poller");
            live.until_worker(this, "Ready", ("True", "Running"), UP)
                .await;
            let pods = live.replicas(&tenant, "poller").await;
            let places: Vec<_> = pods.iter().map(placed).collect();
            let nodes: BTreeSet<_> = places.iter().map(|(_, node)| node.clone()).collect();
            assert_eq!(nodes.len(), 3, "{places:?}");

            // Every node of that zone takes nothing any more.
            let cordon = |on: bool| json!({"spec": {"unschedulable": on}});
            let there = live.list("/api/v1/nodes").await;
            let of_zone: Vec<String> = there
                .iter()
                .filter(|node| {
                    node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-c"
                })
                .filter_map(|node| Some(node["metadata"]["name"].as_str()?.to_owned()))
                .collect();
            for node in &of_zone {
                live.change(&format!("/api/v1/nodes/{node}"), &cordon(true))
                    .await;
            }
            let namespace = namespace_of(&tenant);
            let evict = async |name: &str| live.evict(&namespace, name).await;
            let (gone, others): (Vec<_>, Vec<_>) =
                places.iter().partition(|(_, node)| of_zone.contains(node));
            must(evict(&gone[0].0).await, "the first eviction");
            let refusal = evict(&others[0].0).await.err();
            let code = refusal.as_ref().map(|refusal| refusal.code);
            assert_eq!(code, Some(429), "{refusal:?}");

            let lost = ("False", "NoCapacity");
            let (said, _) = live.until_worker(this, "ZoneRedundant", lost, SAID).await;
            println!("    says: {}", said.message);
            assert!(said.message.contains("zone-c has no node"), "{said:?}");
            let waits = ("False", "Unschedulable");
            live.until_worker(this, "Ready", waits, SAID).await;

            for node in &of_zone {
                live.change(&format!("/api/v1/nodes/{node}"), &cordon(false))
                    .await;
            }
            live.until_worker(this, "ZoneRedundant", ("True", "Redundant"), UP)
                .await;
        },
    )
    .await;
}

#[tokio::test]
async fn its_policy_lets_nothing_in_and_out_what_was_asked() {
    Live::run(async |live| {
        let asked = json!([{"cidr": "203.0.113.10/32",
            "ports": [{"port": 443, "protocol": "TCP"}]}]);
        let ceiling = json!({"isolation": {"egressCeiling": [{"cidr": "203.0.113.0/24",
            "ports": [{"port": 443, "protocol": "TCP"}]}]}});
        let tenant = live.proven("shut", &ceiling).await;
        let spec = json!({"replicas": 1, "egress": asked});
        live.employ(&tenant, "poller", &["sleep", "100000"], &spec)
            .await;
        let this = (&*tenant, "poller");
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        let labels = "labelSelector=cloister.dev%2Fworker%3Dpoller";
        let path = format!("{}?{labels}", policies_path(&tenant));
        let policies = live.list(&path).await;
        assert_eq!(policies.len(), 1, "{policies:?}");
        let spec = &policies[0]["spec"];
        assert!(spec["ingress"].is_null(), "{spec}");
        assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]), "{spec}");
        let to = &spec["egress"][0];
        assert_eq!(to["to"][0]["ipBlock"]["cidr"], "203.0.113.10/32", "{spec}");
        assert_eq!(to["ports"][0]["port"], 443, "{spec}");
    })
    .await;
}
