//! Replicas that are there when a zone is lost: a Worker's, and beside them those of a plain
//! Deployment, with the platform's defaults and nothing of Cloister's, as the floor.
//!
//! Each calls the outside every second, at a port of its own. They are looked at twice a second,
//! while all else goes on: by status, by the processes on this machine, and by who called.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    cluster::topology::Node,
    live::{
        Live,
        executions::IMAGE,
        must, pause,
        processes::{Process, running},
        said, text, until,
        workers::placed,
    },
    measure::loss::{Asked, Figures, Look},
};

/// How many there are to be; one zone of three holds a third of them.
pub(crate) const ASKED: Asked = Asked {
    replicas: 6,
    least: 4,
};
/// How many more there may be while one is replaced.
const SURGE: usize = 1;
const NAME: &str = "poller";
/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// From nothing to all of them ready.
const UP: Duration = Duration::from_mins(3);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Worker,
    Plain,
}

/// One set of replicas.
pub(crate) struct Replicas<'a> {
    live: &'a Live,
    kind: Kind,
    /// Of the tenant; of the plain ones, their namespace.
    home: String,
    /// What they call.
    address: &'static str,
    command: Vec<String>,
}

impl<'a> Replicas<'a> {
    /// A Worker in this tenant, whose ceiling holds what it calls.
    pub(crate) async fn worker(live: &'a Live, tenant: &str) -> Self {
        let this = Self::of(live, Kind::Worker, (tenant, "203.0.113.10:443"));
        let words: Vec<&str> = this.command.iter().skip(1).map(String::as_str).collect();
        let spec = json!({
            "replicas": ASKED.replicas, "zones": {"minimum": 3}, "minAvailable": ASKED.least,
            "surge": SURGE, "egress": super::open("203.0.113.10/32"),
            "resources": {"cpu": "50m", "memory": "48Mi", "scratch": "1Mi"},
        });
        live.employ(tenant, NAME, &words, &spec).await;
        this
    }

    /// A Deployment in a namespace that is no tenant's and has no policy.
    pub(crate) async fn plain(live: &'a Live) -> Self {
        let namespace = live.open_namespace().await;
        let this = Self::of(live, Kind::Plain, (&namespace, "203.0.113.10:80"));
        let labels = json!({"app": NAME});
        // Killed as soon as the Worker's: the command does not end by itself.
        let spec = json!({"terminationGracePeriodSeconds": 2,
            "containers": [{"name": "main", "image": IMAGE, "command": this.command}]});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {"replicas": ASKED.replicas, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec}},
        });
        must(live.admin.create(&deployment).await, "plain Deployment");
        this
    }

    fn of(live: &'a Live, kind: Kind, (home, address): (&str, &'static str)) -> Self {
        let command = ["/hello", "poll", "1", address, home];
        Self {
            live,
            kind,
            home: home.to_owned(),
            address,
            command: command.map(str::to_owned).to_vec(),
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Worker => "Worker",
            Kind::Plain => "plain Deployment",
        }
    }

    /// Pods that are not on their way out.
    pub(crate) async fn pods(&self) -> Vec<Value> {
        if self.kind == Kind::Worker {
            return self.live.replicas(&self.home, NAME).await;
        }
        let path = format!("/api/v1/namespaces/{}/pods?labelSelector=app", self.home);
        let all = self.live.list(&path).await.into_iter();
        all.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect()
    }

    /// How many are ready in each zone: as the Worker's own status says, or by its pods.
    async fn ready(&self) -> BTreeMap<String, usize> {
        let mut ready = BTreeMap::new();
        match self.kind {
            Kind::Worker => {
                let worker = self.live.worker(&self.home, NAME).await;
                for zone in worker["status"]["zones"].as_array().into_iter().flatten() {
                    let count = zone["ready"].as_u64().unwrap_or(0);
                    let count = usize::try_from(count).unwrap_or(0);
                    ready.insert(text(zone, "/zone"), count);
                }
            }
            Kind::Plain => {
                for pod in self.pods().await {
                    if said(&pod, "Ready").status == "True" {
                        *ready.entry(zone_of(&pod)).or_default() += 1;
                    }
                }
            }
        }
        ready
    }

    /// Waits until all are ready, each has one process, and there is no other.
    pub(crate) async fn whole(&self) {
        let what = format!("all of the {} are there", self.name());
        until(&what, UP, async || {
            let ready: usize = self.ready().await.values().sum();
            let there = self.pods().await;
            let uid = |pod: &Value| text(pod, "/metadata/uid");
            let pods: BTreeSet<String> = there.iter().map(uid).collect();
            let processes = self.processes();
            let run: BTreeSet<String> = processes.iter().map(|one| one.pod.clone()).collect();
            let alone = processes.len() == run.len() && run == pods;
            if ready == ASKED.replicas && pods.len() == ASKED.replicas && alone {
                Ok(())
            } else {
                // What keeps the others from running, in the words of their nodes.
                let others = there.iter().filter(|pod| !run.contains(&uid(pod)));
                let others: Vec<String> = others
                    .map(|pod| format!("{}: {}", text(pod, "/spec/nodeName"), pod["status"]))
                    .collect();
                Err(format!(
                    "{ready} ready, pods {pods:?}, run {processes:?}, do not run {others:?}"
                ))
            }
        })
        .await;
        if self.kind == Kind::Worker {
            self.redundant(("True", "Redundant"), UP).await;
        }
    }

    /// Waits until `ZoneRedundant` says this; gives its message.
    pub(crate) async fn redundant(&self, says: (&str, &str), limit: Duration) -> String {
        let this = (&*self.home, NAME);
        let said = self.live.until_worker(this, "ZoneRedundant", says, limit);
        said.await.0.message
    }

    /// Who runs the command, halted or not.
    fn processes(&self) -> Vec<Process> {
        running(&self.command)
    }

    /// UID and restarts of each, by name, but of those in one zone.
    pub(crate) async fn survivors(&self, lost: &Node) -> BTreeMap<String, (String, Value)> {
        let pods = self.pods().await.into_iter();
        let others = pods.filter(|pod| text(pod, "/spec/nodeName") != lost.name);
        let facts = |pod: Value| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].clone();
            (placed(&pod).0, (text(&pod, "/metadata/uid"), restarts))
        };
        others.map(facts).collect()
    }
}

