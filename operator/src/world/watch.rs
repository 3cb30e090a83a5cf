//! Watch streams → facts.
//!
//! One stream a kind, each over the whole cluster where tenants' namespaces have no label
//! that everything in them carries. What is not a tenant's is dropped as it is decoded.

mod drills;
mod kinds;
mod slices;
mod storage;

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{Drill, Tenant, Worker, well_known::GROUP};
use futures::StreamExt;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;

pub use self::slices::LiveSlice;
use super::{
    Concerns, Index, Stamped, World,
    pool::Tenants,
    sight::{Health, PATIENCE, Trouble},
    sorted::Sorted,
};

/// Objects of ours in one answer of a listing, which is read whole: even of the largest that tenants may
/// make, a fraction of what the operator has.
const PAGE: u32 = 50;
/// The same of other kinds. At the start all kinds are listed at once, and what is kept of them comes to
/// lie between what is not.
const PAGE_OF_OTHERS: u32 = 100;
/// How long one request watches, in seconds; the next one goes on where it ended. A stream
/// that falls silent is noticed 5 s after its end, by kube; when nobody answers the next
/// request either, that is a failure, by [`deadline`](crate::deadline).
const OPEN: u32 = 60;

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
fn note<K: Ord, T: PartialEq, const FIRST: usize>(
    map: &mut Sorted<K, Stamped<T>, FIRST>,
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
fn forget<K: Ord, T, const FIRST: usize>(
    map: &mut Sorted<K, Stamped<T>, FIRST>,
    key: &K,
    version: u64,
) -> bool {
    let outdated = map.get(key).is_some_and(|held| held.version <= version);
    outdated && map.remove(key).is_some()
}

/// Keeps what the listing brought and what is not `of_this_kind`; says whether that was all.
fn keep_listed<K: Ord, T, const FIRST: usize>(
    map: &mut Sorted<K, Stamped<T>, FIRST>,
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

/// Follows one kind for ever and keeps its facts in `world`, which expects it from now on.
pub fn follow<K>(api: Api<K>, world: Arc<World>) -> impl Future<Output = ()>
where
    K: Observed + Clone + Debug + DeserializeOwned + Send + 'static,
{
    follow_aloud(api, world, |_| {})
}

/// The same for what carries these labels alone.
pub fn follow_labelled<K>(
    api: Api<K>,
    world: Arc<World>,
    labels: &str,
) -> impl Future<Output = ()> + use<K>
where
    K: Observed + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let watch = Watch::of(api, world, Some(labels), PATIENCE);
    keep(watch, |_| {})
}

/// The same, and `hear` is told each event before the world is.
pub fn follow_aloud<K, F>(
    api: Api<K>,
    world: Arc<World>,
    hear: F,
) -> impl Future<Output = ()> + use<K, F>
where
    F: FnMut(&watcher::Event<K>),
    K: Observed + Clone + Debug + DeserializeOwned + Send + 'static,
{
    keep(Watch::new(api, world, PATIENCE), hear)
}

fn keep<K, F>(watch: Watch<K>, mut hear: F) -> impl Future<Output = ()> + use<K, F>
where
    F: FnMut(&watcher::Event<K>),
    K: Observed + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let world = watch.world.clone();
    let within = watch.api.namespace().map(ToOwned::to_owned);
    let mut epoch = 0;
    watch.run(move |event| {
        hear(&event);
        match event {
            watcher::Event::Init => {
                epoch += 1;
                world.change(|index| index.list::<K>(epoch));
            }
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                world.change(|index| {
                    index.progress::<K>().pass(object.meta());
                    object.seen(index, epoch)
                });
            }
            watcher::Event::Delete(object) => world.change(|index| {
                index.progress::<K>().pass(object.meta());
                object.gone(index)
            }),
            watcher::Event::InitDone => {
                world.change(|index| index.sweep_listed::<K>(epoch, within.as_deref()));
            }
        }
    })
}

/// Follows one kind for ever, or what carries these labels, for somebody who keeps it
/// elsewhere; `world` expects it from now on.
pub fn tell<K, F>(
    api: Api<K>,
    world: Arc<World>,
    labels: Option<&str>,
    mut hear: F,
) -> impl Future<Output = ()> + use<K, F>
where
    F: FnMut(watcher::Event<K>),
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let watch = Watch::of(api, world, labels, PATIENCE);
    watch.run(move |event| hear(event.modify(|object| object.meta_mut().managed_fields = None)))
}

