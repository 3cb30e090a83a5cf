//! What is kept of an Integration that asks for egress.

use crds::{Integration, tenant::EgressRule};

use super::Uid;

/// An Integration that asks for egress, and is not on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveIntegration {
    /// Its identity.
    pub uid: Uid,
    /// What it asks for; never empty.
    pub egress: Vec<EgressRule>,
}

impl LiveIntegration {
    /// Boils an Integration down. Nothing of one that has, or is to have, no egress.
    pub fn of(object: &Integration) -> Option<Self> {
        let going = object.metadata.deletion_timestamp.is_some();
        let egress = object.spec.egress.clone();
        (!going && !egress.is_empty()).then(|| Self {
            uid: Uid::of(&object.metadata),
            egress,
        })
    }
}
