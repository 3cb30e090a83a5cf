//! The two namespaces that Cloister itself needs.
//!
//! In: nothing. Out: Namespaces. Called by `render.rs`.

use crds::{
    tenant::{Runtime, State},
    well_known::{
        ANYWHERE, DECOY_NAMESPACE, POD_SECURITY_VERSION, REGIONS_ANNOTATION, RUNTIME_ANNOTATION,
        STATE_LABEL, SYSTEM_NAMESPACE, TENANT_LABEL, ZONES_ANNOTATION,
    },
};
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::meta;

/// The namespace of Cloister, and that of the decoy.
pub fn namespaces() -> Vec<Namespace> {
    vec![system(), decoy()]
}

fn system() -> Namespace {
    let description = "Cloister itself: its operator and its canary.";
    restricted(meta::described(
        meta::cluster_scoped(SYSTEM_NAMESPACE),
        description,
    ))
}

/// Stands for another tenant: whatever opens the namespaces of all tenants opens this one,
/// and a probe sees it. The admission policies hold here as in any tenant's namespace.
fn decoy() -> Namespace {
    let mut metadata = meta::described(
        meta::cluster_scoped(DECOY_NAMESPACE),
        "Stands for another tenant, with no network policy: a probe that gets here has found a \
         way between tenants.",
    );
    let state = State::Active.as_str();
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in [(TENANT_LABEL, DECOY_NAMESPACE), (STATE_LABEL, state)] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let annotations = metadata.annotations.get_or_insert_default();
    for (key, value) in [
        (RUNTIME_ANNOTATION, Runtime::Hardened.as_str()),
        (REGIONS_ANNOTATION, ANYWHERE),
        (ZONES_ANNOTATION, ANYWHERE),
    ] {
        annotations.insert(key.to_owned(), value.to_owned());
    }
    restricted(metadata)
}

fn restricted(mut metadata: ObjectMeta) -> Namespace {
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in [
        ("pod-security.kubernetes.io/enforce", "restricted"),
        (
            "pod-security.kubernetes.io/enforce-version",
            POD_SECURITY_VERSION,
        ),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    Namespace {
        metadata,
        ..Namespace::default()
    }
}
