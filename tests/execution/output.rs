//! What a command said last is in its Execution's status, however it ended, and costs nobody else
//! anything.

use std::time::Duration;

use serde_json::{Value, json};
use tests::live::{Live, executions::path, pause, said, text};

const LIMIT: Duration = Duration::from_mins(1);
/// Most bytes of a status.
const MOST: usize = 16 * 1024;

fn tail(object: &Value, stream: &str) -> String {
    text(object, &format!("/status/output/{stream}/tail"))
}

fn count(object: &Value, stream: &str, what: &str) -> u64 {
    let count = &object["status"]["output"][stream][what];
    count.as_u64().unwrap_or_default()
}

/// What `hello count` says on stdout, from this line to that.
fn lines(from: u64, to: u64) -> String {
    let all: Vec<String> = (from..=to).map(|line| format!("line {line}\n")).collect();
    all.concat()
}

#[tokio::test]
async fn the_last_words_are_there_whatever_the_end() {
    Live::run(async |live| {
        let tenant = live.proven("words", &json!({})).await;
        let small = json!({"resources": {"memory": "64Mi"}});
        let none = json!({});
        for (name, arguments, spec, expected, words) in [
            (
                "good",
                &["count", "3", "0", "0"][..],
                &none,
                "Completed",
                lines(1, 3),
            ),
            (
                "bad",
                &["count", "3", "0", "4"],
                &none,
                "Failed",
                lines(1, 3),
            ),
            (
                "slow",
                &["sleep", "60"],
                &json!({"timeout": "2s"}),
                "TimedOut",
                "resting\n".to_owned(),
            ),
            (
                "greedy",
                &["greedy", "memory"],
                &small,
                "OOMKilled",
                "taking memory\n".to_owned(),
            ),
        ] {
            live.integrate(&tenant, name, arguments, spec).await;
            let (object, ended) = live.run_once(&tenant, name, LIMIT).await;
            println!(
                "    {name}: {}: {}",
                ended.reason, object["status"]["output"]
            );
            assert_eq!(ended.reason, expected, "{object}");
            assert_eq!(tail(&object, "stdout"), words, "{object}");
            assert_eq!(count(&object, "stdout", "bytes"), words.len() as u64);
            let lines = words.lines().count();
            assert_eq!(count(&object, "stdout", "lines"), lines as u64);
            if arguments[0] == "count" {
                assert_eq!(tail(&object, "stderr"), "counted 3\n", "{object}");
            }
            assert!(object["status"].to_string().len() <= MOST);
        }
    })
    .await;
}

#[tokio::test]
async fn a_canceled_one_has_said_what_it_said() {
    Live::run(async |live| {
        let tenant = live.proven("called", &json!({})).await;
        live.integrate(&tenant, "rest", &["sleep", "600"], &json!({}))
            .await;
        let name = live.execute(&tenant, "rest", &json!({})).await;
        live.until_reason(&tenant, &name, "Running", LIMIT).await;
        let path = format!("{}/{name}", path(&tenant, "executions"));
        live.change(&path, &json!({"spec": {"cancel": "Requested"}}))
            .await;
        let (object, _) = live.until_over(&tenant, &name, LIMIT).await;
        assert_eq!(said(&object, "Succeeded").reason, "Canceled", "{object}");
        assert_eq!(tail(&object, "stdout"), "resting\n", "{object}");
    })
    .await;
}

#[tokio::test]
async fn where_logs_are_off_there_is_nothing() {
    Live::run(async |live| {
        let tenant = live.proven("mute", &json!({})).await;
        live.integrate(
            &tenant,
            "hush",
            &["count", "10", "50", "3"],
            &json!({"logs": "Off"}),
        )
        .await;
        let (object, ended) = live.run_once(&tenant, "hush", LIMIT).await;
        assert_eq!(ended.reason, "Failed", "{object}");
        assert_eq!(object["status"]["output"], Value::Null, "{object}");
    })
    .await;
}

