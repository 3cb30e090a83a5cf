//! Many tenants at once: all get their proof, and the cluster is not flooded with probes.

use std::time::{Duration, Instant};

use crds::well_known::{ROLE_LABEL, ROLE_PROBE};
use futures::future::join_all;
use serde_json::json;
use tests::live::{Live, TEST_LABEL, pause, said, text, within};
use tests::server::unique;

const TENANTS: usize = 30;
/// The default of `CLOISTER_PROBES_AT_ONCE`.
const AT_ONCE: usize = 8;
const LIMIT: Duration = Duration::from_mins(2);

/// Probe pods that have not ended.
async fn probes_under_way(live: &Live) -> usize {
    let path = format!("/api/v1/pods?labelSelector={ROLE_LABEL}%3D{ROLE_PROBE}");
    let pods = live.list(&path).await;
    let ended = |phase: &str| phase == "Succeeded" || phase == "Failed";
    pods.iter()
        .filter(|pod| !ended(&text(pod, "/status/phase")))
        .count()
}

#[tokio::test]
async fn probes_of_thirty_new_tenants_are_few_at_a_time() {
    Live::run(async |live| {
        let names: Vec<String> = (0..TENANTS).map(|_| unique("many")).collect();
        let begun = Instant::now();
        let spec = json!({});
        join_all(names.iter().map(|name| live.make_tenant(name, &spec))).await;
        let mut most = 0;
        loop {
            most = most.max(probes_under_way(live).await);
            let path = format!("/apis/cloister.dev/v1alpha1/tenants?labelSelector={TEST_LABEL}");
            let tenants = live.list(&path).await;
            let proven = |tenant: &&serde_json::Value| {
                let ours = names.contains(&text(tenant, "/metadata/name"));
                ours && said(tenant, "IsolationVerified").status == "True"
            };
            let proven = tenants.iter().filter(proven).count();
            if proven == TENANTS {
                break;
            }
            assert!(
                begun.elapsed() < LIMIT,
                "only {proven} proven, {most} probes at once"
            );
            pause(Duration::from_millis(20)).await;
        }
        within("30 tenants created -> all proven", begun.elapsed(), LIMIT);
        println!("    most probe pods at once: {most} (limit {AT_ONCE})");
        assert!(most <= AT_ONCE, "{most} probes at once");
        assert!(
            most > 1,
            "never more than one at a time: not a test of anything"
        );
    })
    .await;
}
