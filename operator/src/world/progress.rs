//! How far the watch of each kind has come, and what an answer to a write of ours may tell beside it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::{Concerns, Index, facts, watch::Observed};

/// How far the watch of a kind has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The listing that it follows.
    epoch: u32,
    /// The newest version it has brought.
    horizon: u64,
    /// It is being listed.
    listing: bool,
    /// How many listings have swept.
    swept: Swept,
}

/// How many listings of a kind had swept when a write of ours began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept(u32);

impl Progress {
    pub fn pass(&mut self, meta: &ObjectMeta) {
        self.horizon = self.horizon.max(facts::version(meta));
    }
}

impl Index {
    /// How far the watch of a kind has come.
    pub(super) fn progress<K: Resource<DynamicType = ()>>(&mut self) -> &mut Progress {
        self.progress.entry(K::kind(&()).into_owned()).or_default()
    }

    /// How many listings of a kind have swept.
    pub(super) fn swept<K: Observed>(&self) -> Swept {
        let progress = self.progress.get(&*K::kind(&()));
        progress.map(|progress| progress.swept).unwrap_or_default()
    }

    /// Takes note of an answer to a write of ours, unless the watch is past it already, or a listing
    /// may be: then it may tell of an object that is gone by now, and would never be told so again.
    pub(super) fn own_write<K: Observed>(&mut self, object: &K, since: Swept) -> Concerns {
        let progress = *self.progress::<K>();
        let relisted = progress.listing || progress.swept != since;
        if relisted || facts::version(object.meta()) <= progress.horizon {
            return Concerns::Nobody;
        }
        object.seen(self, progress.epoch)
    }

    /// A listing begins.
    pub(super) fn list<K: Observed>(&mut self, epoch: u32) -> Concerns {
        let progress = self.progress::<K>();
        (progress.epoch, progress.listing) = (epoch, true);
        Concerns::Nobody
    }

    /// A listing is over: what it has not brought, of one namespace or of all, is gone.
    pub(super) fn sweep_listed<K: Observed>(
        &mut self,
        epoch: u32,
        within: Option<&str>,
    ) -> Concerns {
        let progress = self.progress::<K>();
        (progress.listing, progress.swept) = (false, Swept(progress.swept.0.wrapping_add(1)));
        K::swept(self, epoch, within)
    }
}
