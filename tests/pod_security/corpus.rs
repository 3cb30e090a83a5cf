//! The upstream corpus of `restricted`: what it fails is refused, what it passes is admitted
//! once it has Cloister's extras too.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use crds::well_known::POD_SECURITY_VERSION;
use serde_json::{Value, json};
use tests::server::{Answer, Refusal, Scratch, assert_refused, eventually};

const MODULE: &str = "k8s.io/pod-security-admission@v0.34.4";

/// An extra: the words that begin its refusal, and the change that a pod needs to have it.
/// The change is made without a look at what the pod is about.
type Extra = (&'static str, fn(&mut Value));

const EXTRAS: &[Extra] = &[
    ("spec.serviceAccountName:", service_account),
    ("spec.automountServiceAccountToken:", no_token),
    (
        "spec.volumes: a projected serviceAccountToken",
        token_audience,
    ),
    ("spec.volumes: a claim is for", no_claim),
    ("securityContext.runAsGroup:", group),
    ("securityContext.readOnlyRootFilesystem:", read_only_root),
    ("resources.limits:", limits),
    ("spec.hostUsers:", user_namespace),
];

/// Passes that have no counterpart with the extras, and the words that refuse them. The API
/// itself refuses groups, user namespaces and read-only roots on Windows.
const NEVER: &[(&str, &str)] = &[("base_windows", "spec.os.name:")];

#[tokio::test]
async fn refuses_everything_that_restricted_fails() {
    let cases = cases("fail");
    Scratch::run(async |scratch| {
        accounts_exist(scratch).await;
        let mut wrong = Vec::new();
        for (name, pod) in &cases {
            // As it is, and with the extras, so that it is not the extras that refuse it.
            for pod in [in_namespace(pod, scratch), with_extras(pod, scratch)] {
                let answer = scratch.admin.dry_run(&pod).await;
                if !refused_by_pod_security(&answer) {
                    wrong.push(format!("{name}: {answer:?}"));
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "not refused by pod security:\n{}",
            wrong.join("\n")
        );
    })
    .await;
    println!(
        "{} failing pods of {POD_SECURITY_VERSION}: all refused, with and without extras",
        cases.len()
    );
}

#[tokio::test]
async fn admits_everything_that_restricted_passes_and_that_has_the_extras() {
    let cases = cases("pass");
    let mut never = 0;
    Scratch::run(async |scratch| {
        accounts_exist(scratch).await;
        for (name, pod) in &cases {
            let answer = scratch.admin.dry_run(&with_extras(pod, scratch)).await;
            match NEVER.iter().find(|(exception, _)| exception == name) {
                Some((_, words)) => {
                    never += 1;
                    assert_refused(&answer, &[words]);
                }
                None => assert!(answer.is_ok(), "{name} must be admitted: {answer:?}"),
            }
        }
    })
    .await;
    println!(
        "{} passing pods of {POD_SECURITY_VERSION}: {} admitted with the extras, {never} that cannot have them",
        cases.len(),
        cases.len() - never
    );
}

#[tokio::test]
async fn refuses_what_restricted_passes_only_for_an_extra() {
    let cases = cases("pass");
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    Scratch::run(async |scratch| {
        accounts_exist(scratch).await;
        for (name, pod) in cases.iter().filter(|(name, _)| !is_never(name)) {
            let mut pod = in_namespace(pod, scratch);
            // Does what each refusal says, until there is none.
            while let Err(refusal) = scratch.admin.dry_run(&pod).await {
                let said = |words| {
                    refusal
                        .message
                        .contains(&format!("denied request: {words}"))
                };
                let Some((words, change)) = EXTRAS.iter().find(|(words, _)| said(words)) else {
                    panic!("{name} is refused for something that is no extra: {refusal}")
                };
                let before = pod.clone();
                change(&mut pod);
                assert_ne!(pod, before, "{name} has it and is still refused: {refusal}");
                *reasons.entry(*words).or_default() += 1;
            }
        }
    })
    .await;
    println!("refusals on the way from an upstream pass to admission: {reasons:#?}");
}

fn is_never(name: &str) -> bool {
    NEVER.iter().any(|(never, _)| *never == name)
}

fn refused_by_pod_security(answer: &Answer) -> bool {
    let standard = format!("violates PodSecurity \"restricted:{POD_SECURITY_VERSION}\"");
    matches!(answer, Err(Refusal { message, .. }) if message.contains(&standard))
}

/// Pods of the corpus, by the name of their file.
fn cases(kind: &str) -> BTreeMap<String, Value> {
    let folder = corpus().join(POD_SECURITY_VERSION).join(kind);
    let cases: BTreeMap<String, Value> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no folder {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (
                name,
                serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
            )
        })
        .collect();
    assert!(
        cases.len() > 10,
        "the corpus holds more than {} cases",
        cases.len()
    );
    cases
}

/// The corpus of `restricted`, one folder per version, fetched if it is not there.
fn corpus() -> PathBuf {
    let output = Command::new("go")
        .args(["mod", "download", "-json", MODULE])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap_or_else(|error| panic!("this test needs go, to fetch {MODULE}: {error}"));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Some(folder) = answer["Dir"].as_str() else {
        panic!("cannot fetch {MODULE}: {}", answer["Error"]);
    };
    PathBuf::from(folder).join("test/testdata/restricted")
}

#[test]
fn the_version_that_namespaces_pin_is_the_newest_of_the_corpus() {
    let minor = |name: &str| {
        name.strip_prefix("v1.")
            .and_then(|minor| minor.parse::<u32>().ok())
    };
    let newest = fs::read_dir(corpus())
        .unwrap()
        .filter_map(|entry| minor(&entry.unwrap().file_name().to_string_lossy()))
        .max();
    assert_eq!(newest, minor(POD_SECURITY_VERSION));
}

/// The account that upstream pods run as by default appears a moment after the namespace.
async fn accounts_exist(scratch: &Scratch) {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": scratch.namespace},
    });
    eventually(async || {
        let answer = scratch.admin.get(&account).await;
        answer.map(|_| ()).map_err(|refusal| refusal.to_string())
    })
    .await;
}

