//! What a replica carries: no token, and nothing of the tenant's.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, text};

const UP: Duration = Duration::from_mins(2);

#[tokio::test]
async fn no_token_is_in_it_and_its_supervisor_would_say_so() {
    Live::run(async |live| {
        let tenant = live.proven("tokenless", &json!({})).await;
        let spec = json!({"replicas": 1});
        live.employ(&tenant, "poller", &["sleep", "100000"], &spec)
            .await;
        // Ready means proven, and the proof looks for tokens wherever anything is mounted.
        let this = (&*tenant, "poller");
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        let pods = live.replicas(&tenant, "poller").await;
        let pod = &pods[0];
        assert_eq!(text(pod, "/spec/serviceAccountName"), "cloister-sandbox");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], json!(false));
        let volumes = pod["spec"]["volumes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let own = volumes
            .iter()
            .all(|one| one["emptyDir"].is_object() || one["image"].is_object());
        assert!(own, "{volumes:?}");
        let text = pod["spec"].to_string();
        assert!(!text.contains("serviceAccountToken"), "{text}");
    })
    .await;
}
