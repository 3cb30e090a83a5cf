//! `manifests/` is what the code renders. `UPDATE_GOLDEN=1 cargo test -p tests --test golden`
//! rewrites it. The chart is one of them, and Helm is asked what comes of it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn manifests() -> &'static Path {
    Path::new("../manifests")
}

/// Paths of all files below a folder, relative to `manifests/`.
fn files_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, found);
        } else if let Ok(relative) = path.strip_prefix(manifests()) {
            found.insert(relative.display().to_string());
        }
    }
}

#[test]
fn manifests_are_what_the_code_renders() {
    #[expect(clippy::disallowed_methods, reason = "the switch of a golden test")]
    if env::var("UPDATE_GOLDEN").is_ok() {
        operator::render::to_folder(manifests()).unwrap();
    }
    for (path, text) in operator::render::files().unwrap() {
        let checked_in = fs::read_to_string(manifests().join(&path)).unwrap_or_default();
        assert!(
            checked_in == text,
            "manifests/{path} is not what the code renders; run `make generate`"
        );
    }
}

#[test]
fn no_rendered_folder_holds_a_file_that_is_not_rendered() {
    let mut found = BTreeSet::new();
    for folder in ["install", "chart"] {
        files_below(&manifests().join(folder), &mut found);
    }
    let rendered: BTreeSet<String> = operator::render::files().unwrap().into_keys().collect();
    assert_eq!(found, rendered);
}

#[test]
fn every_example_is_what_it_says_it_is() {
    let text = |name| fs::read_to_string(manifests().join("examples").join(name)).unwrap();
    for name in ["tenant.yaml", "tenant-minimal.yaml"] {
        let tenant: crds::Tenant = serde_saphyr::from_str(&text(name)).unwrap();
        assert!(!tenant.spec.members.is_empty(), "{name} has members");
    }
    let integration: crds::Integration = serde_saphyr::from_str(&text("integration.yaml")).unwrap();
    let execution: crds::Execution = serde_saphyr::from_str(&text("execution.yaml")).unwrap();
    let (of, by) = (integration.metadata, execution.metadata);
    assert_eq!(Some(execution.spec.integration), of.name);
    assert_eq!(by.namespace, of.namespace);
    let worker: crds::Worker = serde_saphyr::from_str(&text("worker.yaml")).unwrap();
    assert_eq!(worker.metadata.namespace, of.namespace);
    let drill: crds::Drill = serde_saphyr::from_str(&text("drill.yaml")).unwrap();
    assert_eq!(drill.metadata.namespace, of.namespace);
    let keeper: crds::Worker = serde_saphyr::from_str(&text("worker-volumes.yaml")).unwrap();
    assert_eq!(keeper.metadata.namespace, of.namespace);
    assert_eq!(keeper.spec.volumes.len(), 1);
    let mut found = BTreeSet::new();
    files_below(&manifests().join("examples"), &mut found);
    assert_eq!(found.len(), 7, "{found:?}");
}

/// Rendered objects by kind and name, without what a tool adds by itself.
fn objects(text: &str) -> BTreeMap<String, Value> {
    text.split("\n---")
        .filter_map(|document| serde_saphyr::from_str::<Value>(document).ok())
        .filter(Value::is_object)
        .map(|mut object| {
            // The chart alone asks Helm to leave definitions where they are.
            if let Some(metadata) = object["metadata"].as_object_mut()
                && let Some(annotations) = metadata
                    .get_mut("annotations")
                    .and_then(Value::as_object_mut)
            {
                annotations.remove("helm.sh/resource-policy");
                if annotations.is_empty() {
                    metadata.remove("annotations");
                }
            }
            let text = |pointer| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let key = format!(
                "{} {} {}",
                text("/kind"),
                text("/metadata/namespace"),
                text("/metadata/name")
            );
            (key, object)
        })
        .collect()
}

/// Helm, as `cluster build helm` or the machine has it.
fn helm() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let built = cache
        .and_then(|cache| fs::read_dir(cache.join("cloister/bin")).ok())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("helm-"))
        .map(|entry| entry.path().join("helm"));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).map(|folder| folder.join("helm"));
    let mut everywhere = built.chain(installed);
    everywhere
        .find(|path| path.is_file())
        .expect("no helm here: run `make test-units`, which builds it")
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn helm_with_default_values_yields_what_kustomize_yields() {
    let helm = helm();
    let chart = manifests().join("chart");
    let rendered = output(
        Command::new(&helm)
            .args(["template", "--kube-version", "1.34.0", "cloister"])
            .arg(&chart),
    );
    let rendered = objects(&rendered);
    let mut installed = BTreeMap::new();
    for (path, text) in operator::render::files().unwrap() {
        if path.starts_with("install/") && !path.ends_with("kustomization.yaml") {
            installed.extend(objects(&text));
        }
    }
    assert!(
        installed.len() > 30,
        "{} objects are installed",
        installed.len()
    );
    assert_eq!(rendered, installed);
}

#[test]
fn every_value_of_the_chart_changes_what_helm_yields() {
    let helm = helm();
    let with = |set: &str| {
        let chart = manifests().join("chart");
        output(
            Command::new(&helm)
                .args([
                    "template",
                    "--kube-version",
                    "1.34.0",
                    "cloister",
                    "--set",
                    set,
                ])
                .arg(&chart),
        )
    };
    for (set, expected, count) in [
        (
            "operator.image=example.test/operator:1",
            "\"example.test/operator:1\"",
            1,
        ),
        ("operator.replicas=5", "replicas: 5", 1),
        ("operator.resources=null", "resources: null", 1),
        ("operator.log=debug", "RUST_LOG: \"debug\"", 1),
        (
            "operator.telemetryEndpoint=http://collector:4318",
            "OTEL_EXPORTER_OTLP_ENDPOINT: \"http://collector:4318\"",
            1,
        ),
        (
            "probe.image=example.test/sandbox:1",
            "\"example.test/sandbox:1\"",
            3,
        ),
        ("probe.atOnce=16", "CLOISTER_PROBES_AT_ONCE: \"16\"", 1),
        ("probe.interval=30s", "CLOISTER_PROBE_INTERVAL: \"30s\"", 1),
        (
            "probe.outsideCanary=203.0.113.1:80",
            "CLOISTER_OUTSIDE_CANARY: \"203.0.113.1:80\"",
            1,
        ),
        (
            "sandbox.imageVolumes=false",
            "CLOISTER_IMAGE_VOLUMES: \"false\"",
            1,
        ),
        ("userNamespaces.required=false", "hostUsers: true", 3),
        ("userNamespaces.required=false", "expression: \"false\"", 1),
    ] {
        let text = with(set);
        assert_eq!(text.matches(expected).count(), count, "--set {set}");
    }
}
