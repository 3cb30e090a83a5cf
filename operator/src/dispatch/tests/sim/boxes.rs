//! The sandboxes of the fake: what each does with what it is told.

use contract::{
    Inside, Limit,
    dispatch::{
        Ended, Heard, Hello, Order, Output, Proof as Shown, Run as Attempt, Started, Stream, order,
        report,
    },
    judge::{sound, sound_answer},
    run::{Cause, Ending, Exit, Outcome, OutputCount, RUN_VERSION, RunReport, RunResult, Usage},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Command, Sim, uid};
use crate::{
    dispatch::{sandbox::Facts, talk::Opening},
    error::Error,
    session::{Peer, Session},
    world::facts::{Cluster, LiveNode, Uid},
};

/// One sandbox, as it would be on its node.
#[derive(Debug)]
pub struct Box_ {
    pub session: u64,
    pub orders: Option<UnboundedReceiver<Order>>,
    pub given: Option<Attempt>,
    pub report: Option<Vec<u8>>,
    /// When its command began, and how many milliseconds it may take.
    pub started: Option<Timestamp>,
    pub allowed_ms: u32,
    /// What of itself it finds not to be as it must be.
    pub fault: Option<fn(&mut Inside)>,
    pub welcomed: bool,
    /// How much of its output it was last told to have been heard.
    pub heard: Option<Heard>,
    /// When it last looked, if it has.
    pub looked: Option<Timestamp>,
}

impl Sim {
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
            version: 2,
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

    /// A sandbox looks, and shows what it sees.
    pub fn show(&mut self, name: &str) {
        let sandbox = self.boxes.get_mut(name).unwrap();
        sandbox.looked = Some(self.now);
        self.show_last(name);
    }

    /// It shows what it saw last, if it has looked.
    fn show_last(&mut self, name: &str) {
        let Some(looked) = self.boxes[name].looked else {
            return self.show(name);
        };
        let age = self.now.duration_since(looked).as_millis();
        let pod: Pod = serde_json::from_value(self.pods[name].clone()).unwrap();
        let facts = Facts::of(&pod).unwrap();
        let sandbox = &self.boxes[name];
        if sandbox.given.is_some() || sandbox.orders.is_none() {
            return;
        }
        let asked = facts.asked.clone().unwrap();
        let report = sound_answer(&asked.request, inside(sandbox.fault, asked.memory[0]));
        let report = serde_json::to_vec(&report).unwrap();
        let shown = report::Kind::Proof(Shown {
            report,
            age_ms: u32::try_from(age).unwrap(),
        });
        self.book.said(facts.uid, sandbox.session, shown, self.now);
    }

    /// What every sandbox does with what it is told. True if any was told anything.
    pub fn sandboxes(&mut self) -> bool {
        let mut moved = false;
        for name in self.boxes.keys().cloned().collect::<Vec<_>>() {
            while let Some(order) = self.next_order(&name) {
                moved = true;
                self.obey(&name, order);
            }
        }
        moved
    }

    pub fn next_order(&mut self, name: &str) -> Option<order::Kind> {
        let told = self.boxes.get_mut(name)?.orders.as_mut()?;
        told.try_recv().ok()?.kind
    }