/// Follows the Tenants themselves, whole, because `status` needs what was said before. `hear`
/// is told each, too.
pub fn follow_tenants(
    client: Client,
    world: Arc<World>,
    mut writer: Writer<Tenant>,
    mut hear: impl FnMut(&watcher::Event<Tenant>),
) -> impl Future<Output = ()> {
    let watch = Watch::new(Api::<Tenant>::all(client), world.clone(), PATIENCE);
    let mut pool = Tenants::default();
    watch.run(move |event| {
        let event = event.modify(|tenant| {
            pool.settle(tenant);
        });
        writer.apply_watcher_event(&event);
        hear(&event);
        match event {
            watcher::Event::Apply(tenant) | watcher::Event::Delete(tenant) => {
                world.wake(&Concerns::Tenant(ObjectRef::from_obj(&tenant).name));
            }
            watcher::Event::InitDone => world.wake(&Concerns::Everyone),
            watcher::Event::Init | watcher::Event::InitApply(_) => {}
        }
    })
}

/// A kind whose room needs its objects whole, because `status` needs what was said before.
pub trait Whole:
    Observed + Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Has one looked at, as it is now in its store.
    fn wake(&self, world: &World);
    /// Has all of them looked at.
    fn wake_all(world: &World);
}

impl Whole for Worker {
    fn wake(&self, world: &World) {
        world.wake_worker(self);
    }
    fn wake_all(world: &World) {
        world.wake_workers(&Concerns::Everyone);
    }
}

impl Whole for Drill {
    fn wake(&self, world: &World) {
        world.wake_drill(self);
    }
    fn wake_all(world: &World) {
        world.wake_drills(&Concerns::Everyone);
    }
}

/// Follows a kind: whole in its store, and boiled down for the boundary of the tenants.
pub fn follow_whole<K: Whole>(
    client: Client,
    world: Arc<World>,
    mut writer: Writer<K>,
) -> impl Future<Output = ()> {
    let told = world.clone();
    follow_aloud(Api::<K>::all(client), world, move |event| {
        let event = event.clone();
        writer.apply_watcher_event(&event);
        match event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => object.wake(&told),
            watcher::Event::InitDone => K::wake_all(&told),
            watcher::Event::Init | watcher::Event::InitApply(_) => {}
        }
    })
}

/// Takes from an object of a kind of ours what anybody may have written beside it, which may be large and
/// is never read: `kubectl apply` alone leaves the whole spec in an annotation.
fn slim<K: Resource<DynamicType = ()>>(object: &mut K) {
    if K::group(&()) != GROUP {
        return;
    }
    let meta = object.meta_mut();
    (meta.managed_fields, meta.annotations) = (None, None);
}

/// One watch, and how it fares.
struct Watch<K> {
    api: Api<K>,
    world: Arc<World>,
    /// Kind, and namespace or labels if it is about those alone.
    name: String,
    labels: Option<String>,
    health: Health,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    fn new(api: Api<K>, world: Arc<World>, patience: Duration) -> Self {
        Self::of(api, world, None, patience)
    }

    fn of(api: Api<K>, world: Arc<World>, labels: Option<&str>, patience: Duration) -> Self {
        let kind = K::kind(&());
        let name = match (api.namespace(), labels) {
            (Some(namespace), _) => format!("{kind} in {namespace}"),
            (None, Some(labels)) => format!("{kind} with {labels}"),
            (None, None) => kind.into_owned(),
        };
        world.sight().expect(&name);
        Self {
            api,
            world,
            name,
            labels: labels.map(ToOwned::to_owned),
            health: Health::new(patience),
        }
    }

