//! A fake of the API server, the nodes and the sandboxes, small enough to be crashed after
//! every write. Time goes by as told.

mod boxes;

use std::collections::{BTreeMap, BTreeSet};

use contract::Inside;
use crds::{
    Execution, Integration, IntegrationStatus, Tenant, well_known::SCHEDULED_TIME_ANNOTATION,
};
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Pod, networking::v1::NetworkPolicy};
use kube::ResourceExt;
use serde_json::{Value, json};

use self::boxes::{Box_, cluster, refused};
use crate::{
    dispatch::{
        act::{Act, Purpose, Receipt},
        book::Book,
        line::Key,
        pod::Workshop,
        reach::Standing,
        sandbox::Facts,
        turn::View,
    },
    egress::{self, Holder, Of},
    error::Error,
    meta::Owner,
    names::DENY_ALL,
    probe::ProbeSettings,
    world::{
        Lost,
        facts::{Cluster, Uid},
    },
};

pub const NAMESPACE: &str = "tenant-acme";

/// What a command does, once it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ends at once, with this code.
    Exits(u8),
    /// Fails at the first attempt, and ends well at the next.
    FailsFirst,
    /// Goes on until it is asked to end.
    Waits,
}

/// The fake world.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Sim {
    pub book: Book,
    pub now: Timestamp,
    pub command: Command,
    /// Sandboxes come up with this fault.
    pub fault: Option<fn(&mut Inside)>,
    pub cluster: Cluster,
    /// Zones that Drills take.
    pub lost: Lost,
    pub probing: ProbeSettings,
    /// What Tenants allow their Integrations to reach.
    pub ceiling: Value,
    /// Policies that stand, by name.
    pub policies: BTreeMap<String, Value>,
    version: u64,
    sessions: u64,
    pub executions: BTreeMap<String, Value>,
    integrations: BTreeMap<String, Value>,
    pub pods: BTreeMap<String, Value>,
    pub boxes: BTreeMap<String, Box_>,
    /// Attempts that ran a command, by Execution.
    pub started: BTreeMap<String, u32>,
    /// Most lines to be looked at when a write has ended.
    pub most_touched: usize,
    /// Most sandboxes at work at once.
    pub most_live: usize,
    /// Pods that are removed are there for as long as the test.
    pub slow_ends: bool,
    /// So are those that are given time to end; their commands go on.
    pub slow_kubelet: bool,
    /// Acts that were done.
    pub writes: Vec<String>,
    /// Dies in this act; true: the server has done it.
    pub fatal: Option<(usize, bool)>,
    /// What the API server says to the next pod.
    pub refuse_pods: Option<&'static str>,
    /// The answer to the next status is lost; true: the server has done it.
    pub lose_next_answer: Option<bool>,
    /// The answer to the next Execution that is created is lost; the server has done it.
    pub lose_next_creation: bool,
    /// The watch is behind: what a lost answer was about is not seen yet.
    pub behind: bool,
    /// Order in which Executions were bound.
    pub bound: Vec<String>,
    /// A node that is silent; the scheduler takes it for well, and prefers it.
    pub dark: Option<&'static str>,
    /// What the API server says to an Execution that is due.
    pub refuse_executions: Option<&'static str>,
    /// What the API server does not do: `Line`, a status of an Integration; `Say`, one of an
    /// Execution; `Remove` a sandbox; or `Forget`.
    pub refuse: Option<&'static str>,
    /// Times for which schedules created an Execution.
    pub created: Vec<String>,
    /// Namespaces of the same.
    pub created_in: Vec<String>,
    /// Acts that are on their way, and answers.
    under_way: Vec<Act>,
    answers: Vec<Receipt>,
}

fn workshop() -> Workshop {
    Workshop {
        supervisor: "supervisor".to_owned(),
        image_volumes: true,
        authorities: String::new(),
        user_namespaces: true,
    }
}

