//! Many at once: one tenant's thousands are in nobody else's way.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;
use tests::live::{
    Live,
    executions::{is_over, path},
    text,
};

const LIMIT: Duration = Duration::from_mins(1);
/// Executions that one tenant has waiting.
const WAITING: usize = 5000;
/// Creations under way at once.
const AT_ONCE: usize = 32;

#[tokio::test]
async fn thousands_that_wait_delay_no_other_tenant() {
    Live::run(async |live| {
        let many = json!({"limits": {"executions": 10_000}});
        let busy = live.proven("busy", &many).await;
        let quiet = live.proven("quiet", &json!({})).await;
        let spec = json!({"concurrency": {"limit": 4}, "startDeadline": "24h", "ttl": "24h"});
        live.integrate(&busy, "rest", &["sleep", "1"], &spec).await;
        let create = (0..WAITING).map(async |_| live.execute(&busy, "rest", &json!({})).await);
        let created = stream::iter(create).buffer_unordered(AT_ONCE).count().await;
        assert_eq!(created, WAITING);

        // Cold, in the other tenant: its sandbox has yet to be made, like each of the others'.
        live.integrate(&quiet, "hello", &["world"], &json!({}))
            .await;
        let (object, ended) = live.run_once(&quiet, "hello", LIMIT).await;
        assert_eq!(ended.reason, "Completed", "{object}");

        let (seen, started) = (
            text(&object, "/status/times/seen"),
            text(&object, "/status/times/started"),
        );
        let objects = live.list(&path(&busy, "executions")).await;
        let over = objects.iter().filter(|one| is_over(one)).count();
        println!(
            "    seen {seen}, started {started}; {over} of {WAITING} others were over by then"
        );
        assert!(over < WAITING / 10, "{over} of them came before it");
    })
    .await;
}
