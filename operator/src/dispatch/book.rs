//! Everything that the dispatcher knows, and how it learns it. Pure: no client, no clock.
//!
//! In: what the watches bring, what sandboxes say, what became of writes. Out: the state that
//! [`turn`](super::turn) decides by. Who runs and who waits is read off the objects that are there;
//! only writes under way are counted, which a new lead begins without.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crds::{Integration, Tenant};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    keep::Shelf,
    line::{Key, Known, Line},
    outcome::Outcome,
    pod::Workshop,
    queue::{Held, Queue},
    reach::{Reach, Standing},
    run::{Ended, Run, Stage},
    sandbox::{Facts, Proof, Sandbox},
    setback::Setback,
    silence::Silence,
    talk::Opening,
    tenant::Landlord,
    trigger::Timer,
    under_way::UnderWay,
};
use crate::{
    names,
    probe::{Confinement, decoys::Decoys},
    world::{
        facts::{Cluster, Uid},
        pool::Pool,
    },
};

/// How long after its creation a sandbox may not have had a session yet.
const STARTING: Duration = Duration::from_mins(1);
/// How long it is known of a sandbox that it is gone.
const REMEMBERED: Duration = Duration::from_mins(2);

/// The state.
#[derive(Debug)]
pub struct Book {
    /// By namespace. Boxed: a third of a map's places are empty.
    pub(super) tenants: HashMap<Arc<str>, Box<Landlord>>,
    /// Integrations, and what Executions name as one; those of a tenant side by side.
    pub(super) lines: BTreeMap<Key, Line>,
    /// Executions that have not ended.
    pub(super) runs: HashMap<Uid, Run>,
    /// Executions that have.
    pub(super) ended: HashMap<Uid, Ended>,
    /// The lines that those name.
    pub(super) named: Pool<Key>,
    /// Those that have ended by line, but for those that are being removed.
    pub(super) shelf: HashMap<Key, Shelf>,
    /// Those that could not be removed.
    pub(super) unforgotten: Vec<Uid>,
    /// Sandboxes.
    pub(super) sandboxes: HashMap<Uid, Sandbox>,
    /// Policies that open something to those of one Integration.
    pub(super) policies: HashMap<Key, Standing>,
    /// Namespaces whose deny-all stands as it must, and that policy.
    pub(super) denied: HashMap<Arc<str>, Uid>,
    /// The cluster, as lines were last weighed by.
    pub(super) surveyed: Cluster,
    /// Sandboxes that went a moment ago: a late answer must not bring one back.
    pub(super) gone: HashMap<Uid, Timestamp>,
    /// Sessions of pods that no watch has brought yet, and since when.
    pub(super) strangers: HashMap<Uid, (Opening, Timestamp)>,
    /// Lines to be looked at.
    pub(super) dirty: BTreeSet<Key>,
    /// Those for which too many writes of a kind are under way.
    pub(super) held: Held,
    /// Lines that have ends to write: a tenant's thousands must not keep those of another waiting.
    pub(super) to_close: Queue,
    /// Lines whose Executions may have to be told what goes on.
    pub(super) to_tell: Queue,
    /// How sandboxes are made here.
    pub(super) workshop: Workshop,
    /// Writes that are under way.
    pub(super) under_way: UnderWay,
    /// Lines that wait until fewer Executions are being created, and until fewer removed.
    pub(super) to_create: Queue,
    pub(super) to_forget: Queue,
    /// From when on sandboxes are made ahead, and used ones removed, again.
    pub(super) calm_from: Option<Timestamp>,
    /// Lines that wait for that.
    pub(super) resting: BTreeSet<Key>,
    /// Time has gone by since the last turns.
    pub(super) ticked: bool,
    /// Sandboxes made by this process: tells one from the next.
    pub(super) made: u64,
    /// Since when this process leads.
    pub(super) led: Timestamp,
    /// Who was served last.
    pub(super) last: Option<Arc<str>>,
    /// Whether the decoy lives, which sandboxes dial.
    pub(super) decoys: Decoys,
    /// Nodes of which nothing is heard.
    pub(super) silence: Silence,
}

impl Book {
    /// An empty one.
    pub fn new(workshop: Workshop) -> Self {
        Self {
            tenants: HashMap::new(),
            lines: BTreeMap::new(),
            runs: HashMap::new(),
            ended: HashMap::new(),
            named: Pool::default(),
            shelf: HashMap::new(),
            unforgotten: Vec::new(),
            sandboxes: HashMap::new(),
            policies: HashMap::new(),
            denied: HashMap::new(),
            surveyed: Cluster::default(),
            gone: HashMap::new(),
            strangers: HashMap::new(),
            dirty: BTreeSet::new(),
            held: Held::default(),
            to_close: Queue::default(),
            to_tell: Queue::default(),
            workshop,
            under_way: UnderWay::default(),
            to_create: Queue::default(),
            to_forget: Queue::default(),
            calm_from: None,
            resting: BTreeSet::new(),
            ticked: false,
            made: 0,
            led: Timestamp::MIN,
            last: None,
            decoys: Decoys::default(),
            silence: Silence::default(),
        }
    }

