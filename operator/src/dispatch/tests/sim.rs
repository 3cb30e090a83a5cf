//! A fake of the API server, the nodes and the sandboxes, small enough to be crashed after
//! every write. Time goes by as told.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    Inside, Observation, ProbeReport, Saw, SeenRuntime,
    dispatch::{Ended, Hello, Order, Proof as Shown, Run as Attempt, Started, order, report},
    run::{Cause, Ending, Exit, Outcome, OutputCount, RUN_VERSION, RunReport, RunResult, Usage},
};
use crds::{Execution, Integration, Tenant};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    dispatch::{
        act::{Act, Receipt},
        book::Book,
        line::Key,
        pod::Workshop,
        sandbox::Facts,
        talk::Opening,
        turn::View,
    },
    error::Error,
    probe::ProbeSettings,
    session::{Peer, Session},
    world::facts::{Cluster, LiveNode, Uid},
};

pub const NAMESPACE: &str = "tenant-acme";

/// What a command does, once it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ends at once, with this code.
    Exits(u8),
    /// Goes on until it is asked to end.
    Waits,
}

/// One sandbox, as it would be on its node.
#[derive(Debug)]
pub struct Box_ {
    pub session: u64,
    pub orders: Option<UnboundedReceiver<Order>>,
    pub given: Option<Attempt>,
    pub report: Option<Vec<u8>>,
    /// What it finds out about itself.
    pub writable_root: bool,
    welcomed: bool,
}

/// The fake world.
pub struct Sim {
    pub book: Book,
    pub now: Timestamp,
    pub command: Command,
    /// Sandboxes come up with this fault.
    pub faulty: bool,
    pub cluster: Cluster,
    probing: ProbeSettings,
    version: u64,
    sessions: u64,
    pub executions: BTreeMap<String, Value>,
    integrations: BTreeMap<String, Value>,
    pub pods: BTreeMap<String, Value>,
    pub boxes: BTreeMap<String, Box_>,
    /// Attempts that ran a command, by Execution.
    pub started: BTreeMap<String, u32>,
    /// Most sandboxes at work at once.
    pub most_live: usize,
    /// Acts that were done.
    pub writes: Vec<String>,
    /// Dies in this act; true: the server has done it.
    pub fatal: Option<(usize, bool)>,
    /// What the API server says to the next pod.
    pub refuse_pods: Option<&'static str>,
    /// Order in which Executions were bound.
    pub bound: Vec<String>,
}

fn workshop() -> Workshop {
    Workshop {
        supervisor: "supervisor".to_owned(),
        image_volumes: true,
        authorities: String::new(),
        user_namespaces: true,
    }
}

pub fn cluster() -> Cluster {
    let node = LiveNode {
        usable: true,
        zone: "zone-a".to_owned(),
        addresses: vec!["192.0.2.11".parse().unwrap()],
        ..LiveNode::default()
    };
    Cluster {
        nodes: [("node-a".to_owned(), node)].into(),
        api_servers: vec!["192.0.2.1:6443".parse().unwrap()],
        canaries: vec!["192.0.2.2".parse().unwrap()],
        decoys: vec!["192.0.2.3".parse().unwrap()],
        ..Cluster::default()
    }
}

impl Sim {
    pub fn new() -> Self {
        let mut sim = Self {
            book: Book::new(workshop()),
            now: Timestamp::from_second(1_000_000).unwrap(),
            command: Command::Exits(0),
            faulty: false,
            cluster: cluster(),
            probing: ProbeSettings {
                image: String::new(),
                interval: std::time::Duration::from_mins(5),
                at_once: 1,
                outside: None,
                api_service: None,
                user_namespaces: true,
            },
            version: 0,
            sessions: 0,
            executions: BTreeMap::new(),
            integrations: BTreeMap::new(),
            pods: BTreeMap::new(),
            boxes: BTreeMap::new(),
            started: BTreeMap::new(),
            most_live: 0,
            writes: Vec::new(),
            fatal: None,
            refuse_pods: None,
            bound: Vec::new(),
        };
        sim.tenant("acme", "True");
        sim.book.lead(workshop(), sim.now);
        sim
    }