fn zone_of(pod: &Value) -> String {
    let node = Node::named(&text(pod, "/spec/nodeName"));
    node.map_or_else(|_| String::new(), |node| node.zone.to_owned())
}

/// Looks at both sets, from the loss on.
pub(crate) struct Watch<'a> {
    sets: [&'a Replicas<'a>; 2],
    lost: &'static Node,
    begun: Instant,
    /// Where the outside's log ended then.
    log: u64,
    looks: RefCell<[Vec<Look>; 2]>,
}

impl<'a> Watch<'a> {
    /// Begins to count.
    pub(crate) fn begin(sets: [&'a Replicas<'a>; 2], lost: &'static Node) -> Self {
        let log = sets[0].live.nodes().outside_log();
        Self {
            sets,
            lost,
            begun: Instant::now(),
            log: log.metadata().map_or(0, |file| file.len()),
            looks: RefCell::default(),
        }
    }

    pub(crate) const fn lost(&self) -> &'static Node {
        self.lost
    }

    /// When the zone was lost.
    pub(crate) const fn begun(&self) -> Instant {
        self.begun
    }

    /// Since the loss.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Goes on looking.
    pub(crate) async fn go_on(&self) -> Infallible {
        loop {
            let callers = self.callers();
            for (index, set) in self.sets.into_iter().enumerate() {
                let mut ready = set.ready().await;
                let there = ready.remove(self.lost.zone).unwrap_or(0);
                let processes = set.processes();
                let look = Look {
                    at: self.elapsed().as_secs_f64(),
                    there,
                    elsewhere: ready.values().sum(),
                    processes: processes.iter().filter(|one| !one.halted).count(),
                    calls: count(&callers, set.address, None),
                };
                self.looks.borrow_mut()[index].push(look);
            }
            pause(EVERY).await;
        }
    }

    /// Waits until the Deployment has replaced what it lost, or for so long.
    pub(crate) async fn until_full(&self, limit: Duration) {
        while self.elapsed() < limit {
            let full = |look: &Look| look.elsewhere >= ASKED.replicas;
            if self.looks.borrow()[1].last().is_some_and(full) {
                return;
            }
            pause(EVERY).await;
        }
    }

    /// How often each set has called from the lost zone since the loss.
    pub(crate) fn calls_from_there(&self) -> [usize; 2] {
        let callers = self.callers();
        let there = Some(self.lost);
        self.sets.map(|set| count(&callers, set.address, there))
    }

    /// What the outside has written down since the loss.
    fn callers(&self) -> String {
        let mut said = Vec::new();
        let log = self.sets[0].live.nodes().outside_log();
        let mut file = must(File::open(&log), "outside's log");
        must(file.seek(SeekFrom::Start(self.log)), "outside's log");
        must(file.read_to_end(&mut said), "outside's log");
        String::from_utf8_lossy(&said).into_owned()
    }

    /// What came of it.
    pub(crate) fn figures(&self, returned: f64) -> [Figures; 2] {
        let looks = self.looks.borrow();
        [0, 1].map(|index| Figures::of(&looks[index], ASKED, returned))
    }
}

/// Calls at an address, from anywhere or from one node and its pods.
fn count(log: &str, address: &str, from: Option<&Node>) -> usize {
    let called = format!("tcp {address} from ");
    let callers = log.lines().filter_map(|line| line.strip_prefix(&*called));
    let there = |caller: &&str| {
        from.is_none_or(|node| {
            let pods = node.pod_cidr();
            let pods = pods.trim_end_matches("0/24");
            caller.starts_with(&format!("{}:", node.address())) || caller.starts_with(pods)
        })
    };
    callers.filter(there).count()
}

/// What must hold of a Worker that has lost a zone and has it back; of the Deployment, which
/// promises nothing, all is only printed.
pub(crate) fn judge(figures: &Figures, known_within: f64) {
    assert_eq!(
        figures.least,
        Some(0.0),
        "fewer than minAvailable: {figures:?}"
    );
    let known = figures.known.unwrap_or(f64::INFINITY);
    assert!(known <= known_within, "status said so late: {figures:?}");
    // The share of a lost zone is not piled up in the others.
    assert_eq!(figures.full, None, "{figures:?}");
    assert!(figures.back.is_some(), "not whole again: {figures:?}");
    assert!(figures.silence < SILENCE, "nobody called: {figures:?}");
    let most = ASKED.replicas + SURGE;
    assert!(figures.processes <= most, "too many at once: {figures:?}");
}

/// Seconds that four callers who call every second may together say nothing: this machine has two
/// processors, and everything runs on them.
const SILENCE: f64 = 10.0;
