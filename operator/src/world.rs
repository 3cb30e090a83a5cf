//! What the cluster looks like, in memory: reads only, filled by the watches.
//!
//! In: watch events ([`watch`]) and the answers to our own writes. Out: cheap snapshots
//! for `gather`, and the names of the tenants that an event concerns. An older answer
//! never replaces a newer one, so the order in which the two arrive does not matter.

mod addresses;
pub mod facts;
pub mod pool;
mod progress;
pub mod sight;
mod sorted;
mod surroundings;
mod wakes;
pub mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crds::{Drill, Tenant, Worker};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Resource, ResourceExt,
    runtime::reflector::{self, Store},
};
use tokio::sync::watch as told;

use self::{
    addresses::Addresses,
    facts::{Child, ChildKind, Cluster, LiveChild, PolicyTerms, Uid},
    pool::Pool,
    progress::Progress,
    sight::Sight,
    wakes::Wakes,
};
pub use self::{progress::Swept, surroundings::Surroundings};
use crate::names;

/// A fact, how new it is, and the listing in which it was last seen: a new listing
/// sweeps out what it did not bring.
#[derive(Clone, Debug)]
pub struct Stamped<T> {
    /// What is known.
    pub fact: T,
    version: u64,
    epoch: u32,
}

/// Whom an event concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concerns {
    /// Nobody: it told nothing new.
    Nobody,
    /// One tenant, with its Workers.
    Tenant(String),
    /// One tenant, and none of its Workers.
    TenantAlone(String),
    /// All of them.
    Everyone,
}

/// Zones that Drills take from tenants, by namespace; of most there is none.
pub type Lost = HashMap<String, BTreeSet<Box<str>>>;

/// Facts by tenant. Only the watches and the [`World`] reach into it.
#[derive(Debug, Default)]
pub struct Index {
    tenants: HashMap<String, Arc<Surroundings>>,
    /// Probe pods that have not ended yet, by tenant and name: kept beside the facts,
    /// because every pass of every tenant asks how many there are.
    probing: HashSet<(String, Box<str>)>,
    /// The tenant that a volume is kept with.
    volumes: HashMap<Box<str>, String>,
    /// Names of children and of policies, of which most tenants have the same.
    names: Pool<str>,
    /// What policies say.
    terms: Pool<PolicyTerms>,
    cluster: Arc<Cluster>,
    lost: Arc<Lost>,
    /// Endpoint slices, by namespace and name: what the shared addresses are made from.
    slices: BTreeMap<(String, String), watch::LiveSlice>,
    /// Version of the slice that sandboxes dial, while there is one.
    dialled: told::Sender<Option<u64>>,
    /// Whose pod has which address.
    addresses: Addresses,
    /// When the shared objects were last listed, by kind and name.
    listed: HashMap<(String, String), u32>,
    /// By kind.
    progress: HashMap<String, Progress>,
}

/// The cluster in memory.
#[derive(Debug)]
pub struct World {
    index: RwLock<Index>,
    tenants: Store<Tenant>,
    workers: Store<Worker>,
    drills: Store<Drill>,
    wakes: Wakes,
    /// Probes that are being posted and not in the index yet.
    posting: Mutex<usize>,
    sight: Sight,
}

/// Room for one probe, from before it is posted until it is in the index.
#[derive(Debug)]
pub struct ProbeSlot<'a>(&'a Mutex<usize>);

impl Drop for ProbeSlot<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

impl World {
    /// An empty world around the store that the Tenant watch fills, without Workers and Drills.
    pub fn new(tenants: Store<Tenant>) -> Self {
        Self::with(tenants, reflector::store().0, reflector::store().0)
    }

    /// The same with the stores that the watches of these fill.
    pub fn with(tenants: Store<Tenant>, workers: Store<Worker>, drills: Store<Drill>) -> Self {
        Self {
            index: RwLock::default(),
            tenants,
            workers,
            drills,
            wakes: Wakes::default(),
            posting: Mutex::default(),
            sight: Sight::default(),
        }
    }

    /// How much of the cluster can be seen.
    pub const fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Every Tenant.
    pub const fn tenants(&self) -> &Store<Tenant> {
        &self.tenants
    }

    /// Every Worker.
    pub const fn workers(&self) -> &Store<Worker> {
        &self.workers
    }

