//! A zone is lost, with the leader, running Executions, sandboxes and replicas of a Worker in it:
//! what is new runs soon, what was there ends with the true reason or is retried where asked, the
//! Worker has what must be left at once, and nothing of the rest notices. Then the zone comes back,
//! and nothing happens twice.
//!
//! The leader's zone is lost: frozen, by default; with `ZONES=each` in each of three ways, and with
//! `ZONES=all` every zone in each way, so that also those of the cluster's DNS, of the canaries and
//! of the decoy are lost. The figures of all losses come last, in one table; beside the Worker's
//! stand those of a plain Deployment. The last loss of `ZONES=all` is held until that one has
//! replaced what it lost, which takes Kubernetes more than five minutes.

#[path = "zones/executions.rs"]
mod executions;
#[path = "zones/replicas.rs"]
mod replicas;

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    cluster::{Cluster, topology::NODES, topology::Node},
    live::{Live, must, pause, pods::pod_path, system::OPERATOR, text, within},
    measure::loss::{Figures, Loss, line, table},
};

use self::replicas::{Replicas, Watch};

/// From the loss to another leader.
const LEADER: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_mins(2);
/// From the loss to a Worker's status that says so: Kubernetes itself takes up to 50 s to believe
/// that a node is lost, and another 5 s to look; the rest is the machine.
const KNOWN: Duration = Duration::from_secs(70);
/// A node's pods are replaced after 5 minutes, by default; the rest is until that is noticed, and
/// until they have started.
const HELD: Duration = Duration::from_mins(7);

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
        name: "killed",
        begin: Cluster::kill,
        end: Cluster::start,
    },
    Fault {
        name: "cut off",
        begin: Cluster::partition,
        end: Cluster::heal,
    },
];

/// Does something to a node, while all else goes on.
async fn done(deed: Deed, node: &'static Node) {
    let deed = tokio::task::spawn_blocking(move || deed(&Cluster::current()?, node.name));
    must(must(deed.await, node.name), node.name);
}

/// Egress to port 443 of these addresses.
fn open(cidr: &str) -> Value {
    json!([{"cidr": cidr, "ports": [{"port": 443, "protocol": "TCP"}]}])
}

/// Node that a replica of the operator is on.
async fn place_of(live: &Live, replica: &str) -> String {
    let path = pod_path("cloister-system", replica);
    text(&must(live.get(&path).await, replica), "/spec/nodeName")
}

/// What there is to lose.
struct Scene<'a> {
    live: &'a Live,
    tenant: String,
    worker: Replicas<'a>,
    plain: Replicas<'a>,
}

impl<'a> Scene<'a> {
    async fn set(live: &'a Live) -> Self {
        let ceiling = json!({"isolation": {"egressCeiling": open("203.0.113.0/24")}});
        let tenant = live.proven("zones", &ceiling).await;
        executions::prepare(live, &tenant).await;
        Self {
            live,
            worker: Replicas::worker(live, &tenant).await,
            plain: Replicas::plain(live).await,
            tenant,
        }
    }

    /// Loses one zone, and has it back.
    async fn lose(&self, fault: &Fault, lost: &'static Node, hold: bool) -> Loss {
        let Self { live, tenant, .. } = self;
        live.stands("cloister-system", OPERATOR).await;
        self.worker.whole().await;
        self.plain.whole().await;
        let before = self.worker.survivors(lost).await;
        let rest = executions::running(live, tenant, "rest").await;
        let again = executions::running(live, tenant, "again").await;

        let watch = Watch::begin([&self.worker, &self.plain], lost);
        let run = (&*rest, &*again);
        let mut came = tokio::select! {
            all = self.through(fault, &watch, run, hold) => all,
            never = watch.go_on() => match never {},
        };
        let survivors = self.worker.survivors(lost).await;
        for (name, facts) in &before {
            assert_eq!(survivors.get(name), Some(facts), "{name} did not run on");
        }
        [came.worker, came.plain] = watch.figures(came.away);
        let Loss { what, away, .. } = &came;
        println!("    {what}, away for {away:.0} s:");
        for (set, figures) in [(&self.worker, &came.worker), (&self.plain, &came.plain)] {
            println!("      {}", line(set.name(), figures, *away));
        }
        replicas::judge(&came.worker, KNOWN.as_secs_f64());
        came
    }