    /// The cluster as it is now. Said before what sandboxes say, and by who does not lead as well,
    /// so that a new leader knows since when.
    pub fn sees(&mut self, cluster: &Cluster, now: Timestamp) {
        self.decoys.sees(cluster, now);
    }

    /// From now on this process leads: nobody has been heard of yet. What the predecessor had
    /// under way, it has not.
    pub fn lead(&mut self, workshop: Workshop, now: Timestamp) {
        self.workshop = workshop;
        self.led = now;
        self.forget_molds();
        let binding = self.runs.values();
        let binding = binding.filter(|run| matches!(run.stage, Stage::Binding(_)));
        for uid in binding.map(|run| run.uid).collect::<Vec<_>>() {
            self.unbind(uid);
        }
        self.under_way = UnderWay::default();
        self.strangers.clear();
        self.silence.forget();
        for sandbox in self.sandboxes.values_mut() {
            sandbox.seat = None;
            sandbox.heard = now;
            sandbox.proof = Proof::Pending;
            sandbox.removing = false;
            // One that is starting just now has had no session yet.
            sandbox.welcomed = !sandbox.pod.fetching && sandbox.begun() + STARTING < now;
        }
        for run in self.runs.values_mut() {
            run.writing = false;
            (run.told_to_end, run.doubtful) = (false, false);
            // Who has no sandbox waits for no word of one.
            run.silent_since = run.stage.pod().map(|_| now);
        }
        for line in self.lines.values_mut() {
            line.posting = 0;
            line.writing = false;
            line.timer = Timer::default();
        }
        self.keep_all();
        let runs: Vec<Uid> = self.runs.keys().copied().collect();
        for uid in runs {
            self.enlist(uid);
        }
        self.touch_all();
    }

    /// Time has gone by, and the authorities may have changed.
    pub fn tick(&mut self, authorities: String, now: Timestamp) {
        if self.workshop.authorities != authorities {
            self.workshop.authorities = authorities;
            self.forget_molds();
        }
        self.silence.look(self.sandboxes.values(), now);
        self.keep_again();
        self.prune(now);
        self.touch_all();
    }

    /// Time has gone by for who does not lead: nothing is looked at, and nothing kept of what is gone.
    pub fn idle(&mut self, now: Timestamp) {
        self.prune(now);
        self.dirty.clear();
    }

    /// Forgets lines that nothing hangs on, and what no answer can be late about any more.
    fn prune(&mut self, now: Timestamp) {
        self.gone.retain(|_, at| *at + REMEMBERED > now);
        self.shelf.retain(|_, kept| !kept.is_empty());
        let kept = &self.shelf;
        self.lines
            .retain(|key, line| !line.is_empty() || kept.contains_key(key));
    }

    /// Has every line looked at.
    fn touch_all(&mut self) {
        self.ticked = true;
        self.dirty.extend(self.lines.keys().cloned());
    }