    /// Zones that Drills take from tenants now.
    pub fn lost(&self) -> Arc<Lost> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.lost.clone()
    }

    /// Every Drill.
    pub const fn drills(&self) -> &Store<Drill> {
        &self.drills
    }

    /// What is known of a tenant's namespace.
    pub fn surroundings(&self, tenant: &str) -> Arc<Surroundings> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.tenants.get(tenant).cloned().unwrap_or_default()
    }

    /// What every tenant shares.
    pub fn cluster(&self) -> Arc<Cluster> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.cluster.clone()
    }

    /// The tenant whose pod has this address, as far as the watch has brought it.
    pub fn tenant_at(&self, address: IpAddr) -> Option<Box<str>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.addresses.tenant_at(address)
    }

    /// The version of the slice that sandboxes dial, as it changes; none while there is no slice.
    pub fn dialled(&self) -> told::Receiver<Option<u64>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.dialled.subscribe()
    }

    /// Probe pods that have not ended yet, of all tenants.
    pub fn probes_under_way(&self) -> usize {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.probing.len()
    }

    /// Room for one more probe, if `at_once` allows one. Passes that run side by side have
    /// all counted the same; here they are let through one by one.
    pub fn probe_slot(&self, at_once: usize) -> Option<ProbeSlot<'_>> {
        let mut posting = self.posting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.probes_under_way() + *posting >= at_once {
            return None;
        }
        *posting += 1;
        Some(ProbeSlot(&self.posting))
    }

    /// What is known of one child.
    pub fn child<K: Child>(&self, tenant: &str, name: &str) -> Option<LiveChild> {
        let around = self.surroundings(tenant);
        let stamped = around.children.get(&(K::KIND, name.into()))?;
        Some(stamped.fact.clone())
    }

    /// How many listings of a kind have swept: asked before a write whose answer is to be noted.
    pub fn swept<K: watch::Observed>(&self) -> Swept {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.swept::<K>()
    }

    /// Takes note of what the server answered to a write of ours that began `since`, ahead of the
    /// watch.
    pub fn record<K: Child + watch::Observed>(&self, object: &K, since: Swept) {
        self.change(|index| index.own_write(object, since));
    }

    /// The same for a pod.
    pub fn record_pod(&self, pod: &Pod, since: Swept) {
        self.change(|index| index.own_write(pod, since));
    }

    /// Takes note that a policy of ours is deleted, ahead of the watch: what is on its way out
    /// is not to be taken for somebody else's.
    pub fn record_withdrawn(&self, tenant: &str, name: &str, uid: Uid) {
        self.change(|index| {
            let around = index.around(tenant);
            let held = around.policies.get(name);
            if held.is_some_and(|held| held.fact.uid == uid) {
                around.policies.remove(name);
                around
                    .children
                    .remove(&(ChildKind::NetworkPolicy, name.into()));
            }
            index.forget_empty(tenant);
            Concerns::Nobody
        });
    }

    /// Takes note of an object as a listing brings it.
    #[cfg(test)]
    pub fn see(&self, object: &impl watch::Observed) {
        self.change(|index| object.seen(index, 1));
    }

    /// Takes note of the end of an object as a watch brings it.
    #[cfg(test)]
    pub fn lose(&self, object: &impl watch::Observed) {
        self.change(|index| object.gone(index));
    }

    /// Takes note that the watch of a kind has come as far as this object.
    #[cfg(test)]
    pub fn pass<K: watch::Observed>(&self, object: &K) {
        self.change(|index| {
            index.progress::<K>().pass(object.meta());
            Concerns::Nobody
        });
    }

    /// Takes note that a watch brings what it should.
    fn sees(&self, watch: &str) {
        if self.sight.clear(watch) {
            tracing::info!(watch, "seen again");
            self.wake(&Concerns::Everyone);
        }
    }

    /// Takes note that a watch has failed for long: nobody's status is true any more.
    fn loses(&self, watch: &str, error: &impl std::fmt::Display) {
        tracing::error!(watch, %error, "lost sight: the watch has failed for long");
        self.sight.lose(watch);
        self.wake(&Concerns::Everyone);
    }

    /// Changes the index, then wakes whom the change concerns.
    fn change(&self, change: impl FnOnce(&mut Index) -> Concerns) {
        let concerns = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut index)
        };
        self.wake(&concerns);
    }
}

impl Index {
    fn around(&mut self, tenant: &str) -> &mut Surroundings {
        let around = self.tenants.entry(tenant.to_owned()).or_default();
        Arc::make_mut(around)
    }

    /// Drops every fact for which `keep` says no, and tenants of which nothing is left.
    fn sweep(&mut self, mut keep: impl FnMut(&mut Surroundings) -> bool) -> Concerns {
        let mut changed = Vec::new();
        for (tenant, around) in &mut self.tenants {
            if !keep(Arc::make_mut(around)) {
                changed.push(tenant.clone());
            }
        }
        self.tenants.retain(|_, around| !around.is_empty());
        match changed.as_slice() {
            [] => Concerns::Nobody,
            [one] => Concerns::Tenant(one.clone()),
            _ => Concerns::Everyone,
        }
    }

