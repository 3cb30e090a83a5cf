//! Whether Kubernetes counts Cloister's kinds for quotas.
//!
//! In: what the watch of quotas brings of one that is Cloister's own. Out: that quota, made anew
//! until it is counted.
//!
//! A quota that names a kind lets none of it in before that kind is counted, and Kubernetes learns of
//! a new kind only within 30 s. A quota that was made before then is counted no sooner than 5 minutes
//! later (kube-controller-manager, `resourcequota-controller`). So the first Integration of a Tenant
//! that was made straight after the installation would be refused for so long. Therefore nobody is
//! ready, and no Tenant is looked after, before the kinds are counted. They are for good: who comes
//! later finds the quota as it is.
//!
//! Every replica makes it, leading or not: in an upgrade that brings a kind, the new ones must become
//! ready before the old leader goes, which knows nothing of that kind.

use std::time::Duration;

use crds::well_known::{COUNTED, COUNTS, MANAGED_BY_LABEL, MANAGER, SYSTEM_NAMESPACE};
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaSpec},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::{Client, runtime::watcher};
use tokio::sync::watch::{Receiver, Sender};

use crate::{apply, error::Error, world::facts::Uid};

/// A quota that is not counted, and that nobody has changed for so long, is made anew.
const AGAIN: Duration = Duration::from_secs(3);

/// What is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counts {
    /// Nothing yet.
    #[default]
    Unseen,
    /// There is no such quota.
    Absent,
    /// There is one that is not counted.
    Awaited(Uid),
    /// The kinds are counted.
    Known,
}

impl Counts {
    fn of(quota: &ResourceQuota) -> Self {
        let used = quota
            .status
            .as_ref()
            .and_then(|status| status.used.as_ref());
        let counted = |kind: &&str| used.is_some_and(|used| used.contains_key(*kind));
        if COUNTED.iter().all(counted) {
            Self::Known
        } else {
            Self::Awaited(Uid::of(&quota.metadata))
        }
    }
}

/// Takes note of what the watch of quotas brings.
pub fn hear(counts: &Sender<Counts>, event: &watcher::Event<ResourceQuota>) {
    let is_it = |quota: &ResourceQuota| {
        let meta = &quota.metadata;
        meta.name.as_deref() == Some(COUNTS) && meta.namespace.as_deref() == Some(SYSTEM_NAMESPACE)
    };
    let now = match event {
        watcher::Event::Apply(quota) | watcher::Event::InitApply(quota) if is_it(quota) => {
            Counts::of(quota)
        }
        watcher::Event::Delete(quota) if is_it(quota) => Counts::Absent,
        watcher::Event::InitDone if *counts.borrow() == Counts::Unseen => Counts::Absent,
        _ => return,
    };
    counts.send_if_modified(|held| {
        let is_news = *held != Counts::Known && *held != now;
        if is_news {
            *held = now;
        }
        is_news
    });
}

/// Returns once the kinds are counted.
pub async fn known(mut counts: Receiver<Counts>) {
    until(&mut counts, |now| *now == Counts::Known).await;
}

/// Makes the quota, again and again, until the kinds are counted; then returns.
pub async fn settle(client: &Client, mut counts: Receiver<Counts>) {
    until(&mut counts, |now| *now != Counts::Unseen).await;
    loop {
        let seen = *counts.borrow_and_update();
        let tried = match seen {
            Counts::Known => return,
            Counts::Absent => apply::create(client, &quota()).await.map(drop),
            Counts::Unseen | Counts::Awaited(_) => Ok(()),
        };
        let changed = until(&mut counts, |now| *now != seen);
        let waited = tokio::time::timeout(AGAIN, changed).await.is_err();
        let tried = match seen {
            Counts::Awaited(uid) if waited => take_away(client, uid).await,
            _ => tried,
        };
        if let Err(error) = tried {
            tracing::warn!(%error, "failed to make the quota that shows what Kubernetes counts");
        }
    }
}

/// Whoever sees that it is gone makes another.
async fn take_away(client: &Client, uid: Uid) -> Result<(), Error> {
    tracing::info!(
        "waiting until Kubernetes counts Cloister's kinds for quotas; it looks for new ones every \
         30 s"
    );
    apply::delete::<ResourceQuota>(client, &quota().metadata, uid, None).await
}

