//! Many at once: one tenant's thousands are in nobody else's way.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;
use tests::live::{
    Live,
    executions::{path, time},
    text,
};

const LIMIT: Duration = Duration::from_mins(1);
/// Executions that one tenant has waiting.
const WAITING: usize = 5000;
/// Pods that it may have. Its Integration lets as many run at once as there can be, so that only this,
/// and what the dispatcher owes to others, is in the way of those that wait.
const ROOM: usize = 16;
/// Creations under way at once.
const AT_ONCE: usize = 32;

#[tokio::test]
async fn thousands_that_wait_delay_no_other_tenant() {
    Live::run(async |live| {
        let many = json!({"limits": {"executions": 10_000, "pods": ROOM}});
        let busy = live.proven("busy", &many).await;
        let quiet = live.proven("quiet", &json!({})).await;
        let small = json!({"cpu": "50m", "memory": "48Mi", "scratch": "1Mi"});
        // None runs before all are there: each would slow down the creation of the rest.
        let spec = json!({"concurrency": {"limit": 1000}, "startDeadline": "24h", "ttl": "24h",
            "resources": small, "suspend": true});
        live.integrate(&busy, "rest", &["sleep", "1"], &spec).await;
        let create = (0..WAITING).map(async |_| live.execute(&busy, "rest", &json!({})).await);
        let created = stream::iter(create).buffer_unordered(AT_ONCE).count().await;
        assert_eq!(created, WAITING);

        // Cold, in the other tenant: its sandbox has yet to be made, like each of the others'.
        live.integrate(&quiet, "hello", &["world"], &json!({}))
            .await;
        let rest = path(&busy, "integrations") + "/rest";
        live.change(&rest, &json!({"spec": {"suspend": false}}))
            .await;
        let (object, ended) = live.run_once(&quiet, "hello", LIMIT).await;
        assert_eq!(ended.reason, "Completed", "{object}");

        // In so long a time all of its sandboxes may end, be replaced, and be given to others once.
        let (seen, claimed) = (time(&object, "seen"), time(&object, "claimed"));
        let others = live.list(&path(&busy, "executions")).await;
        let begun = others
            .iter()
            .filter(|one| !text(one, "/status/times/claimed").is_empty());
        let before = begun.filter(|one| (seen..claimed).contains(&time(one, "claimed")));
        let before = before.count();
        println!("    seen {seen}, claimed {claimed}; {before} of {WAITING} others in between");
        assert!(before <= 2 * ROOM, "{before} of them came before it");
    })
    .await;
}