    /// From the loss until all is as it was, while others look.
    async fn through(
        &self,
        fault: &Fault,
        watch: &Watch<'_>,
        (rest, again): (&[Value], &[Value]),
        hold: bool,
    ) -> Loss {
        let Self { live, tenant, .. } = self;
        let lost = watch.lost();
        let (leader, _) = live.until_led(LEADER, |_| true).await;
        let leads = place_of(live, &leader).await == lost.name;
        done(fault.begin, lost).await;
        let mut led = None;
        if leads {
            live.until_led(LEADER, |holder| holder != leader).await;
            within("zone lost -> another leads", watch.elapsed(), LEADER);
            led = Some(watch.elapsed().as_secs_f64());
        }
        let first = executions::serves(live, tenant, watch.begun()).await;
        let limit = executions::SERVICE;
        within("zone lost -> what is created then has run", first, limit);
        let called = watch.calls_from_there();
        let after = executions::all_over(live, tenant).await;
        let over = watch.elapsed().as_secs_f64();
        let there = executions::judge(rest, &after, lost.name, false)
            + executions::judge(again, &after, lost.name, true);
        let what = format!("{} {}, leader there: {leads}", fault.name, lost.name);
        println!(
            "    {what}: {there} of {} ran there; service after {:.1} s, all over after {over:.1} s",
            2 * executions::RUNS,
            first.as_secs_f64(),
        );

        let message = self.worker.redundant(("False", "NoCapacity"), LIMIT).await;
        println!("    ZoneRedundant says: {message}");
        assert!(message.contains(lost.zone), "{message}");
        if hold {
            watch.until_full(HELD).await;
        }
        let calls = watch.calls_from_there();
        assert_eq!(calls, called, "called from a zone that is away");
        let ended = executions::statuses(live, tenant).await;
        let away = watch.elapsed().as_secs_f64();
        done(fault.end, lost).await;
        executions::returns(live, tenant, lost.name, &ended).await;
        // Nobody is left there of those who were replaced: as many processes as there are pods.
        self.worker.whole().await;
        self.plain.whole().await;
        // So that they are seen to stay.
        pause(Duration::from_secs(3)).await;
        Loss {
            what,
            led,
            service: first.as_secs_f64(),
            over,
            away,
            worker: Figures::default(),
            plain: Figures::default(),
        }
    }
}

/// All losses so far; the table is printed in the end, also if one of them was too much.
#[derive(Default)]
struct Losses(Vec<Loss>);

impl Drop for Losses {
    fn drop(&mut self) {
        println!("{}", table(&self.0));
    }
}

#[tokio::test]
async fn a_zone_that_is_lost_costs_what_ran_there_and_nothing_else() {
    Live::run_on_own(
        "a_zone_that_is_lost_costs_what_ran_there_and_nothing_else",
        async |live| {
            let asked = std::env::var_os("ZONES").unwrap_or_default();
            let count = if asked.is_empty() { 1 } else { FAULTS.len() };
            let scene = Scene::set(live).await;
            let mut losses = Losses::default();
            for fault in &FAULTS[..count] {
                if asked == "all" {
                    for node in &NODES {
                        let last = losses.0.len() + 1 == FAULTS.len() * NODES.len();
                        losses.0.push(scene.lose(fault, node, last).await);
                    }
                } else {
                    live.stands("cloister-system", OPERATOR).await;
                    let (leader, _) = live.until_led(LEADER, |_| true).await;
                    let node = must(Node::named(&place_of(live, &leader).await), &leader);
                    losses.0.push(scene.lose(fault, node, false).await);
                }
            }
        },
    )
    .await;
}
