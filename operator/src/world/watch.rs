//! Watch streams → facts.
//!
//! One stream a kind, each over the whole cluster where tenants' namespaces have no label
//! that everything in them carries. What is not a tenant's is dropped as it is decoded.

mod kinds;
mod slices;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use crds::Tenant;
use futures::StreamExt;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;

pub use self::slices::LiveSlice;
use super::{Concerns, Index, Stamped, World};

/// A kind that the world keeps facts of.
pub trait Observed: Resource<DynamicType = ()> + Sized {
    /// Takes note of an object as a listing, an event or an answer shows it.
    fn seen(&self, index: &mut Index, epoch: u32) -> Concerns;
    /// Takes note of its end.
    fn gone(&self, index: &mut Index) -> Concerns;
    /// Forgets what the listing `epoch`, of one namespace or of all, has not brought.
    fn swept(index: &mut Index, epoch: u32, namespace: Option<&str>) -> Concerns;
}

/// Puts a fact in, unless a newer one is there. Says whether that changed anything.
fn note<K: Ord, T: PartialEq>(
    map: &mut BTreeMap<K, Stamped<T>>,
    key: K,
    fact: T,
    (version, epoch): (u64, u32),
) -> bool {
    if let Some(held) = map.get_mut(&key) {
        if held.version > version {
            return false;
        }
        held.version = version;
        held.epoch = epoch;
        let changed = held.fact != fact;
        held.fact = fact;
        return changed;
    }
    map.insert(
        key,
        Stamped {
            fact,
            version,
            epoch,
        },
    );
    true
}

/// Takes a fact out, unless a newer one is there.
fn forget<K: Ord, T>(map: &mut BTreeMap<K, Stamped<T>>, key: &K, version: u64) -> bool {
    let outdated = map.get(key).is_some_and(|held| held.version <= version);
    outdated && map.remove(key).is_some()
}

/// Keeps what the listing brought and what is not `of_this_kind`; says whether that was all.
fn keep_listed<K: Ord, T>(
    map: &mut BTreeMap<K, Stamped<T>>,
    epoch: u32,
    of_this_kind: impl Fn(&K) -> bool,
) -> bool {
    let before = map.len();
    map.retain(|key, held| !of_this_kind(key) || held.epoch == epoch);
    map.len() == before
}

fn concerns(changed: bool, tenant: String) -> Concerns {
    if changed {
        Concerns::Tenant(tenant)
    } else {
        Concerns::Nobody
    }
}

/// Follows one kind for ever and keeps its facts in `world`. `synced` is called once, when
/// the first listing is in.
pub async fn follow<K>(api: Api<K>, world: Arc<World>, synced: impl FnOnce())
where
    K: Observed + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let within = api.namespace().map(ToOwned::to_owned);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut synced = Some(synced);
    let mut epoch = 0;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => {
                epoch += 1;
                world.change(|index| {
                    index.progress::<K>().epoch = epoch;
                    Concerns::Nobody
                });
            }
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                world.change(|index| {
                    index.progress::<K>().pass(object.meta());
                    object.seen(index, epoch)
                });
            }
            Ok(watcher::Event::Delete(object)) => world.change(|index| {
                index.progress::<K>().pass(object.meta());
                object.gone(index)
            }),
            Ok(watcher::Event::InitDone) => {
                world.change(|index| K::swept(index, epoch, within.as_deref()));
                if let Some(synced) = synced.take() {
                    synced();
                }
            }
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted"),
        }
    }
}

/// Follows the Tenants themselves, whole, because `status` needs what was said before.
pub async fn follow_tenants(
    client: Client,
    world: Arc<World>,
    mut writer: Writer<Tenant>,
    synced: impl FnOnce(),
) {
    let mut synced = Some(synced);
    let api = Api::<Tenant>::all(client);
    let mut events = std::pin::pin!(
        watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(|tenant| tenant.managed_fields_mut().clear())
    );
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = "Tenant", %error, "watch interrupted");
                continue;
            }
        };
        writer.apply_watcher_event(&event);
        match event {
            watcher::Event::Apply(tenant) | watcher::Event::Delete(tenant) => {
                world.wake(&Concerns::Tenant(ObjectRef::from_obj(&tenant).name));
            }
            watcher::Event::InitDone => {
                world.wake(&Concerns::Everyone);
                if let Some(synced) = synced.take() {
                    synced();
                }
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => {}
        }
    }
}
