//! A zone is lost, with the leader, running Executions and sandboxes in it: what is new runs soon,
//! what was there ends with the true reason or is retried where asked, and nothing of the rest
//! notices. Then it comes back, and nothing happens twice.
//!
//! The leader's zone is lost: frozen, by default; with `ZONES=each` in each of three ways, and with
//! `ZONES=all` every zone in each way, so that also those of the cluster's DNS, of the canaries and
//! of the decoy are lost.

use std::{
    fs,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tests::{
    cluster::Cluster,
    live::{
        Live, executions::is_over, executions::path, must, pause, pods::pod_path, said,
        system::OPERATOR, text, until, within,
    },
};

/// From the loss to the end of an Execution that is created then.
const SERVICE: Duration = Duration::from_secs(30);
/// From the loss to the end of everything that was there.
const ENDS: Duration = Duration::from_mins(2);
/// From the loss to another leader.
const LEADER: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_mins(2);
/// Longer than it takes until a silent sandbox is given up.
const WORK: &str = "40";
/// How many run of each kind.
const RUNS: usize = 4;
/// The nodes, one to a zone.
const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

type Deed = fn(&Cluster, &str) -> Result<(), tests::cluster::Error>;

/// How a zone is lost, and how it comes back.
struct Fault {
    name: &'static str,
    begin: Deed,
    end: Deed,
}

const FAULTS: [Fault; 3] = [
    Fault {
        name: "frozen",
        begin: Cluster::freeze,
        end: Cluster::thaw,
    },
    Fault {
        name: "cut off",
        begin: Cluster::partition,
        end: Cluster::heal,
    },
    Fault {
        name: "killed",
        begin: Cluster::kill,
        end: Cluster::start,
    },
];

/// Node on which an Execution runs, or ran last.
fn node(object: &Value) -> String {
    text(object, "/status/sandbox/node")
}

/// Creates so many, and waits until they run.
async fn running(live: &Live, tenant: &str, integration: &str) -> Vec<Value> {
    let mut names = Vec::new();
    for _ in 0..RUNS {
        names.push(live.execute(tenant, integration, &json!({})).await);
    }
    let mut objects = Vec::new();
    for name in names {
        objects.push(live.until_reason(tenant, &name, "Running", LIMIT).await);
    }
    objects
}

/// One that is created now, to its end.
async fn serves(live: &Live, tenant: &str, since: Instant) -> Duration {
    let name = live.execute(tenant, "quick", &json!({})).await;
    let (object, _) = live.until_over(tenant, &name, SERVICE).await;
    assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
    since.elapsed()
}

/// What became of those that ran when the zone was lost.
fn judge(before: &[Value], after: &[Value], lost: &str, retried: bool) -> usize {
    let mut there = 0;
    for old in before {
        let name = text(old, "/metadata/name");
        let same = |one: &&Value| text(one, "/metadata/name") == name;
        let now = after.iter().find(same).unwrap_or(&Value::Null);
        let reason = said(now, "Succeeded").reason;
        let attempt = now["status"]["attempt"].as_i64();
        if node(old) == lost {
            there += 1;
            if retried {
                assert_eq!((&*reason, attempt), ("Completed", Some(2)), "{now}");
                assert_ne!(node(now), lost, "{now}");
            } else {
                assert_eq!((&*reason, attempt), ("NodeLost", Some(1)), "{now}");
            }
        } else {
            assert_eq!((&*reason, attempt), ("Completed", Some(1)), "{now}");
        }
    }
    there
}

/// Status of every Execution of a tenant, as the server has it.
async fn statuses(live: &Live, tenant: &str) -> Vec<(String, String)> {
    let objects = live.list(&path(tenant, "executions")).await;
    let status = |one: &Value| (text(one, "/metadata/name"), one["status"].to_string());
    objects.iter().map(status).collect()
}

/// Writes of the replica on this node since another one leads, but for the Lease and for asking
/// who somebody is.
async fn writes_from(live: &Live, node: &str) -> Vec<String> {
    let object = must(live.get(&format!("/api/v1/nodes/{node}")).await, node);
    let address = text(&object, "/status/addresses/0/address");
    let lease = "/apis/coordination.k8s.io/v1/namespaces/cloister-system/leases/cloister-operator";
    let lease = must(live.get(lease).await, "lease");
    let since = text(&lease, "/spec/acquireTime");
    let since: Timestamp = must(since.parse(), &since);
    let log = live.nodes().audit_log();
    let log = must(fs::read_to_string(log), "audit log");
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let by_it = lines.filter(|line| {
        let read = ["get", "list", "watch"].contains(&&*text(line, "/verb"));
        let group = text(line, "/objectRef/apiGroup");
        let aside = ["coordination.k8s.io", "authentication.k8s.io"].contains(&&*group);
        let at: Result<Timestamp, _> = text(line, "/requestReceivedTimestamp").parse();
        text(line, "/user/username").ends_with(":cloister-operator")
            && line["sourceIPs"][0] == address
            && at.is_ok_and(|at| at > since)
            && !read
            && !aside
    });
    by_it
        .map(|line| format!("{} {}", line["verb"], line["requestURI"]))
        .collect()
}

/// Node that a replica of the operator is on.
async fn place_of(live: &Live, replica: &str) -> String {
    let object = must(
        live.get(&pod_path("cloister-system", replica)).await,
        replica,
    );
    text(&object, "/spec/nodeName")
}

/// A tenant with what is going to run in it.
async fn tenant(live: &Live) -> String {
    let small = json!({"cpu": "50m", "memory": "48Mi", "scratch": "1Mi"});
    let tenant = live.proven("zones", &json!({})).await;
    for (name, words, retries) in [
        ("rest", &["sleep", WORK][..], 0),
        ("again", &["sleep", WORK][..], 1),
        ("quick", &["world"][..], 0),
    ] {
        let spec = json!({"retries": retries, "resources": small});
        live.integrate(&tenant, name, words, &spec).await;
    }
    tenant
}

/// Loses one zone, and has it back.
async fn lose(live: &Live, fault: &Fault, lost: &str) {
    let tenant = tenant(live).await;
    let rest = running(live, &tenant, "rest").await;
    let again = running(live, &tenant, "again").await;
    let (leader, _) = live.until_led(LEADER, |_| true).await;
    let leads = place_of(live, &leader).await == lost;

    let begun = Instant::now();
    must((fault.begin)(live.nodes(), lost), fault.name);
    if leads {
        let (_, took) = live.until_led(LEADER, |holder| holder != leader).await;
        within("zone lost -> another leads", took, LEADER);
    }
    let first = serves(live, &tenant, begun).await;
    within("zone lost -> what is created then has run", first, SERVICE);
    let check = async || {
        let objects = live.list(&path(&tenant, "executions")).await;
        match objects.iter().filter(|one| !is_over(one)).count() {
            0 => Ok(objects),
            left => Err(format!("{left} have not")),
        }
    };
    let (after, _) = until("all have ended", ENDS, check).await;
    let there = judge(&rest, &after, lost, false) + judge(&again, &after, lost, true);
    println!(
        "    {lost} {}, leader there: {leads}: {there} of {} ran there; service after {:.1} s, all \
         over after {:.1} s",
        fault.name,
        2 * RUNS,
        first.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    let ended = statuses(live, &tenant).await;
    must((fault.end)(live.nodes(), lost), fault.name);
    returns(live, &tenant, lost, &ended).await;
}

/// What holds when the zone is back: nothing has happened twice, and all goes on.
async fn returns(live: &Live, tenant: &str, lost: &str, ended: &[(String, String)]) {
    live.stands("cloister-system", OPERATOR).await;
    // Whatever was held up there comes now: to kubelets, to the old leader, to sandboxes.
    pause(Duration::from_secs(15)).await;
    assert_eq!(statuses(live, tenant).await, ended, "something has changed");
    let (leader, _) = live.until_led(LEADER, |_| true).await;
    if place_of(live, &leader).await != lost {
        let wrote = writes_from(live, lost).await;
        assert_eq!(wrote, [""; 0], "who does not lead any more wrote");
    }
    for integration in ["rest", "again"] {
        let left = live.sandboxes(tenant, integration).await;
        let left = left.iter().map(|pod| text(pod, "/metadata/name"));
        let left: Vec<_> = left.collect();
        assert_eq!(left, [""; 0], "sandboxes of what has ended");
    }
    serves(live, tenant, Instant::now()).await;
    live.until_proven(tenant, LIMIT).await;
}

#[tokio::test]
async fn a_zone_that_is_lost_costs_what_ran_there_and_nothing_else() {
    Live::run_on_own(
        "a_zone_that_is_lost_costs_what_ran_there_and_nothing_else",
        async |live| {
            let asked = std::env::var_os("ZONES").unwrap_or_default();
            let count = if asked.is_empty() { 1 } else { FAULTS.len() };
            for fault in &FAULTS[..count] {
                if asked == "all" {
                    for node in NODES {
                        lose(live, fault, node).await;
                    }
                } else {
                    live.stands("cloister-system", OPERATOR).await;
                    let (leader, _) = live.until_led(LEADER, |_| true).await;
                    lose(live, fault, &place_of(live, &leader).await).await;
                }
            }
        },
    )
    .await;
}
