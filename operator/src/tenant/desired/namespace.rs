//! The tenant's namespace. Its labels and annotations are what admission decides by.

use crds::{
    tenant::{Residency, Runtime},
    well_known::{
        ANYWHERE, POD_SECURITY_VERSION, REGIONS_ANNOTATION, RUNTIME_ANNOTATION, STATE_LABEL,
        ZONES_ANNOTATION,
    },
};
use k8s_openapi::api::core::v1::Namespace;

use crate::{meta::Owner, names, world::facts::Loss};

/// The namespace in this state (`Active`, `Suspended`, `Terminating`). Every key is always
/// there, with [`ANYWHERE`] where nothing is restricted: a key that came and went would
/// leave room for somebody else's value.
pub fn namespace(
    owner: &Owner,
    state: &str,
    runtime: Runtime,
    residency: Option<&Residency>,
    loss: &Loss,
) -> Namespace {
    let mut metadata = owner.child(None, &names::namespace(&owner.tenant));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(STATE_LABEL.to_owned(), state.to_owned());
    for mode in ["enforce", "audit", "warn"] {
        let key = format!("pod-security.kubernetes.io/{mode}");
        labels.insert(format!("{key}-version"), POD_SECURITY_VERSION.to_owned());
        labels.insert(key, "restricted".to_owned());
    }
    let listed = |names: Option<&Vec<String>>| match names {
        Some(names) if !names.is_empty() => names.join(","),
        _ => ANYWHERE.to_owned(),
    };
    metadata.annotations = Some(
        [
            (RUNTIME_ANNOTATION, runtime.as_str().to_owned()),
            (REGIONS_ANNOTATION, listed(residency.map(|r| &r.regions))),
            (ZONES_ANNOTATION, listed(residency.map(|r| &r.zones))),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .chain(loss.annotations())
        .collect(),
    );
    Namespace {
        metadata,
        ..Namespace::default()
    }
}