async fn until(counts: &mut Receiver<Counts>, is_so: impl FnMut(&Counts) -> bool) {
    // Whoever hears of it ends with who watches.
    if counts.wait_for(is_so).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Counts Cloister's kinds where none of them belongs.
fn quota() -> ResourceQuota {
    let none = |kind: &str| (kind.to_owned(), Quantity("0".to_owned()));
    ResourceQuota {
        metadata: ObjectMeta {
            name: Some(COUNTS.to_owned()),
            namespace: Some(SYSTEM_NAMESPACE.to_owned()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(ResourceQuotaSpec {
            hard: Some(COUNTED.map(none).into()),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuotaStatus;
    use serde_json::json;
    use tokio::sync::watch::channel;

    use super::*;
    use crate::recording::{Recording, UID};

    const OTHER: &str = "00000000-0000-4000-8000-0000000000ff";

    fn seen(uid: &str, used: &[&str]) -> ResourceQuota {
        let mut quota = quota();
        quota.metadata.uid = Some(uid.to_owned());
        let used = used
            .iter()
            .map(|kind| ((*kind).to_owned(), Quantity("0".to_owned())));
        quota.status = Some(ResourceQuotaStatus {
            hard: None,
            used: Some(used.collect()),
        });
        quota
    }

    #[test]
    fn it_is_known_when_each_kind_is_counted_and_stays_so() {
        let (counts, now) = channel(Counts::default());
        hear(&counts, &watcher::Event::Init);
        assert_eq!(*now.borrow(), Counts::Unseen);
        hear(&counts, &watcher::Event::InitDone);
        assert_eq!(*now.borrow(), Counts::Absent);
        let awaited = Counts::Awaited(Uid::parse(UID));
        hear(&counts, &watcher::Event::InitApply(seen(UID, &[])));
        assert_eq!(*now.borrow(), awaited);
        hear(&counts, &watcher::Event::Apply(seen(UID, &COUNTED[1..])));
        assert_eq!(*now.borrow(), awaited);
        hear(&counts, &watcher::Event::InitDone);
        assert_eq!(*now.borrow(), awaited);
        hear(&counts, &watcher::Event::Delete(seen(UID, &[])));
        assert_eq!(*now.borrow(), Counts::Absent);
        // Of a tenant's, it says nothing.
        let mut other = seen(UID, &COUNTED);
        other.metadata.namespace = Some("tenant-acme".to_owned());
        hear(&counts, &watcher::Event::Apply(other));
        assert_eq!(*now.borrow(), Counts::Absent);
        hear(&counts, &watcher::Event::Apply(seen(UID, &COUNTED)));
        assert_eq!(*now.borrow(), Counts::Known);
        hear(&counts, &watcher::Event::Delete(seen(UID, &COUNTED)));
        assert_eq!(*now.borrow(), Counts::Known);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_made_anew_until_it_is_counted_and_not_any_more() {
        let tenant = json!({"metadata": {"name": "acme", "uid": UID}, "spec": {"members": []}});
        let tenant = serde_json::from_value(tenant).unwrap();
        let server = Recording::of(&tenant);
        let client = server.context(&tenant).client;
        let (counts, now) = channel(Counts::default());
        let path = "/api/v1/namespaces/cloister-system/resourcequotas";
        let post = format!("POST {path}");
        let written = async |pause: Duration| {
            let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
            let writes = server.take().into_iter();
            writes.map(|write| write.what).collect::<Vec<_>>()
        };
        let seen_by_others = async {
            assert_eq!(written(AGAIN).await, [""; 0], "nothing is known");
            hear(&counts, &watcher::Event::InitDone);
            assert_eq!(written(AGAIN / 2).await, [&*post]);
            hear(&counts, &watcher::Event::Apply(seen(UID, &[])));
            assert_eq!(written(AGAIN / 2).await, [""; 0]);
            // Another replica has just made it anew.
            hear(&counts, &watcher::Event::Apply(seen(OTHER, &[])));
            assert_eq!(written(AGAIN / 2).await, [""; 0]);
            let delete = format!("DELETE {path}/{COUNTS}");
            assert_eq!(written(AGAIN).await, [&*delete]);
            hear(&counts, &watcher::Event::Delete(seen(OTHER, &[])));
            assert_eq!(written(AGAIN / 2).await, [&*post]);
            hear(&counts, &watcher::Event::Apply(seen(UID, &COUNTED)));
        };
        tokio::join!(
            settle(&client, now.clone()),
            known(now.clone()),
            seen_by_others
        );
        settle(&client, now).await;
        assert_eq!(written(AGAIN).await, [""; 0]);
    }
}
