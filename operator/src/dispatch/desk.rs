//! Where everything about Executions comes together: one task, one [`Book`], no lock.
//!
//! In: [`Event`]s of the watches, of the sandboxes' sessions and of the writes under way. Out:
//! those writes, through [`perform`]. Every replica keeps the book, so that a new leader
//! knows it all; only the leader acts.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crds::{Execution, Integration, Tenant};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::{core::v1::Pod, networking::v1::NetworkPolicy};
use kube::{Resource, runtime::watcher};
use tokio::sync::{mpsc, oneshot};

use super::{
    book::Book, line::Key, perform::perform, pod::Workshop, sandbox::Facts, talk::Opening,
    turn::View,
};
use crate::{
    room::Context,
    session::{self, Authority},
    world::facts::{Cluster, Uid},
};

/// How often is looked at what only time changes.
const TICK: Duration = Duration::from_secs(1);
/// The same, where something waits for a moment alone.
const MOMENT: Duration = Duration::from_millis(50);
/// Events that are taken in before the next decisions: enough to take a burst as one.
const AT_ONCE: usize = 256;

/// What the desk hears.
#[derive(Debug)]
pub enum Event {
    /// A Tenant, as it is now.
    Tenant(Box<Tenant>),
    /// A Tenant that is gone.
    TenantGone(String),
    /// Of the watch of Integrations.
    Integrations(Box<watcher::Event<Integration>>),
    /// Of the watch of Executions.
    Executions(Box<watcher::Event<Execution>>),
    /// Of the watch of sandboxes.
    Pods(Box<watcher::Event<Pod>>),
    /// Of the watch of network policies: at least those of Integrations.
    Policies(Box<watcher::Event<NetworkPolicy>>),
    /// This process leads from now on, until the sender of this is dropped.
    Lead(Box<Lead>),
}

/// What a leader acts with.
#[derive(Debug)]
pub struct Lead {
    /// Who sandboxes believe.
    pub authority: Arc<Authority>,
    /// What their sessions bring.
    pub sessions: mpsc::UnboundedReceiver<session::Event>,
    /// Ends when it does.
    pub stop: oneshot::Receiver<()>,
}

/// The task.
pub struct Desk {
    context: Arc<Context>,
    book: Book,
    /// UIDs that a listing under way has brought, by kind.
    listed: [Vec<Uid>; 4],
    /// Those that were known when it began. What came since then, it need not bring.
    known: [Vec<Uid>; 4],
}

/// Kinds that are listed.
#[derive(Clone, Copy)]
enum Kind {
    Integrations,
    Executions,
    Pods,
    Policies,
}

impl Desk {
    /// A desk with nothing on it.
    pub fn new(context: Arc<Context>) -> Self {
        let workshop = workshop(&context, String::new());
        Self {
            context,
            book: Book::new(workshop),
            listed: Default::default(),
            known: Default::default(),
        }
    }

