//! Install manifests: everything that is applied once, before the first Tenant.
//!
//! In: nothing but the types and names of `crds` and the rights of [`crate::rules`].
//! Out: text files, by [`files`] (pure) or on disk by [`to_folder`]. Called by `main.rs`
//! (`cloister render`) and by `tests/golden.rs`.

mod admission;
mod canary;
mod chart;
mod flow;
mod meta;
mod namespaces;
mod network;
mod operator;
mod priority;
mod roles;
mod settings;
mod values;
mod workload;
mod yaml;

use std::{collections::BTreeMap, fs, io, path::Path};

use serde_json::Value;

/// Image of the operator, until an overlay or a chart value names another.
pub const OPERATOR_IMAGE: &str = "localhost/cloister/operator:dev";
/// Image of canary and decoy, and of probe pods.
pub const SANDBOX_IMAGE: &str = "localhost/cloister/sandbox:dev";

/// Objects of one file, under the file's name.
struct Manifest {
    name: &'static str,
    objects: Vec<Value>,
}

/// Everything that is installed, in the order a reader should meet it.
fn manifests() -> io::Result<Vec<Manifest>> {
    let manifest = |name, objects| Manifest { name, objects };
    Ok(vec![
        manifest("crds", yaml::values(&crds::all())?),
        manifest("namespaces", yaml::values(&namespaces::namespaces())?),
        manifest("operator-roles", roles::operator()?),
        manifest("member-roles", yaml::values(&roles::members())?),
        manifest("admission", admission::objects()?),
        manifest(
            "network-policies",
            yaml::values(&network::network_policies())?,
        ),
        manifest("flow-control", vec![yaml::value(&flow::schema())?]),
        manifest("priority", vec![yaml::value(&priority::class())?]),
        manifest("settings", vec![yaml::value(&settings::config_map())?]),
        manifest("operator", operator::objects()?),
        manifest("canary", canary::objects()?),
    ])
}

/// Every rendered file: its path below the folder → its text.
pub fn files() -> io::Result<BTreeMap<String, String>> {
    let manifests = manifests()?;
    let mut files = chart::files(&manifests)?;
    for manifest in &manifests {
        let path = format!("install/{}.yaml", manifest.name);
        files.insert(path, yaml::file(&manifest.objects)?);
    }
    files.insert(
        "install/kustomization.yaml".to_owned(),
        kustomization(&manifests)?,
    );
    Ok(files)
}

fn kustomization(manifests: &[Manifest]) -> io::Result<String> {
    let resources: Vec<String> = manifests
        .iter()
        .map(|manifest| format!("{}.yaml", manifest.name))
        .collect();
    yaml::file(&[serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
    })])
}

/// Writes `install/` and `chart/` below `folder`. Files that are there and are no longer
/// rendered stay; the golden test names them.
pub fn to_folder(folder: &Path) -> io::Result<()> {
    for (path, text) in files()? {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
