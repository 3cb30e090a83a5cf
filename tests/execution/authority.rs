//! What stands behind the sessions: the authority that both ends trust, and the rights of the
//! operator that keeps it.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::{Value, json};
use tests::{
    asked::{OF_DISPATCH, Right, right, used},
    live::{Live, must, pods::pod_path, system::OPERATOR, until},
};

const LIMIT: Duration = Duration::from_mins(1);
/// A schedule of every minute has come by then.
const ROUND: Duration = Duration::from_secs(90);
const SECRET: &str = "/api/v1/namespaces/cloister-system/secrets/cloister-dispatch";

/// Each line that is whole.
fn lines_of(log: &str) -> Vec<Value> {
    let lines = log.lines().map(serde_json::from_str);
    lines.filter_map(Result::ok).collect()
}

/// Somebody empties the Secret of the authority. The next leader makes another one, sandboxes
/// that trusted the old one are replaced, and Executions run; all of it with no right but those
/// that the operator has, each of which the audit log shows in use.
#[tokio::test]
async fn a_lost_authority_is_made_anew_and_every_right_is_used() {
    let name = "a_lost_authority_is_made_anew_and_every_right_is_used";
    Live::run_on_own(name, async |live| {
        let log = live.nodes().audit_log();
        let begun = must(fs::read_to_string(&log), "audit log").len();
        let tenant = live.proven("authority", &json!({})).await;
        let spec = json!({"warm": {"min": 1}, "ttl": "5s"});
        live.integrate(&tenant, "hello", &["world"], &spec).await;
        let spec = json!({"schedule": {"cron": "* * * * *"}});
        live.integrate(&tenant, "clock", &["world"], &spec).await;
        live.until_warm(&tenant, "hello", LIMIT).await;
        let before = must(live.get(SECRET).await, SECRET)["data"].take();
        let emptied: serde_json::Map<String, Value> = before
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| (key.clone(), Value::Null))
            .collect();
        assert!(!emptied.is_empty(), "the authority holds nothing");
        live.change(SECRET, &json!({"data": emptied})).await;
        let (old, _) = live.until_led(LIMIT, |_| true).await;
        live.delete(&pod_path("cloister-system", &old)).await;
        live.until_led(LIMIT, |holder| holder != old).await;

        live.integrate(&tenant, "cold", &["world"], &json!({}))
            .await;
        let (object, ended) = live.run_once(&tenant, "cold", LIMIT).await;
        assert_eq!(ended.reason, "Completed", "{object}");
        let after = must(live.get(SECRET).await, SECRET)["data"].take();
        assert_ne!(after, before, "it cannot be the one that was lost");
        live.until_warm(&tenant, "hello", LIMIT).await;
        let (object, ended) = live.run_once(&tenant, "hello", LIMIT).await;
        assert_eq!(ended.reason, "Completed", "{object}");
        live.stands("cloister-system", OPERATOR).await;

        let needed: BTreeSet<Right> = OF_DISPATCH.into_iter().map(right).collect();
        until("every right is used", ROUND, async || {
            let text = must(fs::read_to_string(&log), "audit log");
            // Before this test, others may have taken rights away.
            let (_, forbidden) = used(&lines_of(text.get(begun..).unwrap_or_default()));
            assert_eq!(forbidden, [] as [String; 0]);
            let (used, _) = used(&lines_of(&text));
            let unused: Vec<&Right> = needed.difference(&used).collect();
            if unused.is_empty() {
                Ok(())
            } else {
                Err(format!("nothing uses {unused:?}"))
            }
        })
        .await;
    })
    .await;
}