/// Under gVisor, nothing keeps a command from reading it.
#[tokio::test]
async fn a_sandboxs_token_is_not_told() {
    Live::run(async |live| {
        let tenant = live.proven("telltale", &json!({})).await;
        let shows = ["show", "/run/cloister/token"];
        live.integrate(&tenant, "tell", &shows, &json!({"runtime": "GVisor"}))
            .await;
        let (object, ended) = live.run_once(&tenant, "tell", LIMIT).await;
        assert_eq!(ended.reason, "Completed", "{object}");
        assert_eq!(
            tail(&object, "stdout"),
            "as it is: [redacted]\n",
            "{object}"
        );
        assert_eq!(
            tail(&object, "stderr"),
            "in digits: [redacted]\n",
            "{object}"
        );
        // Elsewhere, it is not his to read.
        live.integrate(&tenant, "try", &shows, &json!({"runtime": "Hardened"}))
            .await;
        let (object, ended) = live.run_once(&tenant, "try", LIMIT).await;
        assert_eq!(ended.reason, "Failed", "{object}");
        let denied = tail(&object, "stderr");
        assert!(denied.contains("Permission denied"), "{object}");
    })
    .await;
}

#[tokio::test]
async fn a_flood_is_counted_and_delays_nobody() {
    Live::run(async |live| {
        let tenant = live.proven("flood", &json!({})).await;
        live.neighbour(&tenant, LIMIT).await;
        live.integrate(
            &tenant,
            "flood",
            &["greedy", "output"],
            &json!({"timeout": "60s"}),
        )
        .await;
        let flood = live.execute(&tenant, "flood", &json!({})).await;
        live.until_reason(&tenant, &flood, "Running", LIMIT).await;
        let (object, neighbour) = live.run_once(&tenant, "hello", LIMIT).await;
        assert_eq!(neighbour.reason, "Completed", "{object}");
        let greeting = tail(&object, "stdout");
        assert!(greeting.starts_with("hello neighbour"), "{object}");
        assert_eq!(count(&object, "stdout", "missedBytes"), 0);

        let (object, _) = live.until_over(&tenant, &flood, 2 * LIMIT).await;
        let ended = said(&object, "Succeeded");
        let (bytes, missed) = (
            count(&object, "stdout", "bytes"),
            count(&object, "stdout", "missedBytes"),
        );
        println!(
            "    {}: {bytes} bytes, {missed} of them missed",
            ended.reason
        );
        assert!(
            ["Completed", "TimedOut"].contains(&&*ended.reason),
            "{object}"
        );
        assert!(missed > bytes / 2 && missed < bytes, "{object}");
        assert!(count(&object, "stdout", "missedLines") > 0, "{object}");
        assert_eq!(
            object["status"]["output"]["stdout"]["truncated"],
            json!(true)
        );
        if ended.reason == "Completed" {
            let last = "nobody has stopped it\n";
            assert!(tail(&object, "stdout").ends_with(last), "{object}");
            let all = "taking output\n".len() + (1 << 30) + last.len();
            assert_eq!(bytes, all as u64);
        }
        assert!(object["status"].to_string().len() <= MOST);
    })
    .await;
}

#[tokio::test]
async fn every_line_is_there_once_though_the_leader_dies() {
    Live::run_on_own(
        "every_line_is_there_once_though_the_leader_dies",
        async |live| {
            let tenant = live.proven("heir", &json!({})).await;
            // Less than 4 KiB, so that all of it is to be seen; some 30 s of it.
            live.integrate(&tenant, "count", &["count", "300", "100", "0"], &json!({}))
                .await;
            let name = live.execute(&tenant, "count", &json!({})).await;
            live.until_reason(&tenant, &name, "Running", LIMIT).await;
            pause(Duration::from_secs(3)).await;
            let (old, _) = live.until_led(LIMIT, |_| true).await;
            live.kill_process(&old);
            let (object, _) = live.until_over(&tenant, &name, 2 * LIMIT).await;
            assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
            assert_eq!(tail(&object, "stdout"), lines(1, 300), "{object}");
            assert_eq!(count(&object, "stdout", "missedBytes"), 0, "{object}");
            assert_eq!(
                object["status"]["output"]["stdout"]["truncated"],
                json!(false)
            );
        },
    )
    .await;
}
