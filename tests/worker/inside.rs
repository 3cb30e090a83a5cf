//! What a replica carries: no token, and nothing of the tenant's; and what it reaches.

use std::time::Duration;

use serde_json::json;
use tests::live::{Live, text, until};

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

/// The outside of the local cluster, which answers on both, and what nobody may reach.
const LISTED: &str = "203.0.113.10:443";
const ANOTHER_PORT: &str = "203.0.113.10:80";

#[tokio::test]
async fn it_reaches_what_its_list_opens_and_nothing_else() {
    Live::run(async |live| {
        // Both answer who is not shut in: silence below is the policy's.
        let open = live.open_namespace().await;
        for address in [LISTED, ANOTHER_PORT] {
            let seen = live.dial(&open, None, address).await;
            assert_eq!(seen, "Connected", "{address}");
        }
        let ports = [80, 443].map(|port| json!({"port": port, "protocol": "TCP"}));
        let ceiling = json!({"isolation":
            {"egressCeiling": [{"cidr": "203.0.113.0/24", "ports": ports}]}});
        let tenant = live.proven("reach", &ceiling).await;
        let shut = live.shut_to(&tenant).await;
        // A probe's address outside is the one that this list opens.
        let shut = shut.iter().filter(|address| *address != LISTED);
        let shut: Vec<&str> = shut.map(String::as_str).collect();
        assert!(shut.len() > 5, "{shut:?}");
        let arguments = [&["guard", LISTED, ANOTHER_PORT][..], &shut].concat();
        let egress =
            json!([{"cidr": "203.0.113.10/32", "ports": [{"port": 443, "protocol": "TCP"}]}]);
        for (name, egress) in [("listed", egress), ("unlisted", json!([]))] {
            let spec = json!({"replicas": 1, "egress": egress});
            live.employ(&tenant, name, &arguments, &spec).await;
        }
        let say = async |name: &str, words: &str| {
            let check = async || {
                let pods = live.replicas(&tenant, name).await;
                let Some(pod) = pods.first() else {
                    return Err("no pod".to_owned());
                };
                let status = &pod["status"]["containerStatuses"][0];
                let log = live.log_of(&tenant, &text(pod, "/metadata/name")).await;
                let told = format!("{log}\n{status}");
                if told.contains(words) {
                    Ok(told)
                } else {
                    Err(told)
                }
            };
            until(&format!("{name} says {words}"), UP, check).await.0
        };
        let told = say("listed", "as asked").await;
        println!("    listed: {told}");
        assert!(told.contains(&format!("{LISTED} reached")), "{told}");
        assert_eq!(told.matches(" reached").count(), 1, "{told}");
        let this = (&*tenant, "listed");
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;

        // The control: without the list the same command ends, and says of which address.
        let told = say("unlisted", "the command exited with code 10, by itself").await;
        println!("    unlisted: {told}");
        let this = (&*tenant, "unlisted");
        let (said, _) = live
            .until_worker(this, "Ready", ("False", "Unavailable"), UP)
            .await;
        assert!(said.message.contains("exited with code 10"), "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn under_gvisor_it_is_proven_by_the_memory_that_its_pod_has() {
    Live::run(async |live| {
        let tenant = live.proven("walled", &json!({})).await;
        let spec = json!({"replicas": 1, "runtime": "GVisor"});
        live.employ(&tenant, "poller", &["sleep", "100000"], &spec)
            .await;
        let this = (&*tenant, "poller");
        live.until_worker(this, "Ready", ("True", "Running"), UP)
            .await;
        let pods = live.replicas(&tenant, "poller").await;
        let told = text(&pods[0], "/spec/containers/0/args/2");
        // 64 MiB, and nothing beside: the class of the local cluster sets nothing aside.
        assert!(told.contains("\"memory\":67108864"), "{told}");
    })
    .await;
}
