//! A hundred Executions while one leader after the other is killed: each runs, and runs once.

use std::{fs, time::Duration};

use futures::{StreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use tests::live::{Live, must, pause, pods::pod_path, said, system::process_of};

const RUNS: usize = 100;
/// Creations under way at once.
const AT_ONCE: usize = 8;
/// Between two deaths.
const EVERY: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_mins(8);
/// What each command does once, and the outside takes down.
const OUTSIDE: &str = "203.0.113.10:443";

/// How often somebody has come to the outside.
fn callers(live: &Live) -> usize {
    let log = live.nodes().outside_log();
    let log = must(fs::read_to_string(&log), "outside's log");
    let called = format!("tcp {OUTSIDE} from ");
    log.lines().filter(|line| line.starts_with(&called)).count()
}

/// Kills whoever leads, every few seconds; the pod goes, too, or its next start would wait longer
/// each time. Says how many died.
async fn kill_leaders(live: &Live, deaths: &mut usize) {
    let at_once = json!({"gracePeriodSeconds": 0});
    loop {
        pause(EVERY).await;
        // The Lease may still name the one that died last.
        let leader = live.leader().await;
        if let Some(leader) = leader.filter(|leader| process_of(leader).is_some()) {
            live.kill_process(&leader);
            *deaths += 1;
            let path = pod_path("cloister-system", &leader);
            let json = "application/json";
            let answer = live.admin.send(Method::DELETE, &path, json, &at_once).await;
            // It may be on its way out, and gone since the Lease was read.
            assert!(
                !matches!(&answer, Err(refusal) if refusal.code != 404),
                "{leader}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn each_of_a_hundred_runs_once_while_leaders_die() {
    Live::run_on_own(
        "each_of_a_hundred_runs_once_while_leaders_die",
        async |live| {
            let open =
                |cidr: &str| json!([{"cidr": cidr, "ports": [{"port": 443, "protocol": "TCP"}]}]);
            let ceiling = json!({"isolation": {"egressCeiling": open("203.0.113.0/24")}});
            let tenant = live.proven("storm", &ceiling).await;
            let spec = json!({
                "egress": open("203.0.113.10/32"), "warm": {"min": 6}, "concurrency": {"limit": 12},
                "resources": {"cpu": "50m", "memory": "48Mi", "scratch": "1Mi"},
                "startDeadline": "30m",
            });
            live.integrate(&tenant, "dial", &["dial", OUTSIDE], &spec)
                .await;
            live.until_warm(&tenant, "dial", LIMIT).await;
            let before = callers(live);

            let create = (0..RUNS).map(async |_| live.execute(&tenant, "dial", &json!({})).await);
            let created = stream::iter(create).buffer_unordered(AT_ONCE).count().await;
            assert_eq!(created, RUNS);
            let mut deaths = 0;
            let all_over = live.until_all_over(&tenant, RUNS, LIMIT);
            let (objects, took) = tokio::select! {
                over = all_over => over,
                () = kill_leaders(live, &mut deaths) => unreachable!("it goes on"),
            };
            let took = took.as_secs_f64();
            println!("    {RUNS} runs in {took:.0} s, in which {deaths} leaders died");
            assert!(deaths > 1, "{deaths} died: not a test of anything");
            let well = |one: &&Value| {
                said(one, "Succeeded").reason == "Completed" && one["status"]["attempt"] == json!(1)
            };
            let ill: Vec<&Value> = objects.iter().filter(|one| !well(one)).collect();
            assert!(ill.is_empty(), "{ill:#?}");
            assert_eq!(
                callers(live) - before,
                RUNS,
                "times that the outside was called"
            );
        },
    )
    .await;
}