    /// Takes in what comes, and acts while it leads, until nobody can tell it anything any more.
    pub async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    let mut next = self.hear(event);
                    while let Some(lead) = next {
                        next = self.lead(lead, &mut events).await;
                    }
                }
                _ = tick.tick() => self.book.idle(self.now()),
            }
            self.look();
        }
    }

    /// Takes note of what the cluster is like now, and gives it.
    fn look(&mut self) -> Arc<Cluster> {
        let cluster = self.context.world.cluster();
        self.book.sees(&cluster, self.now());
        cluster
    }

    /// Acts until told to stop, or to lead anew, which is given back; what is under way then is finished.
    async fn lead(
        &mut self,
        mut lead: Lead,
        events: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Option<Lead> {
        let workshop = workshop(&self.context, lead.authority.bundle());
        self.look();
        self.book.lead(workshop, self.now());
        let mut under_way = FuturesUnordered::new();
        let mut tick = tokio::time::interval(TICK);
        let mut moment = tokio::time::interval(MOMENT);
        moment.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut inbox = Vec::with_capacity(AT_ONCE);
        let mut next = None;
        loop {
            tokio::select! {
                biased;
                _ = &mut lead.stop => break,
                Some(receipt) = under_way.next() => self.book.receipt(receipt, self.now()),
                Some(event) = lead.sessions.recv() => self.session(event, &lead.authority),
                _ = events.recv_many(&mut inbox, AT_ONCE) => {}
                _ = moment.tick(), if self.book.rests() => {}
                _ = tick.tick() => self.book.tick(lead.authority.bundle(), self.now()),
            }
            // Whatever else has come by now, some of each: none of these may keep the others from being heard.
            for _ in 0..AT_ONCE {
                let Some(Some(receipt)) = under_way.next().now_or_never() else {
                    break;
                };
                self.book.receipt(receipt, self.now());
            }
            for _ in 0..AT_ONCE {
                let Ok(event) = lead.sessions.try_recv() else {
                    break;
                };
                self.session(event, &lead.authority);
            }
            next = self.hear_all(&mut inbox, events);
            // Whoever sends the next one has dropped the sender of this one's end.
            if next.is_some() {
                break;
            }
            if tick.tick().now_or_never().is_some() {
                self.book.tick(lead.authority.bundle(), self.now());
            }
            let (cluster, lost) = (self.look(), self.context.world.lost());
            let now = self.now();
            let view = View {
                cluster: &cluster,
                lost: &lost,
                probing: &self.context.settings.probing,
                now,
            };
            for act in self.book.turns(view) {
                under_way.push(perform(self.context.client.clone(), act));
            }
        }
        while let Some(receipt) = under_way.next().await {
            self.book.receipt(receipt, self.now());
        }
        next
    }

    fn now(&self) -> jiff::Timestamp {
        (self.context.now)()
    }

    fn session(&mut self, event: session::Event, authority: &Authority) {
        self.look();
        let now = self.now();
        match event {
            session::Event::Opened {
                session,
                hello,
                resumed,
            } => {
                let resume = authority.resume(session.peer.uid);
                let opening = Opening {
                    session,
                    hello,
                    resumed,
                    resume,
                };
                self.book.opened(opening, now);
            }
            session::Event::Said {
                pod,
                session,
                report,
            } => {
                self.book.said(pod, session, report, now);
            }
            session::Event::Closed { pod, session } => self.book.closed(pod, session, now),
        }
    }

    /// Takes note of what has come, in bounds. Gives back what begins to lead.
    fn hear_all(
        &mut self,
        inbox: &mut Vec<Event>,
        events: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Option<Lead> {
        while inbox.len() < AT_ONCE
            && let Ok(event) = events.try_recv()
        {
            inbox.push(event);
        }
        let heard = inbox.drain(..).filter_map(|event| self.hear(event));
        heard.last()
    }

    /// Takes note. Gives back what begins to lead.
    fn hear(&mut self, event: Event) -> Option<Lead> {
        let now = self.now();
        match event {
            Event::Lead(lead) => return Some(*lead),
            Event::Tenant(tenant) => self.book.tenant(&tenant),
            Event::TenantGone(name) => self.book.tenant_gone(&name),
            Event::Integrations(event) => self.integrations(*event),
            Event::Executions(event) => self.executions(*event, now),
            Event::Pods(event) => self.pods(*event, now),
            Event::Policies(event) => self.policies(*event),
        }
        None
    }

    fn seen(&mut self, kind: Kind, object: &impl Resource) {
        self.listed[kind as usize].push(Uid::of(object.meta()));
    }

    fn begin(&mut self, kind: Kind, known: Vec<Uid>) {
        self.listed[kind as usize].clear();
        self.known[kind as usize] = known;
    }

    /// What the listing that has just ended did not bring, of what was known before.
    fn missing(&mut self, kind: Kind) -> Vec<Uid> {
        let listed = std::mem::take(&mut self.listed[kind as usize]);
        let listed: HashSet<Uid> = listed.into_iter().collect();
        let mut missing = std::mem::take(&mut self.known[kind as usize]);
        missing.retain(|uid| !listed.contains(uid));
        missing
    }

    fn integrations(&mut self, event: watcher::Event<Integration>) {
        match event {
            watcher::Event::Init => {
                let known = self.book.integrations().values().copied().collect();
                self.begin(Kind::Integrations, known);
            }
            watcher::Event::InitApply(object) => {
                self.seen(Kind::Integrations, &object);
                self.book.integration(&object);
            }
            watcher::Event::Apply(object) => self.book.integration(&object),
            watcher::Event::Delete(object) => {
                self.book
                    .integration_gone(&Key::of(&object), Uid::of(&object.metadata));
            }
            watcher::Event::InitDone => {
                let known = self.book.integrations();
                let missing = self.missing(Kind::Integrations);
                for (key, uid) in known.iter().filter(|(_, uid)| missing.contains(uid)) {
                    self.book.integration_gone(key, *uid);
                }
            }
        }
    }

    fn executions(&mut self, event: watcher::Event<Execution>, now: jiff::Timestamp) {
        match event {
            watcher::Event::Init => self.begin(Kind::Executions, self.book.executions()),
            watcher::Event::InitApply(object) => {
                self.seen(Kind::Executions, &object);
                self.book.execution(&object, now);
            }
            watcher::Event::Apply(object) => self.book.execution(&object, now),
            watcher::Event::Delete(object) => self.book.execution_gone(Uid::of(&object.metadata)),
            watcher::Event::InitDone => {
                for uid in self.missing(Kind::Executions) {
                    self.book.execution_gone(uid);
                }
            }
        }
    }

    fn pods(&mut self, event: watcher::Event<Pod>, now: jiff::Timestamp) {
        match event {
            watcher::Event::Init => self.begin(Kind::Pods, self.book.pods()),
            watcher::Event::InitApply(object) => {
                self.seen(Kind::Pods, &object);
                self.pod(&object, now);
            }
            watcher::Event::Apply(object) => self.pod(&object, now),
            watcher::Event::Delete(object) => self.book.pod_gone(Uid::of(&object.metadata), now),
            watcher::Event::InitDone => {
                for uid in self.missing(Kind::Pods) {
                    self.book.pod_gone(uid, now);
                }
            }
        }
    }

    fn policies(&mut self, event: watcher::Event<NetworkPolicy>) {
        match event {
            watcher::Event::Init => {
                let known = self.book.policies().into_iter().map(|(_, uid)| uid);
                self.begin(Kind::Policies, known.collect());
            }
            watcher::Event::InitApply(object) => {
                self.seen(Kind::Policies, &object);
                self.book.policy_seen(&object);
            }
            watcher::Event::Apply(object) => self.book.policy_seen(&object),
            watcher::Event::Delete(object) => self.book.policy_gone(&Key::of(&object)),
            watcher::Event::InitDone => {
                let missing = self.missing(Kind::Policies);
                for (key, uid) in self.book.policies() {
                    if missing.contains(&uid) {
                        self.book.policy_gone(&key);
                    }
                }
            }
        }
    }

    fn pod(&mut self, pod: &Pod, now: jiff::Timestamp) {
        if let Some(facts) = Facts::of(pod) {
            self.book.pod(facts, now);
        }
    }
}

fn workshop(context: &Context, authorities: String) -> Workshop {
    let settings = &context.settings;
    Workshop {
        supervisor: settings.dispatching.image.clone(),
        image_volumes: settings.dispatching.image_volumes,
        authorities,
        user_namespaces: settings.probing.user_namespaces,
    }
}
