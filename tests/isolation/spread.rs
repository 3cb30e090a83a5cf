//! Many tenants at once: all get their proof, and the cluster is not flooded with probes.

use std::time::{Duration, Instant};

use crds::well_known::{ROLE_LABEL, ROLE_PROBE};
use futures::future::join_all;
use serde_json::json;
use tests::live::{Live, TEST_LABEL, pause, said, text, until, within};
use tests::server::unique;

const TENANTS: usize = 30;
/// The default of `CLOISTER_PROBES_AT_ONCE`.
const AT_ONCE: usize = 8;
const LIMIT: Duration = Duration::from_mins(2);
/// How long a probe that has reported may stay.
const CLEARED: Duration = Duration::from_secs(30);

/// Probe pods that have not ended, and those that have.
async fn probes(live: &Live) -> (usize, usize) {
    let path = format!("/api/v1/pods?labelSelector={ROLE_LABEL}%3D{ROLE_PROBE}");
    let pods = live.list(&path).await;
    let phases = pods.iter().map(|pod| text(pod, "/status/phase"));
    let (ended, under_way): (Vec<_>, Vec<_>) =
        phases.partition(|phase| phase == "Succeeded" || phase == "Failed");
    (under_way.len(), ended.len())
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
            most = most.max(probes(live).await.0);
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
        until(
            "no probe that has ended is left",
            CLEARED,
            async || match probes(live).await.1 {
                0 => Ok(()),
                left => Err(format!("{left} are left")),
            },
        )
        .await;
    })
    .await;
}