impl Sim {
    pub fn new() -> Self {
        let mut sim = Self {
            book: Book::new(workshop()),
            now: Timestamp::from_second(1_000_000).unwrap(),
            command: Command::Exits(0),
            fault: None,
            cluster: cluster(),
            lost: Lost::default(),
            probing: ProbeSettings {
                image: String::new(),
                interval: std::time::Duration::from_mins(5),
                at_once: 1,
                outside: None,
                api_service: None,
                user_namespaces: true,
            },
            ceiling: json!([]),
            policies: BTreeMap::new(),
            version: 0,
            sessions: 0,
            executions: BTreeMap::new(),
            integrations: BTreeMap::new(),
            pods: BTreeMap::new(),
            boxes: BTreeMap::new(),
            started: BTreeMap::new(),
            most_touched: 0,
            most_live: 0,
            slow_ends: false,
            slow_kubelet: false,
            writes: Vec::new(),
            fatal: None,
            refuse_pods: None,
            lose_next_answer: None,
            lose_next_creation: false,
            behind: false,
            bound: Vec::new(),
            dark: None,
            refuse_executions: None,
            refuse: None,
            created: Vec::new(),
            created_in: Vec::new(),
            under_way: Vec::new(),
            answers: Vec::new(),
        };
        sim.tenant("acme", "True");
        sim.book.sees(&sim.cluster, sim.now);
        sim.book.lead(workshop(), sim.now);
        sim
    }

    /// A Tenant whose isolation is proven, or not.
    pub fn tenant(&mut self, name: &str, verified: &str) {
        let tenant = self.tenant_like(name, verified);
        self.book.tenant(&tenant);
        self.deny(&crate::names::namespace(name), &json!({}));
    }

    /// The policy that denies, about these pods of a tenant.
    pub fn deny(&mut self, namespace: &str, selector: &Value) {
        let policy = json!({
            "metadata": {"name": DENY_ALL, "namespace": namespace, "uid": uid(namespace)},
            "spec": {"podSelector": selector, "policyTypes": ["Ingress", "Egress"]},
        });
        self.book
            .policy_seen(&serde_json::from_value(policy).unwrap());
    }

    /// One that is being removed.
    pub fn tenant_goes(&mut self, name: &str) {
        let mut tenant = self.tenant_like(name, "Unknown");
        tenant.metadata.deletion_timestamp = Some(crate::conditions::whole_second(self.now));
        self.book.tenant(&tenant);
    }

