//! What a schedule has due, and what is kept of what has ended.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tests::live::{Live, executions::path, must, said, text, until};

const LIMIT: Duration = Duration::from_mins(1);

/// Waits until an Integration is said to be so; gives it whole.
async fn until_line(live: &Live, tenant: &str, name: &str, type_: &str, reason: &str) -> Value {
    let path = format!("{}/{name}", path(tenant, "integrations"));
    let check = async || {
        let object = must(live.get(&path).await, name);
        match said(&object, type_) {
            said if said.reason == reason => Ok(object),
            said => Err(format!("{said:?}")),
        }
    };
    until(&format!("{name} is {reason}"), LIMIT, check).await.0
}

/// Executions whose label names this Integration.
async fn created(live: &Live, tenant: &str, integration: &str) -> Vec<Value> {
    let labels = format!("cloister.dev%2Fintegration%3D{integration}");
    live.list(&format!(
        "{}?labelSelector={labels}",
        path(tenant, "executions")
    ))
    .await
}

/// The only test that waits for the clock: a minute at most.
#[tokio::test]
async fn what_is_due_is_created_once_and_runs() {
    Live::run(async |live| {
        let tenant = live.proven("clock", &json!({})).await;
        let nowhere = json!({"schedule": {"cron": "* * * * *", "timeZone": "Europe/Nowhere"}});
        live.integrate(&tenant, "nowhere", &["never"], &nowhere)
            .await;
        let spec = json!({"schedule": {"cron": "* * * * *"}, "warm": {"min": 1}});
        live.integrate(&tenant, "minutely", &["tick"], &spec).await;
        let line = until_line(live, &tenant, "minutely", "Scheduled", "OnSchedule").await;
        let zone = text(&line, "/status/schedule/timeZone");
        assert_eq!(zone, "Etc/UTC", "{line}");
        let invalid = until_line(live, &tenant, "nowhere", "Ready", "InvalidSpec").await;
        let words = said(&invalid, "Ready").message;
        assert!(
            words.starts_with("spec.schedule.timeZone: \"Europe/Nowhere\""),
            "{words}"
        );

        let first = async || {
            let all = created(live, &tenant, "minutely").await;
            all.first().cloned().ok_or_else(|| "none".to_owned())
        };
        let limit = Duration::from_secs(75);
        let (object, took) = until("one is created", limit, first).await;
        println!("    the first after {:.1} s", took.as_secs_f64());
        let annotation = "/metadata/annotations/cloister.dev~1scheduled-time";
        let owner = &object["metadata"]["ownerReferences"][0];
        assert_eq!(owner["uid"], line["metadata"]["uid"], "{object}");
        assert_eq!(owner["controller"], json!(true), "{object}");
        let due: jiff::Timestamp = must(text(&object, annotation).parse(), "read its time");
        assert_eq!(due.as_second() % 60, 0, "{object}");
        let made = text(&object, "/metadata/creationTimestamp");
        let made: jiff::Timestamp = must(made.parse(), "read when it was made");
        let late = (made - due).total(jiff::Unit::Second).unwrap_or(f64::MAX);
        assert!((0.0..=5.0).contains(&late), "{late} s late: {object}");

        let name = text(&object, "/metadata/name");
        let (object, _) = live.until_over(&tenant, &name, LIMIT).await;
        assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
        let place = format!("{}/minutely", path(&tenant, "integrations"));
        live.change(&place, &json!({"spec": {"suspend": true}}))
            .await;
        let line = until_line(live, &tenant, "minutely", "Scheduled", "Suspended").await;
        let last = text(&line, "/status/schedule/lastScheduleTime");
        let all = created(live, &tenant, "minutely").await;
        let times: Vec<_> = all.iter().map(|one| text(one, annotation)).collect();
        assert!(times.contains(&last), "{last} of {times:?}");
        let each: BTreeSet<_> = times.iter().collect();
        assert_eq!(each.len(), times.len(), "a time has two: {times:?}");
        assert_eq!(created(live, &tenant, "nowhere").await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn of_what_has_ended_as_much_is_kept_as_asked_for() {
    Live::run(async |live| {
        let tenant = live.proven("history", &json!({})).await;
        let spec = json!({"history": {"succeeded": 2, "failed": 1}, "concurrency": {"limit": 4}});
        live.integrate(&tenant, "hello", &["kept"], &spec).await;
        let mut last = String::new();
        for _ in 0..4 {
            last = live.execute(&tenant, "hello", &json!({})).await;
            live.until_reason(&tenant, &last, "Completed", LIMIT).await;
        }
        let two = async || {
            let there = live.list(&path(&tenant, "executions")).await;
            let names: Vec<_> = there
                .iter()
                .map(|one| text(one, "/metadata/name"))
                .collect();
            if names.len() == 2 && names.contains(&last) {
                Ok(())
            } else {
                Err(format!("{names:?}"))
            }
        };
        until("two are left", Duration::from_secs(10), two).await;
    })
    .await;
}
