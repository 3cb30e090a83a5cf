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

/// Image of probe pods, and of the supervisor in sandboxes.
pub const PROBE_IMAGE: &str = "CLOISTER_PROBE_IMAGE";
/// How often each tenant is probed when nothing changes.
pub const PROBE_INTERVAL: &str = "CLOISTER_PROBE_INTERVAL";
/// Most probes at once, over all tenants.
pub const PROBES_AT_ONCE: &str = "CLOISTER_PROBES_AT_ONCE";
/// `ip:port` outside the cluster that no tenant may reach; empty: not probed.
pub const OUTSIDE_CANARY: &str = "CLOISTER_OUTSIDE_CANARY";
/// Whether pods must be in user namespaces of their own.
pub const USER_NAMESPACES: &str = "CLOISTER_USER_NAMESPACES";
/// Whether the supervisor comes into sandboxes by an image volume.
pub const IMAGE_VOLUMES: &str = "CLOISTER_IMAGE_VOLUMES";
/// Log filter.
pub const LOG: &str = "RUST_LOG";
/// Where traces go. Absent by default, which is off.
pub const TELEMETRY: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Defaults.
pub fn config_map() -> ConfigMap {
    let data = [
        (PROBE_IMAGE, SANDBOX_IMAGE),
        (PROBE_INTERVAL, "5m"),
        (PROBES_AT_ONCE, "8"),
        (OUTSIDE_CANARY, ""),
        (USER_NAMESPACES, "true"),
        (IMAGE_VOLUMES, "true"),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory;

    use super::*;
    use crate::{cli::Cli, render::values};

    /// Environment that the Deployment sets, or that its ports and policies are made for.
    const FIXED: [&str; 4] = [
        "POD_NAME",
        "POD_NAMESPACE",
        "CLOISTER_ADMIN_ADDRESS",
        "CLOISTER_DISPATCH_ADDRESS",
    ];

    /// Default of everything that a person may set, by its variable.
    fn settable() -> BTreeMap<String, String> {
        let cli = Cli::command();
        let operator = cli.find_subcommand("operator").unwrap();
        let settable = operator.get_arguments().filter(|one| !one.is_hide_set());
        settable
            .filter_map(|one| {
                let variable = one.get_env()?.to_str()?.to_owned();
                let default = one.get_default_values().first()?.to_str()?.to_owned();
                (!FIXED.contains(&&*variable)).then_some((variable, default))
            })
            .collect()
    }

    #[test]
    fn the_config_map_holds_every_setting_with_its_default() {
        let mut held = config_map().data.unwrap();
        // Absent stands for empty, because others read this variable too.
        held.insert(TELEMETRY.to_owned(), String::new());
        assert_eq!(held, settable());
    }

    #[test]
    fn the_chart_has_a_value_for_every_setting() {
        let places = values::settings().into_iter().flat_map(|one| one.places);
        let of_settings = places.filter(|place| place.name == SETTINGS);
        let filled: Vec<String> = of_settings.map(|place| place.pointer).collect();
        for variable in settable().into_keys() {
            let place = format!("/data/{variable}");
            assert_eq!(
                filled.iter().filter(|one| **one == place).count(),
                1,
                "{variable}"
            );
        }
    }
}