    /// A Tenant whose isolation is proven, or not.
    pub fn tenant(&mut self, name: &str, verified: &str) {
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name, "uid": uid(name), "generation": 1},
            "spec": {"members": []},
            "status": {"conditions": [{"type": "IsolationVerified", "status": verified,
                "reason": "Proven", "message": "as seen", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        self.book.tenant(&tenant);
    }

    fn bump(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Applies an Integration of this name.
    pub fn integration(&mut self, namespace: &str, name: &str, extra: &Value) {
        let version = self.bump();
        let mut spec = json!({"image": "example", "command": ["/hello"]});
        merge(&mut spec, extra);
        let object = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
            "metadata": {"name": name, "namespace": namespace, "uid": uid(&format!("{namespace}/{name}")),
                "generation": self.version, "resourceVersion": version},
            "spec": spec,
        });
        let parsed: Integration = serde_json::from_value(object.clone()).unwrap();
        self.integrations
            .insert(format!("{namespace}/{name}"), object);
        self.book.integration(&parsed);
    }

    /// Creates an Execution.
    pub fn execution(&mut self, namespace: &str, name: &str, spec: &Value) {
        let version = self.bump();
        let mut whole = json!({"integration": "hello"});
        merge(&mut whole, spec);
        let object = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
            "metadata": {"name": name, "namespace": namespace, "uid": uid(&format!("x{namespace}/{name}")),
                "generation": 1, "resourceVersion": version,
                "creationTimestamp": self.now.to_string()},
            "spec": whole,
        });
        self.store(name, object);
    }

    /// Asks an Execution to end.
    pub fn cancel(&mut self, name: &str) {
        let mut object = self.executions[name].clone();
        object["spec"]["cancel"] = json!("Requested");
        object["metadata"]["resourceVersion"] = json!(self.bump());
        self.store(name, object);
    }

    fn store(&mut self, name: &str, object: Value) {
        self.executions.insert(name.to_owned(), object);
        let parsed = self.parsed(name);
        self.book.execution(&parsed, self.now);
    }

    fn parsed(&self, name: &str) -> Execution {
        serde_json::from_value(self.executions[name].clone()).unwrap()
    }

    /// Deletes an Execution.
    pub fn delete(&mut self, name: &str) {
        let parsed = self.parsed(name);
        self.executions.remove(name);
        self.book.execution_gone(Uid::of(&parsed.metadata));
    }

    /// Reason of `Succeeded`.
    pub fn reason(&self, name: &str) -> String {
        let parsed = self.parsed(name);
        let found =
            crate::dispatch::run::reason(&parsed.status.unwrap_or_default()).map(ToOwned::to_owned);
        found.unwrap_or_default()
    }

    /// Message of `Succeeded`.
    pub fn message(&self, name: &str) -> String {
        let conditions = &self.executions[name]["status"]["conditions"];
        conditions[0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Lets everything happen that happens without time going by. False if the process died.
    pub fn settle(&mut self) -> bool {
        for _ in 0..10_000 {
            let view = View {
                cluster: &self.cluster,
                probing: &self.probing,
                now: self.now,
            };
            let acts = self.book.turns(view);
            let idle = acts.is_empty();
            for act in acts {
                if let Some((left, done)) = self.fatal {
                    if left <= 1 {
                        if done {
                            self.perform(act);
                        }
                        return false;
                    }
                    self.fatal = Some((left - 1, done));
                }
                let receipt = self.perform(act);
                self.book.receipt(receipt, self.now);
                self.count();
            }
            let moved = self.sandboxes();
            if idle && !moved {
                return true;
            }
        }
        panic!(
            "it never comes to rest; last: {:?}",
            &self.writes[self.writes.len() - 20..]
        );
    }

    fn count(&mut self) {
        let at_work = self
            .boxes
            .values()
            .filter(|one| one.given.is_some() && one.report.is_none());
        self.most_live = self.most_live.max(at_work.count());
    }

    /// So many seconds go by.
    pub fn pass(&mut self, seconds: i64) -> bool {
        for _ in 0..seconds {
            self.now += jiff::SignedDuration::from_secs(1);
            let names: Vec<String> = self.boxes.keys().cloned().collect();
            if self.now.as_second() % 30 == 0 {
                for name in names {
                    self.show(&name);
                }
            }
            self.book.tick(String::new());
            if !self.settle() {
                return false;
            }
        }
        true
    }

    /// The process is gone; another one has read everything, and leads.
    pub fn restart(&mut self) {
        self.fatal = None;
        self.book = Book::new(workshop());
        self.tenant("acme", "True");
        self.tenant("globex", "True");
        for object in self.integrations.values() {
            self.book
                .integration(&serde_json::from_value(object.clone()).unwrap());
        }
        for object in self.executions.values() {
            self.book
                .execution(&serde_json::from_value(object.clone()).unwrap(), self.now);
        }
        for object in self.pods.values() {
            let pod: Pod = serde_json::from_value(object.clone()).unwrap();
            self.book.pod(Facts::of(&pod).unwrap(), self.now);
        }
        self.book.lead(workshop(), self.now);
        for name in self.boxes.keys().cloned().collect::<Vec<_>>() {
            self.dial(&name);
        }
    }

    /// A sandbox opens a session, and shows what it saw, or says what it ran.
    pub fn dial(&mut self, name: &str) {
        self.sessions += 1;
        let id = self.sessions;
        let (orders, told) = unbounded_channel();
        let resumed = self.boxes[name].welcomed;
        let given = self.boxes[name].given.clone();
        let sandbox = self.boxes.get_mut(name).unwrap();
        (sandbox.session, sandbox.orders) = (id, Some(told));
        let peer = Peer {
            namespace: self.pods[name]["metadata"]["namespace"]
                .as_str()
                .unwrap()
                .to_owned(),
            pod: name.to_owned(),
            uid: Uid::parse(self.pods[name]["metadata"]["uid"].as_str().unwrap()),
        };
        let hello = Hello {
            version: 1,
            resume: vec![],
            run: given,
        };
        let session = Session { id, peer, orders };
        let opening = Opening {
            session,
            hello,
            resumed,
            resume: vec![1],
        };
        self.book.opened(opening, self.now);
    }

    /// A sandbox shows what it sees.
    fn show(&mut self, name: &str) {
        let pod: Pod = serde_json::from_value(self.pods[name].clone()).unwrap();
        let facts = Facts::of(&pod).unwrap();
        let sandbox = &self.boxes[name];
        if sandbox.given.is_some() || sandbox.orders.is_none() {
            return;
        }
        let asked = facts.asked.clone().unwrap();
        let checks = asked.targets.iter().map(|target| Observation {
            check: target.check,
            address: target.address.clone(),
            expect: target.expect,
            saw: match target.expect {
                contract::Expect::Reachable => Saw::Connected,
                contract::Expect::Blocked => Saw::Silence,
            },
        });
        let report = ProbeReport {
            version: contract::VERSION,
            checks: checks.collect(),
            inside: inside(sandbox.writable_root),
        };
        let report = serde_json::to_vec(&report).unwrap();
        let shown = report::Kind::Proof(Shown { report, age_ms: 0 });
        self.book.said(facts.uid, sandbox.session, shown, self.now);
    }

    /// What every sandbox does with what it is told. True if any was told anything.
    fn sandboxes(&mut self) -> bool {
        let mut moved = false;
        for name in self.boxes.keys().cloned().collect::<Vec<_>>() {
            while let Some(order) = self.next_order(&name) {
                moved = true;
                self.obey(&name, order);
            }
        }
        moved
    }

    fn next_order(&mut self, name: &str) -> Option<order::Kind> {
        let told = self.boxes.get_mut(name)?.orders.as_mut()?;
        told.try_recv().ok()?.kind
    }

    fn obey(&mut self, name: &str, order: order::Kind) {
        let uid = Uid::parse(self.pods[name]["metadata"]["uid"].as_str().unwrap());
        let sandbox = self.boxes.get_mut(name).unwrap();
        let session = sandbox.session;
        match order {
            order::Kind::Welcome(_) => {
                sandbox.welcomed = true;
                let (given, report) = (sandbox.given.clone(), sandbox.report.clone());
                match (given, report) {
                    (Some(run), Some(report)) => {
                        let said = report::Kind::Ended(Ended {
                            run: Some(run),
                            report,
                        });
                        self.book.said(uid, session, said, self.now);
                    }
                    (Some(run), None) => {
                        let said = report::Kind::Started(Started { run: Some(run) });
                        self.book.said(uid, session, said, self.now);
                    }
                    (None, _) => self.show(name),
                }
            }
            order::Kind::Assign(assign) => {
                if sandbox.given.is_some() {
                    return;
                }
                let run = assign.run.unwrap();
                sandbox.given = Some(run.clone());
                *self.started.entry(run.execution.clone()).or_default() += 1;
                let said = report::Kind::Started(Started { run: Some(run) });
                self.count();
                self.book.said(uid, session, said, self.now);
                if let Command::Exits(code) = self.command {
                    self.end(name, Cause::Completed, Exit::Code(code));
                }
            }
            order::Kind::Cancel(_) => self.end(name, Cause::Canceled, Exit::Signal(15)),
        }
    }

    /// The command in a sandbox ends.
    pub fn end(&mut self, name: &str, cause: Cause, exit: Exit) {
        let uid = Uid::parse(self.pods[name]["metadata"]["uid"].as_str().unwrap());
        let sandbox = self.boxes.get_mut(name).unwrap();
        let ending = Ending {
            exit,
            cause,
            oom_kills: None,
            wall_ms: 1,
            usage: Usage::default(),
            output: OutputCount::default(),
            result: RunResult::None,
            left_behind: false,
        };
        let outcome = Outcome::Ended(ending);
        let report = serde_json::to_vec(&RunReport {
            version: RUN_VERSION,
            outcome,
        })
        .unwrap();
        sandbox.report = Some(report.clone());
        let (run, session) = (sandbox.given.clone(), sandbox.session);
        if sandbox.orders.is_some() {
            let said = report::Kind::Ended(Ended { run, report });
            self.book.said(uid, session, said, self.now);
        }
    }

    /// A pod is gone, however.
    pub fn lose_pod(&mut self, name: &str) {
        let object = self.pods.remove(name).unwrap();
        self.boxes.remove(name);
        self.book
            .pod_gone(Uid::parse(object["metadata"]["uid"].as_str().unwrap()));
    }

    /// A node falls silent.
    pub fn silence(&mut self, name: &str) {
        let uid = Uid::parse(self.pods[name]["metadata"]["uid"].as_str().unwrap());
        let sandbox = self.boxes.get_mut(name).unwrap();
        sandbox.orders = None;
        self.book.closed(uid, sandbox.session, self.now);
    }

    fn perform(&mut self, act: Act) -> Receipt {
        match act {
            Act::Status {
                run,
                key,
                version,
                before: _,
                status,
                purpose,
            } => {
                self.writes.push(format!("{purpose:?} {}", key.name));
                let result = self.write_status(&key, version, &json!(status));
                if purpose == crate::dispatch::act::Purpose::Bind && result.is_ok() {
                    self.bound.push(key.name.to_string());
                }
                Receipt::Status {
                    run,
                    purpose,
                    result: result.map(Box::new),
                }
            }
            Act::LineStatus { key, status, .. } => {
                self.writes.push(format!("Line {}", key.name));
                Receipt::LineStatus {
                    key,
                    result: Ok(status),
                }
            }
            Act::Make { line, pod } => {
                self.writes.push("Make".to_owned());
                let result = self.make(&pod);
                Receipt::Make {
                    line,
                    result: result.map(Box::new),
                }
            }
            Act::Remove { key, pod, .. } => {
                self.writes.push("Remove".to_owned());
                if self.pods.contains_key(&*key.name) {
                    self.lose_pod(&key.name);
                }
                Receipt::Remove {
                    pod,
                    result: Ok(()),
                }
            }
            Act::Forget { key, run } => {
                self.writes.push(format!("Forget {}", key.name));
                if self.executions.contains_key(&*key.name) {
                    self.delete(&key.name);
                }
                Receipt::Forget {
                    run,
                    result: Ok(()),
                }
            }
        }
    }

    fn write_status(
        &mut self,
        key: &Key,
        version: u64,
        status: &Value,
    ) -> Result<Execution, Error> {
        let Some(held) = self.executions.get(&*key.name) else {
            return Err(refused(404, "NotFound", "gone"));
        };
        if held["metadata"]["resourceVersion"] != json!(version.to_string()) {
            return Err(refused(409, "Conflict", "it has changed"));
        }
        let over = held["status"]["conditions"][0]["status"]
            .as_str()
            .unwrap_or("Unknown");
        assert_eq!(
            over, "Unknown",
            "what has ended is written again: {held} -> {status}"
        );
        let mut next = held.clone();
        next["status"] = status.clone();
        next["metadata"]["resourceVersion"] = json!(self.bump());
        self.executions.insert(key.name.to_string(), next);
        Ok(self.parsed(&key.name))
    }

    fn make(&mut self, pod: &Pod) -> Result<Pod, Error> {
        if let Some(words) = self.refuse_pods {
            return Err(refused(403, "Forbidden", words));
        }
        let mut object = json!(pod);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if self.pods.contains_key(&name) {
            return Err(refused(409, "AlreadyExists", "it is there"));
        }
        object["metadata"]["uid"] = json!(uid(&name));
        object["metadata"]["resourceVersion"] = json!(self.bump());
        object["metadata"]["creationTimestamp"] = json!(self.now.to_string());
        object["spec"]["nodeName"] = json!("node-a");
        object["status"] = json!({"phase": "Running", "hostIP": "192.0.2.11"});
        self.pods.insert(name.clone(), object.clone());
        let parsed: Pod = serde_json::from_value(object).unwrap();
        self.book.pod(Facts::of(&parsed).unwrap(), self.now);
        let sandbox = Box_ {
            session: 0,
            orders: None,
            given: None,
            report: None,
            writable_root: self.faulty,
            welcomed: false,
        };
        self.boxes.insert(name.clone(), sandbox);
        self.dial(&name);
        Ok(parsed)
    }

    /// Everything that runs or stands ready.
    pub fn names(&self) -> BTreeSet<String> {
        self.boxes.keys().cloned().collect()
    }
}

fn inside(writable_root: bool) -> Inside {
    Inside {
        runtime: SeenRuntime::Host,
        uid: 65532,
        gid: 65532,
        no_new_privs: true,
        capabilities: 0,
        seccomp: 2,
        root_read_only: !writable_root,
        token_mounted: false,
        user_namespace: true,
    }
}

fn refused(code: u16, reason: &str, message: &str) -> Error {
    let status = json!({"code": code, "reason": reason, "message": message});
    Error::Write {
        verb: "write",
        kind: "object",
        name: "it".to_owned(),
        source: Box::new(kube::Error::Api(serde_json::from_value(status).unwrap())),
    }
}

/// A UUID of its own for each text.
fn uid(text: &str) -> String {
    Uid::parse(&format!("{:032x}", crate::digest::number(&text))).to_string()
}

fn merge(base: &mut Value, extra: &Value) {
    for (key, value) in extra.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
}
