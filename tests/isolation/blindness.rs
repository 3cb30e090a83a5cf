//! What cannot be looked at any more is not claimed any more.

use std::time::{Duration, Instant};

use crds::well_known::CANARY;
use serde_json::{Value, json};
use tests::live::{Live, boundary_of, must, probes_of, within};

/// Time between two probes of a tenant in these tests: the shortest there is.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a probe pod may take to report (`operator/src/probe.rs`).
const PATIENCE: Duration = Duration::from_secs(45);
/// For a pass and a write, on a machine that also does other things.
const MARGIN: Duration = Duration::from_secs(10);
/// After the cause is gone: the pause after a probe that could not tell, and a probe.
const RECOVERY: Duration = Duration::from_secs(40);

/// One test and not two, because both need the short interval, which costs two rollouts.
#[tokio::test]
async fn claims_nothing_that_it_cannot_see() {
    Live::run_on_own("claims_nothing_that_it_cannot_see", async |live| {
        live.probe_every("10s").await;
        without_ciliums_agent(live).await;
        without_a_canary(live).await;
    })
    .await;
}

/// Nothing new can start on the node, so nothing new there counts as proven; and the rest
/// of the cluster is not blamed for it.
async fn without_ciliums_agent(live: &Live) {
    let residency = |zone: &str| json!({"residency": {"regions": ["local-1"], "zones": [zone]}});
    let there = live.proven("blind", &residency("zone-b")).await;
    let elsewhere = live.proven("sighted", &residency("zone-c")).await;
    must(live.nodes().cilium_stop("node-b"), "stop the agent");
    let limit = INTERVAL * 3 / 2 + PATIENCE + MARGIN;
    let wanted = ("Unknown", ["ProbeInconclusive"].as_slice());
    let (now, took) = live
        .until_said(&there, "IsolationVerified", wanted, limit)
        .await;
    println!("    says: {}", now.message);
    within("Cilium's agent stopped -> Unknown", took, limit);
    let words = [
        "nothing on node-b counts as proven",
        "without a report",
        "deadline",
    ];
    for word in words {
        assert!(now.message.contains(word), "{now:?}");
    }
    let other = live.said(&elsewhere, "IsolationVerified").await;
    assert_eq!(other.status, "True", "node-c is well: {other:?}");

    let begun = Instant::now();
    must(live.nodes().cilium_start("node-b"), "start the agent");
    live.until_proven(&there, RECOVERY).await;
    within(
        "Cilium's agent started -> proven again",
        begun.elapsed(),
        RECOVERY,
    );
}

/// Without the positive control no silence means anything: no probe is sent, and the last
/// proof gets too old.
async fn without_a_canary(live: &Live) {
    let name = live.proven("stale", &json!({})).await;
    live.ask_for(CANARY, 0).await;
    let limit = INTERVAL * 3 + PATIENCE + MARGIN;
    let wanted = ("Unknown", ["EvidenceStale"].as_slice());
    let (now, took) = live
        .until_said(&name, "IsolationVerified", wanted, limit)
        .await;
    println!("    says: {}", now.message);
    within("canary gone -> Unknown", took, limit);
    assert!(now.message.contains("cloister-canary"), "{now:?}");
    let before: Value = live.tenant(&name).await;

    let begun = Instant::now();
    live.ask_for(CANARY, 2).await;
    live.until_proven(&name, RECOVERY).await;
    within("canary back -> proven again", begun.elapsed(), RECOVERY);
    let after = live.tenant(&name).await;
    assert_eq!(boundary_of(&after), boundary_of(&before));
    assert_ne!(
        probes_of(&after)[0],
        probes_of(&before)[0],
        "on the old evidence"
    );
}