    pub(super) fn touch(&mut self, key: &Key) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.clone());
        }
    }

    /// What is known of an Integration, or of what Executions take for one.
    pub(super) fn line_or_new(&mut self, key: &Key) -> &mut Line {
        self.lines.entry(key.clone()).or_default()
    }

    /// A Tenant, as it is now.
    pub fn tenant(&mut self, tenant: &Tenant) {
        let namespace: Arc<str> = names::namespace(&tenant.name_any()).into();
        let landlord = Landlord::of(tenant);
        let held = self.tenants.get(&namespace);
        if held.is_some_and(|held| **held == landlord) {
            return;
        }
        for (key, line) in self.lines.range_mut(Key::all_of(&namespace)) {
            (line.reach, line.mold) = (Reach::Unweighed, None);
            self.dirty.insert(key.clone());
        }
        let namespace = self.shared(&namespace);
        self.tenants.insert(namespace, Box::new(landlord));
    }

    /// The name of a namespace, as it is held already: two maps have all tenants' names.
    pub(super) fn shared(&self, namespace: &Arc<str>) -> Arc<str> {
        let tenant = self.tenants.get_key_value(namespace).map(|held| held.0);
        let denied = || self.denied.get_key_value(namespace).map(|held| held.0);
        tenant.or_else(denied).unwrap_or(namespace).clone()
    }

    /// A Tenant that is gone.
    pub fn tenant_gone(&mut self, name: &str) {
        let namespace = names::namespace(name);
        let here = self.lines.range_mut(Key::all_of(&namespace));
        here.for_each(|(_, line)| line.mold = None);
        self.tenants.remove(namespace.as_str());
    }

    /// An Integration, as it is now.
    pub fn integration(&mut self, object: &Integration) {
        let (key, known) = (Key::of(object), Known::of(object));
        let line = self.line_or_new(&key);
        let held = line.integration.as_ref();
        if held.is_some_and(|held| held.version > known.version && held.uid == known.uid) {
            return;
        }
        if held.is_none_or(|held| held.generation != known.generation || held.uid != known.uid) {
            // Whatever kept sandboxes from coming about may be mended.
            line.setback = Setback::default();
            line.timer.mend();
            line.reach = Reach::Unweighed;
        }
        if held.is_some_and(|held| held.uid != known.uid) {
            line.timer = Timer::default();
        }
        line.mold = None;
        line.integration = Some(known);
        self.touch(&key);
    }

    /// An Integration that is gone.
    pub fn integration_gone(&mut self, key: &Key, uid: Uid) {
        let line = self.line_or_new(key);
        line.mold = None;
        line.integration.take_if(|known| known.uid == uid);
        self.touch(key);
    }

    /// What sandboxes are made from has changed, or may have.
    fn forget_molds(&mut self) {
        self.lines.values_mut().for_each(|line| line.mold = None);
    }

    /// Every Integration that is known.
    pub fn integrations(&self) -> HashMap<Key, Uid> {
        let known = self.lines.iter();
        known
            .filter_map(|(key, line)| Some((key.clone(), line.integration.as_ref()?.uid)))
            .collect()
    }

    /// Every Execution that is known.
    pub fn executions(&self) -> Vec<Uid> {
        self.runs.keys().chain(self.ended.keys()).copied().collect()
    }

    /// Every sandbox that is known.
    pub fn pods(&self) -> Vec<Uid> {
        self.sandboxes.keys().copied().collect()
    }

    /// A sandbox, as the API server has it now.
    pub fn pod(&mut self, pod: Facts, now: Timestamp) {
        let (uid, line) = (pod.uid, pod.line.clone());
        if self.gone.contains_key(&uid) {
            return;
        }
        match self.sandboxes.get_mut(&uid) {
            Some(held) if held.pod.version > pod.version => return,
            Some(held) => {
                held.update(pod, now);
                if let Some((text, at)) = held.unjudged.take() {
                    self.judge(uid, &text, at);
                }
            }
            None => {
                let mut sandbox = Sandbox::new(pod, now);
                sandbox.claimed = self.holder(&line, uid);
                self.sandboxes.insert(uid, sandbox);
            }
        }
        self.line_or_new(&line).pods.insert(uid);
        self.touch(&line);
        if let Some((opening, _)) = self.strangers.remove(&uid) {
            self.opened(opening, now);
        }
    }

    /// The Execution whose status names this pod.
    fn holder(&self, line: &Key, pod: Uid) -> Option<Uid> {
        let bound = &self.lines.get(line)?.live;
        let names_it = |uid: &&Uid| {
            let run = self.runs.get(*uid);
            run.is_some_and(|run| run.stage.names(pod))
        };
        bound.iter().find(names_it).copied()
    }

    /// A sandbox that is gone.
    pub fn pod_gone(&mut self, uid: Uid, now: Timestamp) {
        let Some(sandbox) = self.sandboxes.remove(&uid) else {
            return;
        };
        self.gone.insert(uid, now);
        let key = sandbox.pod.line.clone();
        self.line_or_new(&key).pods.remove(&uid);
        self.touch(&key);
        let fenced = sandbox.is_fenced();
        let run = sandbox.claimed.and_then(|run| self.runs.get_mut(&run));
        if let Some(run) = run.filter(|run| run.stage.names(uid)) {
            run.silent_since.get_or_insert(now);
            // Nothing has been sent to the sandbox of one that is still being bound.
            if matches!(run.stage, Stage::Binding(_)) {
                return;
            }
            let (run, outcome) = match sandbox.pod.end {
                Some(end) => (run.uid, Outcome::new(end.reason, end.message)),
                // Its command may go on where no kubelet is heard, until it ends itself.
                None if fenced => return,
                None => (run.uid, Outcome::taken(true)),
            };
            self.conclude(run, outcome);
        }
    }

    /// How the sandboxes of a line must be confined; nothing where it asks for less than its tenant
    /// does, so that those that were made before are outdated.
    pub(super) fn confinement(&self, key: &Key) -> Option<Confinement> {
        let landlord = self.tenants.get(&key.namespace)?;
        let terms = self.lines.get(key)?.terms()?;
        Some(Confinement {
            runtime: landlord.boundary(terms.runtime)?,
            user_namespace: self.workshop.user_namespaces,
        })
    }
}
