//! A new version that does not come up leaves the old one serving, and says why.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tests::live::{Live, text, within, workers::worker_path};

const UP: Duration = Duration::from_mins(2);
/// Until what keeps a new version is in status.
const TOLD: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_missing_image_leaves_the_old_version_serving_and_is_told() {
    Live::run(async |live| {
        let tenant = live.proven("rollout", &json!({})).await;
        let spec = json!({"replicas": 3, "minAvailable": 2});
        live.employ(&tenant, "poller", &["sleep", "100000"], &spec)
            .await;
        let this = (&*tenant, "poller");
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        let names = async || -> BTreeSet<String> {
            let pods = live.replicas(&tenant, "poller").await;
            pods.iter().map(|pod| text(pod, "/metadata/name")).collect()
        };
        let old = names().await;

        let path = worker_path(&tenant, "poller");
        let image = |image: &str| json!({"spec": {"image": image}});
        live.change(&path, &image("localhost/cloister/no-such:dev"))
            .await;
        let blocked = ("False", "RolloutBlocked");
        let (said, took) = live.until_worker(this, "Ready", blocked, TOLD).await;
        println!("    says: {}", said.message);
        within("image changed -> RolloutBlocked", took, TOLD);
        assert!(said.message.contains("the old one serves on"), "{said:?}");
        assert!(
            said.message.contains("Image") || said.message.contains("image"),
            "{said:?}"
        );
        assert!(names().await.is_superset(&old), "an old one went");
        let redundant = live.until_worker(this, "ZoneRedundant", ("True", "Redundant"), TOLD);
        redundant.await;

        live.change(&path, &image("localhost/cloister/examples:dev"))
            .await;
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        assert_eq!(names().await, old, "the old ones are the new ones again");
    })
    .await;
}
