//! What an operator of the cluster may want to set, as environment of the operator.
//!
//! In: defaults. Out: the `ConfigMap` that the operator's Deployment takes its environment
//! from; a kustomize overlay patches it, the chart fills it from values. Read once, at
//! start: after a change, `kubectl -n cloister-system rollout restart deployment`.

use std::collections::BTreeMap;

use crds::well_known::SYSTEM_NAMESPACE;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{SANDBOX_IMAGE, meta};

/// Name of the `ConfigMap`.
pub const SETTINGS: &str = "cloister-settings";

/// Image of probe pods.
pub const PROBE_IMAGE: &str = "CLOISTER_PROBE_IMAGE";
/// How often each tenant is probed when nothing changes.
pub const PROBE_INTERVAL: &str = "CLOISTER_PROBE_INTERVAL";
/// `ip:port` outside the cluster that no tenant may reach; empty: not probed.
pub const OUTSIDE_CANARY: &str = "CLOISTER_OUTSIDE_CANARY";
/// Whether pods must be in user namespaces of their own.
pub const USER_NAMESPACES: &str = "CLOISTER_USER_NAMESPACES";
/// Log filter.
pub const LOG: &str = "RUST_LOG";
/// Where traces go. Absent by default, which is off.
pub const TELEMETRY: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Defaults.
pub fn config_map() -> ConfigMap {
    let data = [
        (PROBE_IMAGE, SANDBOX_IMAGE),
        (PROBE_INTERVAL, "5m"),
        (OUTSIDE_CANARY, ""),
        (USER_NAMESPACES, "true"),
        (LOG, "info"),
    ];
    ConfigMap {
        metadata: meta::namespaced(SYSTEM_NAMESPACE, SETTINGS),
        data: Some(BTreeMap::from(
            data.map(|(key, value)| (key.to_owned(), value.to_owned())),
        )),
        ..ConfigMap::default()
    }
}