    async fn run(mut self, mut take: impl FnMut(watcher::Event<K>)) {
        'listing: loop {
            let page = if K::group(&()) == GROUP {
                PAGE
            } else {
                PAGE_OF_OTHERS
            };
            let mut config = watcher::Config::default().timeout(OPEN).page_size(page);
            config.label_selector.clone_from(&self.labels);
            let mut events = std::pin::pin!(watcher(self.api.clone(), config).default_backoff());
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        // A listing that has begun may fail yet.
                        let listing =
                            matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
                        take(event.modify(slim));
                        if !listing && self.health.well() {
                            self.world.sees(&self.name);
                        }
                    }
                    Err(error) => {
                        if self.failed(&error) == Trouble::Doubtful {
                            continue 'listing;
                        }
                    }
                }
            }
            return;
        }
    }

    fn failed(&mut self, error: &watcher::Error) -> Trouble {
        let (trouble, watch) = (self.health.failed(Instant::now()), &self.name);
        match trouble {
            Trouble::Begins => tracing::warn!(watch, %error, "watch interrupted"),
            Trouble::GoesOn => tracing::debug!(watch, %error, "watch interrupted"),
            Trouble::Doubtful => tracing::warn!(watch, %error, "watch interrupted; listing anew"),
            Trouble::Lost => self.world.loses(watch, error),
        }
        trouble
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicBool, Ordering},
    };

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Node;
    use kube::{client::Body, runtime::reflector};
    use serde_json::json;

    use super::*;
    use crate::deadline;

    /// An API server that lists no node, and nothing at all while it is `broken`; it lets
    /// nobody watch.
    fn server(broken: &Arc<AtomicBool>) -> Client {
        let broken = broken.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let watches = request.uri().query().unwrap_or_default().contains("watch=");
            let (code, answer) = if watches || broken.load(Ordering::Relaxed) {
                (
                    500,
                    json!({"status": "Failure", "code": 500, "message": "no"}),
                )
            } else {
                let metadata = json!({"resourceVersion": "7"});
                (
                    200,
                    json!({"kind": "NodeList", "apiVersion": "v1", "metadata": metadata, "items": []}),
                )
            };
            let body = Body::from(answer.to_string().into_bytes());
            let answer = Response::builder().status(code).body(body).unwrap();
            async move { Ok::<_, Infallible>(answer) }
        });
        Client::new(service, "default")
    }

    /// Waits until sight is as it must be.
    async fn until(world: &World, lost: &[&str], clear: bool) {
        let sight = world.sight();
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while sight.lost() != lost || sight.is_clear() != clear {
            tick.tick().await;
        }
    }

    #[test]
    fn of_ours_nothing_is_kept_that_others_write_beside_the_object() {
        let metadata = json!({"name": "x", "namespace": "tenant-x", "managedFields": [{"manager": "me"}],
            "annotations": {"cloister.dev/lost": "a", "kubectl.kubernetes.io/last-applied": "b"}});
        let mut drill: Drill =
            serde_json::from_value(json!({"apiVersion": "cloister.dev/v1alpha1",
            "kind": "Drill", "metadata": metadata, "spec": {"type": "ZoneLoss"}}))
            .unwrap();
        slim(&mut drill);
        assert_eq!(drill.metadata.managed_fields, None);
        assert_eq!(drill.metadata.annotations, None);
        // Who changed one of ours is read there.
        let mut node: Node = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        slim(&mut node);
        assert!(node.metadata.managed_fields.is_some());
        assert_eq!(node.metadata.annotations.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_watch_that_nobody_answers_is_lost() {
        let (store, _) = reflector::store();
        let world = Arc::new(World::new(store));
        let silent = tower::service_fn(async |_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>().await
        });
        let client = Client::new(silent, "default");
        let api = Api::<Node>::all(deadline::around(client, Duration::from_millis(10)));
        let watched = async {
            tokio::select! {
                () = Watch::new(api, world.clone(), Duration::ZERO).run(|_| {}) => panic!("a watch never ends"),
                () = until(&world, &["Node"], false) => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(30), watched)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_watch_that_fails_for_long_is_lost_until_its_next_listing() {
        let (store, _) = reflector::store();
        let world = Arc::new(World::new(store));
        let broken = Arc::new(AtomicBool::new(true));
        let api = Api::<Node>::all(server(&broken));
        let watch = Watch::new(api, world.clone(), Duration::ZERO);
        assert_eq!(world.sight().missing(), ["Node"]);
        let told = async {
            until(&world, &["Node"], false).await;
            broken.store(false, Ordering::Relaxed);
            until(&world, &[], true).await;
            broken.store(true, Ordering::Relaxed);
            until(&world, &["Node"], false).await;
            broken.store(false, Ordering::Relaxed);
            until(&world, &[], true).await;
        };
        let watched = async {
            tokio::select! {
                () = watch.run(|_| {}) => panic!("a watch never ends"),
                () = told => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(30), watched)
            .await
            .unwrap();
    }
}