    fn obey(&mut self, name: &str, order: order::Kind) {
        let uid = Uid::parse(self.pods[name]["metadata"]["uid"].as_str().unwrap());
        let sandbox = self.boxes.get_mut(name).unwrap();
        let session = sandbox.session;
        match order {
            order::Kind::Heard(heard) => sandbox.heard = Some(heard),
            order::Kind::Look(_) => self.show(name),
            order::Kind::Welcome(welcome) => {
                (sandbox.welcomed, sandbox.heard) = (true, welcome.heard);
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
                        let since = sandbox.started.unwrap();
                        let age = self.now.duration_since(since).as_millis();
                        let said = report::Kind::Started(Started {
                            run: Some(run),
                            age_ms: u32::try_from(age).unwrap(),
                            allowed_ms: sandbox.allowed_ms,
                        });
                        self.book.said(uid, session, said, self.now);
                    }
                    (None, _) => self.show_last(name),
                }
            }
            order::Kind::Assign(assign) => {
                if sandbox.given.is_some() {
                    return;
                }
                let run = assign.run.unwrap();
                let ends = match self.command {
                    Command::Exits(code) => Some(code),
                    Command::FailsFirst => Some(u8::from(run.attempt == 1)),
                    Command::Waits => None,
                };
                (sandbox.given, sandbox.started) = (Some(run.clone()), Some(self.now));
                sandbox.allowed_ms = assign.allowed_ms;
                *self.started.entry(run.execution.clone()).or_default() += 1;
                let said = report::Kind::Started(Started {
                    run: Some(run),
                    age_ms: 0,
                    allowed_ms: assign.allowed_ms,
                });
                self.count();
                self.book.said(uid, session, said, self.now);
                if let Some(code) = ends {
                    self.end(name, Cause::Completed, Exit::Code(code));
                }
            }
            order::Kind::Cancel(_) => self.end(name, Cause::Canceled, Exit::Signal(15)),
        }
    }

    /// The command in a sandbox says something: at this place, after so many lines.
    pub fn say(&mut self, name: &str, stream: Stream, (place, lines): (u64, u64), text: &str) {
        let run = self.boxes[name].given.clone();
        self.say_of(name, run, (stream, place, lines), text);
    }

    /// The same, of any run.
    pub fn say_of(
        &mut self,
        name: &str,
        run: Option<Attempt>,
        (stream, place, lines): (Stream, u64, u64),
        text: &str,
    ) {
        let uid = Uid::parse(self.pods[name]["metadata"]["uid"].as_str().unwrap());
        let said = report::Kind::Output(Output {
            run,
            stream: stream.into(),
            place,
            lines,
            text: text.into(),
        });
        let session = self.boxes[name].session;
        self.book.said(uid, session, said, self.now);
        self.sandboxes();
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
        self.book.pod_gone(
            Uid::parse(object["metadata"]["uid"].as_str().unwrap()),
            self.now,
        );
    }

    /// A node falls silent.
    pub fn silence(&mut self, name: &str) {
        let uid = Uid::parse(self.pods[name]["metadata"]["uid"].as_str().unwrap());
        let sandbox = self.boxes.get_mut(name).unwrap();
        sandbox.orders = None;
        self.book.closed(uid, sandbox.session, self.now);
    }

    pub fn make(&mut self, pod: &Pod) -> Result<Pod, Error> {
        if let Some(words) = self.refuse_pods {
            return Err(refused(403, "Forbidden", words));
        }
        let mut object = json!(pod);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if self.pods.contains_key(&name) {
            return Err(refused(409, "AlreadyExists", "it is there"));
        }
        let version = self.bump();
        // The same name may come again, its UID never.
        object["metadata"]["uid"] = json!(uid(&format!("{name} {version}")));
        object["metadata"]["resourceVersion"] = json!(version);
        object["metadata"]["creationTimestamp"] = json!(self.now.to_string());
        let affinity = json!(object["spec"]["affinity"]).to_string();
        let dark = self.dark.filter(|node| !affinity.contains(node));
        // The scheduler places none in a zone that is ruled out.
        let elsewhere = affinity.contains(r#""operator":"NotIn","values":["zone-a"]"#);
        let usual = if elsewhere { "node-b" } else { "node-a" };
        object["spec"]["nodeName"] = json!(dark.unwrap_or(usual));
        object["status"] = json!({"phase": "Running", "hostIP": "192.0.2.11"});
        self.pods.insert(name.clone(), object.clone());
        let parsed: Pod = serde_json::from_value(object).unwrap();
        self.book.pod(Facts::of(&parsed).unwrap(), self.now);
        let sandbox = Box_ {
            session: 0,
            orders: None,
            given: None,
            report: None,
            started: None,
            allowed_ms: 0,
            fault: self.fault,
            welcomed: false,
            heard: None,
            looked: None,
        };
        self.boxes.insert(name.clone(), sandbox);
        if dark.is_none() {
            self.dial(&name);
        }
        Ok(parsed)
    }
}

/// A sandbox that has all the memory and all the processes that it may have, and this fault.
fn inside(fault: Option<fn(&mut Inside)>, memory: u64) -> Inside {
    let mut inside = Inside {
        memory_limit: Limit::At(memory),
        process_limit: Limit::At(512),
        ..sound()
    };
    if let Some(fault) = fault {
        fault(&mut inside);
    }
    inside
}

/// What the API server answers to what it does not do.
pub fn refused(code: u16, reason: &str, message: &str) -> Error {
    let status = json!({"code": code, "reason": reason, "message": message});
    Error::Write {
        verb: "write",
        kind: "object",
        name: "it".to_owned(),
        source: Box::new(kube::Error::Api(serde_json::from_value(status).unwrap())),
    }
}

/// One node, and whom probes dial.
pub fn cluster() -> Cluster {
    let node = LiveNode {
        ready: true,
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