fn in_namespace(pod: &Value, scratch: &Scratch) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]["namespace"] = json!(scratch.namespace);
    // Upstream replaces the names as well: those in the files are not valid ones.
    pod["metadata"]["name"] = json!("case");
    pod
}

/// The same pod with every extra.
fn with_extras(pod: &Value, scratch: &Scratch) -> Value {
    let mut pod = in_namespace(pod, scratch);
    for (_, change) in EXTRAS {
        change(&mut pod);
    }
    pod
}

fn service_account(pod: &mut Value) {
    pod["spec"]["serviceAccountName"] = json!("cloister-sandbox");
}

fn no_token(pod: &mut Value) {
    pod["spec"]["automountServiceAccountToken"] = json!(false);
}

fn token_audience(pod: &mut Value) {
    for volume in list(pod, "volumes") {
        let sources = volume
            .pointer_mut("/projected/sources")
            .and_then(Value::as_array_mut);
        for source in sources.into_iter().flatten() {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                token["audience"] = json!("cloister-dispatch");
            }
        }
    }
}

fn no_claim(pod: &mut Value) {
    for volume in list(pod, "volumes") {
        if volume
            .get("persistentVolumeClaim")
            .or(volume.get("ephemeral"))
            .is_some()
        {
            *volume = json!({"name": volume["name"], "emptyDir": {}});
        }
    }
}

fn group(pod: &mut Value) {
    if !is_windows(pod) {
        pod["spec"]["securityContext"]["runAsGroup"] = json!(65532);
    }
}

fn read_only_root(pod: &mut Value) {
    if !is_windows(pod) {
        for container in containers(pod) {
            container["securityContext"]["readOnlyRootFilesystem"] = json!(true);
        }
    }
}

fn limits(pod: &mut Value) {
    for container in containers(pod) {
        container["resources"] = json!({"limits": {"cpu": "100m", "memory": "32Mi"}});
    }
}

fn user_namespace(pod: &mut Value) {
    // The API itself refuses the host's namespaces in a user namespace of the pod's own,
    // before anyone asks about pod security.
    let of_host = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .any(|field| pod["spec"][*field] == json!(true));
    if !of_host && !is_windows(pod) {
        pod["spec"]["hostUsers"] = json!(false);
    }
}

fn is_windows(pod: &Value) -> bool {
    pod.pointer("/spec/os/name") == Some(&json!("windows"))
}

fn containers(pod: &mut Value) -> impl Iterator<Item = &mut Value> {
    let spec = pod["spec"].as_object_mut().into_iter().flatten();
    spec.filter(|(key, _)| ["containers", "initContainers"].contains(&key.as_str()))
        .flat_map(|(_, list)| list.as_array_mut().into_iter().flatten())
}

fn list<'a>(pod: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = pod["spec"].get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}