    pub fn tenant_like(&self, name: &str, verified: &str) -> Tenant {
        serde_json::from_value(json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name, "uid": uid(name), "generation": 1},
            "spec": {"members": [], "isolation": {"egressCeiling": self.ceiling}},
            "status": {"conditions": [{"type": "IsolationVerified", "status": verified,
                "reason": "Proven", "message": "as seen", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    fn bump(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// A Tenant in this state.
    pub fn state(&mut self, name: &str, state: &str) {
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name, "uid": uid(name)},
            "spec": {"members": [], "state": state},
        }))
        .unwrap();
        self.book.tenant(&tenant);
    }

    /// Applies an Integration of this name.
    pub fn integration(&mut self, namespace: &str, name: &str, extra: &Value) {
        let version = self.bump();
        let key = format!("{namespace}/{name}");
        let mut spec = json!({"image": "example", "command": ["/hello"]});
        merge(&mut spec, extra);
        let mut object = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
            "metadata": {"name": name, "namespace": namespace, "uid": uid(&key),
                "generation": self.version, "resourceVersion": version},
            "spec": spec,
        });
        if let Some(held) = self.integrations.get(&key) {
            object["status"] = held["status"].clone();
        }
        let parsed: Integration = serde_json::from_value(object.clone()).unwrap();
        self.integrations.insert(key, object);
        self.book.integration(&parsed);
    }

    /// Somebody deletes an Integration.
    pub fn delete_integration(&mut self, name: &str) {
        let key = format!("{NAMESPACE}/{name}");
        self.integrations.remove(&key);
        let uid = Uid::parse(&uid(&key));
        self.book.integration_gone(&Key::new(NAMESPACE, name), uid);
    }

    /// An Execution that has ended, well or not, so many seconds ago.
    pub fn ended(&mut self, name: &str, well: bool, ago: i64) {
        self.ended_of("hello", name, well, ago);
    }

    /// The same of another Integration.
    pub fn ended_of(&mut self, line: &str, name: &str, well: bool, ago: i64) {
        let at = (self.now - jiff::SignedDuration::from_secs(ago)).to_string();
        let version = self.bump();
        let (status, reason) = if well {
            ("True", "Completed")
        } else {
            ("False", "Failed")
        };
        let object = json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Execution",
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid(&format!("x{name}")),
                "generation": 1, "resourceVersion": version, "creationTimestamp": at},
            "spec": {"integration": line},
            "status": {"attempt": 1, "times": {"ended": at}, "conditions": [{"type": "Succeeded",
                "status": status, "reason": reason, "message": "", "lastTransitionTime": at}]},
        });
        self.store(name, object);
    }

    /// The policy of an Integration comes about, or is another, as the Tenant room writes it.
    pub fn open(&mut self, namespace: &str, name: &str) {
        let object = self.integrations[&format!("{namespace}/{name}")].clone();
        let object: Integration = serde_json::from_value(object).unwrap();
        let tenant = namespace.trim_start_matches("tenant-").to_owned();
        let owner = Owner {
            uid: Uid::parse(&uid(&tenant)),
            tenant,
        };
        let of = Of {
            tenant: &owner,
            namespace,
            holder: Holder::Integration,
            name,
            uid: Uid::of(&object.metadata),
        };
        let list = egress::list(&object.spec.egress).unwrap();
        self.stand(json!(egress::policy(of, &list)));
    }

    /// A policy stands, whoever made it what it is.
    pub fn stand(&mut self, mut policy: Value) {
        let name = policy["metadata"]["name"].as_str().unwrap().to_owned();
        policy["metadata"]["uid"] = json!(uid(&name));
        let version = self.bump();
        policy["metadata"]["generation"] = json!(self.version);
        policy["metadata"]["resourceVersion"] = json!(version);
        self.policies.insert(name.clone(), policy);
        self.tell_of(&name);
    }

    fn tell_of(&mut self, policy: &str) {
        let policy: NetworkPolicy = serde_json::from_value(self.policies[policy].clone()).unwrap();
        self.book.policy(Standing::of(&policy).unwrap());
    }

    /// Every policy goes.
    pub fn withdraw(&mut self) {
        for (name, policy) in std::mem::take(&mut self.policies) {
            let namespace = policy["metadata"]["namespace"].as_str().unwrap();
            self.book.policy_gone(&Key::new(namespace, &name));
        }
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

    /// Somebody changes an Execution, and the watch is late.
    pub fn annotate(&mut self, name: &str) {
        let version = self.bump();
        let object = self.executions.get_mut(name).unwrap();
        object["metadata"]["resourceVersion"] = json!(version);
    }

    /// The watch brings an Execution as it is.
    pub fn tell(&mut self, name: &str) {
        let parsed = self.parsed(name);
        self.book.execution(&parsed, self.now);
    }

    fn store(&mut self, name: &str, object: Value) {
        self.executions.insert(name.to_owned(), object);
        self.tell(name);
    }

    pub fn parsed(&self, name: &str) -> Execution {
        serde_json::from_value(self.executions[name].clone()).unwrap()
    }

    /// Deletes an Execution.
    pub fn delete(&mut self, name: &str) {
        let parsed = self.parsed(name);
        self.executions.remove(name);
        self.book.execution_gone(Uid::of(&parsed.metadata));
    }

    /// Lets everything happen that happens without time going by. False if the process died.
    pub fn settle(&mut self) -> bool {
        self.book.sees(&self.cluster, self.now);
        for _ in 0..10_000 {
            let acts = self.decide();
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
                self.most_touched = self.most_touched.max(self.book.dirty.len());
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

    /// What is decided now is on its way, and nobody has been told what came of it.
    pub fn begin_turn(&mut self) {
        let acts = self.decide();
        self.under_way.extend(acts);
    }

    /// Nothing is decided that would be done.
    pub fn turn_for_nothing(&mut self) {
        assert!(self.decide().is_empty());
    }

    /// The server does what is on its way.
    pub fn serve(&mut self) {
        for act in std::mem::take(&mut self.under_way) {
            let answer = self.perform(act);
            self.answers.push(answer);
        }
    }

    /// And nobody hears of it.
    pub fn forget_answers(&mut self) {
        self.answers.clear();
    }

    /// And says so.
    pub fn end_turn(&mut self) -> bool {
        self.serve();
        for answer in std::mem::take(&mut self.answers) {
            self.book.receipt(answer, self.now);
        }
        self.settle()
    }

    fn decide(&mut self) -> Vec<Act> {
        let view = View {
            cluster: &self.cluster,
            lost: &self.lost,
            probing: &self.probing,
            now: self.now,
        };
        self.book.turns(view)
    }

    /// What is decided now is done, and nothing that follows from it.
    pub fn one_turn(&mut self) {
        for act in self.decide() {
            let receipt = self.perform(act);
            self.book.receipt(receipt, self.now);
        }
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
            self.book.sees(&self.cluster, self.now);
            let names: Vec<String> = self.boxes.keys().cloned().collect();
            if self.now.as_second() % 30 == 0 {
                for name in names {
                    self.show(&name);
                }
            }
            self.book.tick(String::new(), self.now);
            if !self.settle() {
                return false;
            }
        }
        true
    }

    /// The process is gone; another one has read everything, and leads; and every sandbox has dialled.
    pub fn restart(&mut self) {
        self.restart_unheard();
        for name in self.boxes.keys().cloned().collect::<Vec<_>>() {
            self.dial(&name);
        }
    }

    /// The same, and none has.
    pub fn restart_unheard(&mut self) {
        self.fatal = None;
        self.book = Book::new(workshop());
        self.book.sees(&self.cluster, self.now);
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
        for name in self.policies.keys().cloned().collect::<Vec<_>>() {
            self.tell_of(&name);
        }
        self.lead();
    }

    /// The process is gone; another one has read nothing yet.
    pub fn restart_without_policies(&mut self) {
        self.book = Book::new(workshop());
        self.book.sees(&self.cluster, self.now);
    }

    /// The process leads from now on.
    pub fn lead(&mut self) {
        self.book.lead(workshop(), self.now);
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
                let result = if self.refuse == Some("Say") && purpose == Purpose::Say {
                    Err(refused(409, "Conflict", "it has changed"))
                } else {
                    self.write_or_lose(&key, version, &json!(status))
                };
                if purpose == Purpose::Bind && result.is_ok() {
                    self.bound.push(key.name.to_string());
                }
                Receipt::Status {
                    run,
                    purpose,
                    result: result.map(Box::new),
                }
            }
            Act::LineStatus { key, status, .. } => {
                let result = self.write_line(&key, status);
                Receipt::LineStatus { key, result }
            }
            Act::Make { line, pod } => {
                self.writes.push("Make".to_owned());
                let result = self.make(&pod).map(Box::new);
                Receipt::Make { line, result }
            }
            Act::Remove { key, pod, grace } => Receipt::Remove {
                pod,
                result: self.remove(&key, grace),
            },
            Act::Create {
                line,
                uid,
                due,
                execution,
            } => Receipt::Create {
                line,
                uid,
                due,
                result: self.create(&execution),
            },
            Act::Forget { key, run } => {
                let result = self.forget(&key);
                Receipt::Forget { run, result }
            }
        }
    }

    fn remove(&mut self, key: &Key, grace: u32) -> Result<(), Error> {
        self.writes.push("Remove".to_owned());
        if self.refuse == Some("Remove") {
            return Err(refused(503, "ServiceUnavailable", "not now"));
        }
        if self.slow_kubelet && grace > 0 {
            self.mark(&key.name);
        } else if !self.slow_ends && self.pods.contains_key(&*key.name) {
            self.lose_pod(&key.name);
        }
        Ok(())
    }

    /// A node says how a pod fares.
    pub fn fares(&mut self, name: &str, status: Value) {
        let version = self.bump();
        let object = self.pods.get_mut(name).unwrap();
        object["metadata"]["resourceVersion"] = json!(version);
        object["status"] = status;
        let pod: Pod = serde_json::from_value(object.clone()).unwrap();
        self.book.pod(Facts::of(&pod).unwrap(), self.now);
    }

    /// A pod is asked to go.
    pub fn mark(&mut self, name: &str) {
        let version = self.bump();
        let object = self.pods.get_mut(name).unwrap();
        object["metadata"]["resourceVersion"] = json!(version);
        object["metadata"]["deletionTimestamp"] = json!(self.now.to_string());
        let pod: Pod = serde_json::from_value(object.clone()).unwrap();
        self.book.pod(Facts::of(&pod).unwrap(), self.now);
    }

    /// Writes, unless the answer is to be lost.
    fn write_or_lose(
        &mut self,
        key: &Key,
        version: u64,
        status: &Value,
    ) -> Result<Execution, Error> {
        let Some(landed) = self.lose_next_answer.take() else {
            return self.write_status(key, version, status);
        };
        if landed
            && let Ok(object) = self.write_status(key, version, status)
            && !self.behind
        {
            self.book.execution(&object, self.now);
        }
        Err(refused(504, "Timeout", "no answer"))
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

    /// Creates what a schedule has due.
    fn create(&mut self, execution: &Execution) -> Result<Option<Box<Execution>>, Error> {
        let (name, due) = (
            execution.name_any(),
            &execution.annotations()[SCHEDULED_TIME_ANNOTATION],
        );
        if let Some(words) = self.refuse_executions {
            self.writes.push("Refused".to_owned());
            return Err(refused(403, "Forbidden", words));
        }
        if self.executions.contains_key(&name) {
            self.writes.push(format!("There {due}"));
            return Ok(None);
        }
        self.writes.push(format!("Create {due}"));
        self.created.push(due.clone());
        self.created_in.push(execution.namespace().unwrap());
        let mut object = json!(execution);
        let version = self.bump();
        object["metadata"]["uid"] = json!(uid(&format!("x{name} {version}")));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["resourceVersion"] = json!(version);
        object["metadata"]["creationTimestamp"] = json!(self.now.to_string());
        self.executions.insert(name.clone(), object);
        let made = self.parsed(&name);
        if std::mem::take(&mut self.lose_next_creation) {
            let now = self.now;
            self.book.execution(&made, now);
            return Err(refused(500, "InternalError", "the answer was lost"));
        }
        Ok(Some(Box::new(made)))
    }

    fn forget(&mut self, key: &Key) -> Result<(), Error> {
        self.writes.push(format!("Forget {}", key.name));
        if self.refuse == Some("Forget") {
            return Err(refused(403, "Forbidden", "not this one"));
        }
        if self.executions.contains_key(&*key.name) {
            self.delete(&key.name);
        }
        Ok(())
    }

    fn write_line(
        &mut self,
        key: &Key,
        status: Box<IntegrationStatus>,
    ) -> Result<Box<IntegrationStatus>, Error> {
        self.writes.push(format!("Line {}", key.name));
        if self.refuse == Some("Line") {
            return Err(refused(503, "ServiceUnavailable", "not now"));
        }
        self.set_line(key, &json!(status));
        Ok(status)
    }

    /// Sets the status of an Integration.
    pub fn set_line(&mut self, key: &Key, status: &Value) {
        let key = format!("{}/{}", key.namespace, key.name);
        if let Some(held) = self.integrations.get_mut(&key) {
            held["status"] = status.clone();
        }
    }

    /// Status of an Integration, as the server has it.
    pub fn line(&self, name: &str) -> Value {
        self.integrations[&format!("{NAMESPACE}/{name}")]["status"].clone()
    }

    /// Status, reason and message of a condition of the Integration `hello`, as the server has it.
    pub fn condition(&self, type_: &str) -> [String; 3] {
        let line = self.line("hello");
        let mut conditions = line["conditions"].as_array().into_iter().flatten();
        let found = conditions.find(|one| one["type"] == type_).unwrap();
        ["status", "reason", "message"].map(|field| found[field].as_str().unwrap().to_owned())
    }

    /// Everything that runs or stands ready.
    pub fn names(&self) -> BTreeSet<String> {
        self.boxes.keys().cloned().collect()
    }
}

/// A UUID of its own for each text.
fn uid(text: &str) -> String {
    Uid::parse(&format!("{:032x}", crds::digest::number(&text))).to_string()
}

fn merge(base: &mut Value, extra: &Value) {
    for (key, value) in extra.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
}