    /// Takes note of whether a pod is a probe under way, by what is known of it by now.
    fn tally(&mut self, tenant: String, pod: Box<str>) {
        let around = self.tenants.get(&tenant);
        let held = around.and_then(|around| around.pods.get(&pod));
        if held.is_some_and(|held| held.fact.probe.is_some() && !held.fact.finished) {
            self.probing.insert((tenant, pod));
        } else {
            self.probing.remove(&(tenant, pod));
        }
    }

    /// The same for every probe that was under way, once a listing has swept.
    fn tally_anew(&mut self) {
        for (tenant, pod) in std::mem::take(&mut self.probing) {
            self.tally(tenant, pod);
        }
    }

    /// Notes that a shared object was in the listing `epoch`.
    fn listed<K: Resource<DynamicType = ()>>(&mut self, name: &str, epoch: u32) {
        let key = (K::kind(&()).into_owned(), name.to_owned());
        self.listed.insert(key, epoch);
    }

    /// Notes that a shared object is gone.
    fn unlist<K: Resource<DynamicType = ()>>(&mut self, name: &str) {
        let key = (K::kind(&()).into_owned(), name.to_owned());
        self.listed.remove(&key);
    }

    /// Shared objects of a kind that the listing `epoch` has not brought; forgets them.
    fn unlisted<K: Resource<DynamicType = ()>>(&mut self, epoch: u32) -> Vec<String> {
        let kind = K::kind(&());
        let outdated = self
            .listed
            .extract_if(|key, seen| key.0 == kind && *seen != epoch);
        outdated.map(|((_, name), _)| name).collect()
    }

    /// Drops a tenant of which nothing is left.
    fn forget_empty(&mut self, tenant: &str) {
        if self.tenants.get(tenant).is_some_and(|held| held.is_empty()) {
            self.tenants.remove(tenant);
        }
    }

