//! A pod that is where it may not be is named, also if it was its node that moved.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, within};

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_node_relabelled_out_of_the_residency_is_named_with_its_pods() {
    Live::run_on_own(
        "a_node_relabelled_out_of_the_residency_is_named_with_its_pods",
        async |live| {
            let spec =
                json!({"residency": {"regions": ["local-1"], "zones": ["zone-a", "zone-c"]}});
            let name = live.proven("resident", &spec).await;
            let pod = live.listener(&name, Some("node-c")).await;
            let before = live.said(&name, "ResidencyCompliant").await;
            assert_eq!(before.reason, "Compliant", "{before:?}");

            let zone =
                |zone: &str| json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}});
            live.change("/api/v1/nodes/node-c", &zone("zone-x")).await;
            let (now, took) = live
                .until_said(
                    &name,
                    "ResidencyCompliant",
                    ("False", &["PodOutside"]),
                    LIMIT,
                )
                .await;
            println!("    says: {}", now.message);
            within("node relabelled -> False, PodOutside", took, LIMIT);
            let named = now.message.contains(&pod) && now.message.contains("node-c");
            assert!(named, "{now:?}");

            live.change("/api/v1/nodes/node-c", &zone("zone-c")).await;
            let (_, took) = live
                .until_said(&name, "ResidencyCompliant", ("True", &["Compliant"]), LIMIT)
                .await;
            within("label put back -> True", took, LIMIT);
        },
    )
    .await;
}
