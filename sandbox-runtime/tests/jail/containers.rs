//! What the same binary says of itself in containers as Kubernetes has them made: by runc and by
//! gVisor. First of one that is as it must be, then of others, each with
//! one fault that no pod of a tenant can have, because admission and the operator make none such.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use contract::{Inside, Limit, ProbeReport, Saw, SeenRuntime, Strays, VERSION};
use serde_json::{Value, json};

use crate::bundle::{Bundle, IMAGE, MEMORY, READ_ONLY, copy, places};

/// What it says of itself.
fn inside(bundle: &mut Bundle, runtime: &str) -> Inside {
    probed(bundle, runtime, &json!([])).0.inside
}

/// Its report on these targets, and what it said beside that.
fn probed(bundle: &mut Bundle, runtime: &str, targets: &Value) -> (ProbeReport, Output) {
    let request =
        json!({"version": VERSION, "timeoutMs": 100, "targets": targets, "places": places()});
    let request = request.to_string();
    bundle.config["process"]["args"] =
        json!(["/cloister/cloister-sandbox", "probe", "--request", request]);
    let output = bundle.run(runtime).output().unwrap();
    let report = fs::read_to_string(bundle.directory.join("report")).unwrap();
    let report: ProbeReport = serde_json::from_str(&report)
        .unwrap_or_else(|error| panic!("{error}: {report}, {output:?}"));
    (report, output)
}

/// What is not as it must be, of what containers differ in here.
fn faults(inside: &Inside) -> Vec<String> {
    let strays =
        |name: &str, strays: &Strays| (!strays.is_none()).then(|| format!("{name}: {strays}"));
    let writable = (!inside.root_read_only).then(|| "root: written".to_owned());
    let memory = (!inside.memory_limit.is_within(MEMORY)).then(|| "memory".to_owned());
    let all = [
        writable,
        strays("token", &inside.tokens),
        strays("device", &inside.foreign_devices),
        strays("mount", &inside.foreign_mounts),
        strays("unmasked", &inside.unmasked),
        memory,
    ];
    all.into_iter().flatten().collect()
}

type Fault = fn(&mut Bundle);
const FAULTS: [(&str, Fault); 7] = [
    ("root: written", |bundle| {
        bundle.config["root"]["readonly"] = json!(false);
    }),
    ("mount: /host (", |bundle| {
        bundle.mount(&bundle.directory.join("other"), "/host", "ro");
    }),
    ("mount: /work (", |bundle| {
        bundle.mount(&bundle.directory.join("other"), "/work", "rw");
    }),
    (
        "token: /run/secrets/kubernetes.io/serviceaccount/token",
        |bundle| {
            let place = "/run/secrets/kubernetes.io/serviceaccount";
            bundle.mount(&bundle.directory.join("token"), place, "ro");
        },
    ),
    ("device: /dev/kmsg (character 1:11)", |bundle| {
        bundle.config["linux"]["devices"] = json!([{"path": "/dev/kmsg", "type": "c",
            "major": 1, "minor": 11, "fileMode": 0o666}]);
    }),
    ("unmasked: /proc/sys", |bundle| {
        bundle.config["linux"]["readonlyPaths"] = json!(READ_ONLY[..4]);
    }),
    ("memory", |bundle| {
        bundle.config["linux"]["resources"] = json!({});
    }),
];

#[test]
fn a_container_as_it_must_be_is_found_so() {
    for (runtime, seen, processes) in [
        ("runc", SeenRuntime::Host, Limit::At(512)),
        ("runsc", SeenRuntime::GVisor, Limit::Hidden),
    ] {
        let mut bundle = Bundle::new(&format!("sound-{runtime}"));
        let inside = inside(&mut bundle, runtime);
        assert_eq!(faults(&inside), [""; 0], "{runtime}");
        assert_eq!((inside.runtime, inside.process_limit), (seen, processes));
    }
}

#[test]
fn each_fault_is_found_by_itself() {
    for (index, (named, fault)) in FAULTS.into_iter().enumerate() {
        let mut bundle = Bundle::new(&format!("fault-{index}"));
        fault(&mut bundle);
        let inside = inside(&mut bundle, "runc");
        let found = faults(&inside);
        assert!(found[0].starts_with(named), "{named}: {found:?}");
        // A token that is mounted is a mount that should not be, too.
        let most = if named.starts_with("token") { 2 } else { 1 };
        assert!(found.len() <= most, "{named}: {found:?}");
    }
}

/// A library of the image's that says so when it is loaded.
const LIBRARY: &str = "#include <unistd.h>\n\
    __attribute__((constructor)) static void loaded(void) { write(1, \"loaded\\n\", 7); }\n";

#[test]
fn nothing_of_the_image_is_loaded_to_find_a_name() {
    let mut bundle = Bundle::new("names");
    let root = bundle.directory.join("root");
    for file in IMAGE {
        copy(Path::new(file), &root.join(&file[1..]));
    }
    // What the C library's own resolver would do: load this, before anything is proven.
    fs::write(root.join("etc/nsswitch.conf"), "hosts: ours files\n").unwrap();
    let source = bundle.directory.join("ours.c");
    fs::write(&source, LIBRARY).unwrap();
    let library = root.join("lib/x86_64-linux-gnu/libnss_ours.so.2");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    assert!(compiler.status().unwrap().success());
    let names = json!([
        {"check": "Dns", "address": "name.test", "expect": "Reachable"},
        {"check": "OtherTenant", "address": "name.test:1", "expect": "Blocked"},
    ]);
    let (report, output) = probed(&mut bundle, "runc", &names);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("loaded"), "{said}");
    // There is no server to ask, which is no silence.
    assert!(
        report.checks.iter().all(|one| one.saw == Saw::Error),
        "{said}"
    );
}