    /// The tenant that a namespaced object lies with, if with any.
    fn tenant_of(object: &impl ResourceExt) -> Option<String> {
        let namespace = object.meta().namespace.as_deref()?;
        names::tenant_of_namespace(namespace).map(ToOwned::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use crds::{Integration, well_known};
    use k8s_openapi::{
        api::{
            core::v1::ServiceAccount, discovery::v1::EndpointSlice, networking::v1::NetworkPolicy,
        },
        apimachinery::pkg::apis::meta::v1::Time,
    };
    use kube::runtime::reflector;
    use serde_json::json;

    use super::{watch::Observed, *};

    fn account(version: u32) -> ServiceAccount {
        let meta = json!({
            "name": well_known::SANDBOX_SERVICE_ACCOUNT, "namespace": "tenant-a",
            "uid": "1", "resourceVersion": version.to_string(),
        });
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    fn known(index: &Index) -> bool {
        index
            .tenants
            .get("a")
            .is_some_and(|around| !around.children.is_empty())
    }

    #[test]
    fn an_answer_that_comes_after_the_end_of_its_object_brings_nothing_back() {
        let mut index = Index::default();
        index
            .progress::<ServiceAccount>()
            .pass(&account(8).metadata);
        index.own_write(&account(7), Swept::default());
        assert!(!known(&index));
        index.own_write(&account(9), Swept::default());
        assert!(known(&index));
    }

    #[test]
    fn an_answer_that_comes_in_or_after_a_listing_that_began_later_brings_nothing_back() {
        let (store, _) = reflector::store();
        let world = World::new(store);
        let known = || !world.surroundings("a").children.is_empty();
        let before = world.swept::<ServiceAccount>();
        world.change(|index| index.list::<ServiceAccount>(1));
        world.record(&account(9), before);
        assert!(!known(), "the listing may have been read after its end");
        world.change(|index| index.sweep_listed::<ServiceAccount>(1, None));
        world.record(&account(9), before);
        assert!(!known(), "the listing did not bring it");
        world.record(&account(9), world.swept::<ServiceAccount>());
        assert!(known());
    }

    #[test]
    fn what_we_wrote_goes_when_a_later_listing_does_not_bring_it() {
        let mut index = Index::default();
        index.own_write(&account(9), Swept::default());
        ServiceAccount::swept(&mut index, 1, None);
        assert!(!known(&index));
        let (store, _) = reflector::store();
        let world = World::new(store);
        assert!(world.surroundings("a").children.is_empty());
    }

    fn probe(name: &str, version: u32, phase: &str) -> Pod {
        let labels = json!({well_known::ROLE_LABEL: well_known::ROLE_PROBE});
        let meta = json!({
            "name": name, "namespace": "tenant-a", "uid": name, "labels": labels,
            "resourceVersion": version.to_string(),
            "ownerReferences": [{"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
                "name": "a", "uid": "1", "controller": true}],
        });
        serde_json::from_value(json!({"metadata": meta, "status": {"phase": phase}})).unwrap()
    }

    #[test]
    fn counts_the_probes_that_have_not_ended() {
        let (store, _) = reflector::store();
        let world = World::new(store);
        let (a, b) = ("cloister-probe-a", "cloister-probe-b");
        let seen = |pod: &Pod, epoch: u32| {
            world.change(|index| pod.seen(index, epoch));
            world.probes_under_way()
        };
        assert_eq!(seen(&probe(a, 1, "Pending"), 1), 1);
        assert_eq!(seen(&probe(a, 2, "Running"), 1), 1, "it is the same");
        assert_eq!(seen(&probe(b, 3, "Running"), 1), 2);
        assert_eq!(seen(&probe(a, 4, "Succeeded"), 1), 1);
        assert_eq!(seen(&probe(a, 2, "Running"), 1), 1, "it is old news");
        world.lose(&probe(b, 5, "Running"));
        assert_eq!(world.probes_under_way(), 0);

        assert_eq!(seen(&probe(b, 6, "Running"), 1), 1);
        world.change(|index| Pod::swept(index, 2, None));
        assert_eq!(world.probes_under_way(), 0, "a listing did not bring it");
    }

    #[test]
    fn a_policy_that_we_withdrew_is_known_no_more_and_another_one_of_its_name_is() {
        let policy = |uid: &str, version: u32| -> NetworkPolicy {
            let meta = json!({"name": "cloister-egress-a", "namespace": "tenant-a", "uid": uid,
                "resourceVersion": version.to_string()});
            serde_json::from_value(json!({"metadata": meta})).unwrap()
        };
        let (store, _) = reflector::store();
        let world = World::new(store);
        world.see(&policy("1", 7));
        let (one, other) = (Uid::parse("1"), Uid::parse("2"));
        world.record_withdrawn("a", "cloister-egress-a", other);
        assert_eq!(world.surroundings("a").policies.len(), 1);
        world.record_withdrawn("a", "cloister-egress-a", one);
        let around = world.surroundings("a");
        assert!(around.policies.is_empty() && around.children.is_empty());
        world.record_withdrawn("b", "cloister-egress-a", one);
        world.see(&policy("2", 9));
        assert_eq!(world.surroundings("a").children.len(), 1);
    }

    fn asking(version: u32, egress: &serde_json::Value) -> Integration {
        let meta = json!({"name": "hello", "namespace": "tenant-a", "uid": "1",
            "resourceVersion": version.to_string()});
        let spec = json!({"image": "a", "command": ["/a"], "egress": egress});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    #[test]
    fn keeps_the_integrations_that_ask_for_egress_and_no_other() {
        let (store, _) = reflector::store();
        let world = World::new(store);
        let some = json!([{"cidr": "203.0.113.0/24", "ports": [{"port": 443}]}]);
        let known = || world.surroundings("a").integrations.len();
        world.see(&asking(1, &json!([])));
        assert_eq!(known(), 0);
        world.see(&asking(2, &some));
        assert_eq!(known(), 1);
        world.see(&asking(3, &json!([])));
        assert_eq!(known(), 0, "it asks no more");
        world.see(&asking(4, &some));
        let mut going = asking(5, &some);
        going.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        world.see(&going);
        assert_eq!(known(), 0, "it is going");
        world.see(&asking(6, &some));
        world.change(|index| Integration::swept(index, 2, None));
        assert_eq!(known(), 0, "a listing did not bring it");
    }

    fn decoy(version: u32, ready: bool) -> EndpointSlice {
        let (namespace, service) = (well_known::DECOY_NAMESPACE, well_known::DECOY);
        let slice = json!({
            "metadata": {"name": service, "namespace": namespace,
                "resourceVersion": version.to_string(),
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [{"port": 7003}],
            "endpoints": [{"addresses": ["198.51.100.2"], "conditions": {"ready": ready}}],
        });
        serde_json::from_value(slice).unwrap()
    }

    #[test]
    fn a_decoy_that_was_away_is_not_the_one_that_it_was() {
        let (store, _) = reflector::store();
        let world = World::new(store);
        let known = |slice: EndpointSlice| {
            world.see(&slice);
            world.cluster()
        };
        let before = known(decoy(5, true));
        assert_eq!(known(decoy(5, true)), before, "nothing happened");
        assert!(known(decoy(6, false)).decoys.is_empty());
        let after = known(decoy(7, true));
        assert_eq!(after.decoys, before.decoys);
        assert_ne!(after.decoys_version, before.decoys_version);
    }
}
