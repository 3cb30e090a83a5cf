//! A leader that hears and answers sandboxes and does not reach the API server: when its lease is
//! over it has let go of all of them, another one serves, and when it is back it writes nothing of
//! what it had begun.

use std::{
    fs,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tests::live::{
    Live,
    cut::{Cut, Network},
    executions::path,
    must, pause,
    pods::pod_path,
    said,
    system::{OPERATOR, process_of},
    text, until, within,
};

/// From the cut to the end of the leader's belief in its lease (`GIVE_UP` in `operator/src/lease.rs`,
/// 5 s), and a moment to end what stands.
const LETS_GO: Duration = Duration::from_secs(6);
/// From the cut to another leader.
const ABRUPT: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_mins(1);
/// Sandboxes that stand ready.
const POOL: usize = 2;
const OUTSIDE: &str = "203.0.113.10:443";
/// How long the leader stays alone, from the cut.
const ALONE: Duration = Duration::from_secs(18);
/// How long it is watched when it is back: the kernel sends again for longer and longer what nobody
/// has confirmed, and after some 20 s of silence within 26 s.
const BACK: Duration = Duration::from_secs(35);

/// How often somebody has come to the outside.
fn callers(live: &Live) -> usize {
    let log = live.nodes().outside_log();
    let log = must(fs::read_to_string(&log), "outside's log");
    let called = format!("tcp {OUTSIDE} from ");
    log.lines().filter(|line| line.starts_with(&called)).count()
}

/// A tenant with an Integration that calls the outside once, one that talks for a while, and one that
/// ends soon.
async fn tenant(live: &Live) -> String {
    let open = |cidr: &str| json!([{"cidr": cidr, "ports": [{"port": 443, "protocol": "TCP"}]}]);
    let ceiling = json!({"isolation": {"egressCeiling": open("203.0.113.0/24")}});
    let tenant = live.proven("alone", &ceiling).await;
    let small = json!({"cpu": "50m", "memory": "48Mi", "scratch": "1Mi"});
    let dial = json!({"egress": open("203.0.113.10/32"), "warm": {"min": POOL},
        "resources": small});
    live.integrate(&tenant, "dial", &["dial", OUTSIDE], &dial)
        .await;
    let rest = json!({"resources": small});
    live.integrate(&tenant, "talk", &["count", "60", "250", "0"], &rest)
        .await;
    live.integrate(&tenant, "brief", &["sleep", "3"], &rest)
        .await;
    live.until_warm(&tenant, "dial", LIMIT).await;
    tenant
}

/// Waits until one has completed at its first attempt.
async fn completed(live: &Live, tenant: &str, name: &str) -> Value {
    let (object, _) = live.until_over(tenant, name, LIMIT).await;
    assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
    assert_eq!(object["status"]["attempt"], json!(1), "{object}");
    object
}

/// Waits until nothing of a sandbox stands there.
async fn lets_go(network: &Network) {
    until("no session stands", ABRUPT, async || {
        match network.sessions().count {
            0 => Ok(()),
            left => Err(format!("{left} stand")),
        }
    })
    .await;
}

/// From the cut until sandboxes have been let go, and another leads: the first comes before the
/// second. What is created in between has not begun by then.
async fn another_leads(live: &Live, old: &str, cut: &Cut, begun: Instant) {
    let process = process_of(old);
    let before = cut.network().sessions();
    until("it hears a sandbox", LETS_GO, async || {
        let now = cut.network().sessions();
        let alive = process.is_some() && process_of(old) == process;
        if alive && now.received > before.received {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    lets_go(cut.network()).await;
    let gone = begun.elapsed();
    within("cut off -> no sandbox stands at it", gone, LETS_GO);
    assert!(cut.dropped() > 0, "it was not cut off");
    live.until_led(ABRUPT, |holder| holder != old).await;
    let led = begun.elapsed();
    within("cut off -> another leads", led, ABRUPT);
    assert!(gone < led, "two could have answered: {gone:?}, {led:?}");
}

/// The control: sandboxes stand at the leader, and it has them run.
async fn leads_well(live: &Live, tenant: &str, leader: &str) {
    let before = callers(live);
    let first = live.execute(tenant, "dial", &json!({})).await;
    completed(live, tenant, &first).await;
    assert_eq!(callers(live) - before, 1);
    let network = live.network_of(leader);
    until(
        "the pool stands at it again",
        LIMIT,
        async || match network.sessions() {
            stood if stood.count >= POOL => Ok(()),
            stood => Err(format!("{stood:?}")),
        },
    )
    .await;
}

#[tokio::test]
async fn a_leader_without_the_api_server_lets_go_of_all_before_another_leads() {
    let name = "a_leader_without_the_api_server_lets_go_of_all_before_another_leads";
    Live::run_on_own(name, async |live| {
        // One to a node: who has written is told by its address.
        live.scale(OPERATOR, 0).await;
        live.scale(OPERATOR, 3).await;
        let tenant = tenant(live).await;
        let (old, _) = live.until_led(ABRUPT, |_| true).await;
        let pod = must(live.get(&pod_path("cloister-system", &old)).await, &old);
        let node = text(&pod, "/spec/nodeName");
        leads_well(live, &tenant, &old).await;
        let before = callers(live);
        let talk = live.execute(&tenant, "talk", &json!({})).await;
        live.until_reason(&tenant, &talk, "Running", LIMIT).await;
        let brief = live.execute(&tenant, "brief", &json!({})).await;
        live.until_reason(&tenant, &brief, "Running", LIMIT).await;

        let process = process_of(&old);
        let begun = Instant::now();
        let cut = live.cut_from_api(&old).await;
        let late = live.execute(&tenant, "dial", &json!({})).await;
        another_leads(live, &old, &cut, begun).await;
        let since = live.leading_since().await;
        let object = completed(live, &tenant, &late).await;
        let started = text(&object, "/status/times/started");
        let started: Timestamp = must(started.parse(), &started);
        assert!(started > since, "started before another led: {object}");
        for name in [&talk, &brief] {
            completed(live, &tenant, name).await;
        }
        assert_eq!(callers(live) - before, 1, "the outside was called");
        let took = begun.elapsed().as_secs_f64();
        println!("    cut off -> all had run: {took:.1} s");
        while begun.elapsed() < ALONE {
            assert_eq!(cut.network().sessions().count, 0, "somebody is back at it");
            pause(Duration::from_millis(250)).await;
        }

        let ended = live.list(&path(&tenant, "executions")).await;
        drop(cut);
        pause(BACK).await;
        live.stands("cloister-system", OPERATOR).await;
        let wrote = live.writes_from(&node, since).await;
        assert_eq!(wrote, [""; 0], "who does not lead any more wrote");
        assert_ne!(live.leader().await.as_deref(), Some(&*old), "took it back");
        assert_eq!(process_of(&old), process, "its process did not go on");
        assert_eq!(live.list(&path(&tenant, "executions")).await, ended);
        let last = live.execute(&tenant, "dial", &json!({})).await;
        completed(live, &tenant, &last).await;
        assert_eq!(callers(live) - before, 2, "the outside was called");
    })
    .await;
}
