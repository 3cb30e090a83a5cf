//! What the same binary says of itself in containers as Kubernetes has them made: by runc and by
//! gVisor, where they are to be had. First of one that is as it must be, then of others, each with
//! one fault that no pod of a tenant can have, because admission and the operator make none such.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::{Inside, Limit, ProbeReport, SeenRuntime, Strays, VERSION};
use serde_json::{Value, json};

use crate::harness::{SANDBOX, find};

const MEMORY: u64 = 64 << 20;
/// What Kubernetes has runtimes cover, and make read-only, as its 1.34 does.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sysrq-trigger",
    "/proc/sys",
];

/// A container's files, gone when dropped.
struct Bundle {
    directory: PathBuf,
    config: Value,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Bundle {
    /// As a sandbox is: a root that is not written, four places, the usual files and limits.
    fn new(name: &str) -> Self {
        let own = format!("cloister-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(&own);
        for below in ["root", "bin", "token", "other"] {
            fs::create_dir_all(directory.join(below)).unwrap();
        }
        fs::copy(SANDBOX, directory.join("bin/cloister-sandbox")).unwrap();
        fs::write(directory.join("token/token"), "the-token").unwrap();
        let report = directory.join("report");
        fs::write(&report, "").unwrap();
        fs::set_permissions(&report, fs::Permissions::from_mode(0o666)).unwrap();
        let config = config(&directory, &own);
        Self { directory, config }
    }

    fn mount(&mut self, from: &Path, to: &str, access: &str) {
        let mount = json!({"destination": to, "type": "bind", "source": from,
            "options": ["rbind", "rprivate", access]});
        let mounts = self.config["mounts"].as_array_mut();
        mounts.unwrap().push(mount);
    }

    /// What it says of itself; nothing, with the reason printed, where there is no such runtime.
    fn inside(&self, runtime: &str) -> Option<Inside> {
        let Some(program) = find(runtime) else {
            println!("not shown here: no {runtime} on this machine");
            return None;
        };
        let text = self.config.to_string();
        fs::write(self.directory.join("config.json"), text).unwrap();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "60"]).arg(program);
        command
            .arg("--root")
            .arg(self.directory.join(format!("state-{runtime}")));
        if runtime == "runsc" {
            command.args(["--network=none", "--platform=systrap"]);
        }
        let id = self.directory.file_name().unwrap();
        let bundle = ["run", "--bundle"];
        command.args(bundle).arg(&self.directory).arg(id);
        let output = command.output().unwrap();
        let report = fs::read_to_string(self.directory.join("report")).unwrap();
        let report: ProbeReport = serde_json::from_str(&report)
            .unwrap_or_else(|error| panic!("{error}: {report}, {output:?}"));
        Some(report.inside)
    }
}

fn config(directory: &Path, own: &str) -> Value {
    let bind = |from: &str, to: &str, access: &str| {
        json!({"destination": to, "type": "bind", "source": directory.join(from),
            "options": ["rbind", "rprivate", access]})
    };
    let kernels = |kind: &str, to: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    let memory = |to: &str| kernels("tmpfs", to, &["nosuid", "mode=1777", "size=1m"]);
    let place = |path: &str, writable: bool| json!({"path": path, "writable": writable});
    let request = json!({"version": VERSION, "timeoutMs": 100, "targets": [], "places": [
        place("/cloister", false), place("/run/cloister", false),
        place("/work", true), place("/tmp", true)]});
    let spaces = ["pid", "ipc", "uts", "mount", "network"];
    let none: [&str; 0] = [];
    json!({
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": {"path": "root", "readonly": true},
        "process": {
            "user": {"uid": 65532, "gid": 65532}, "cwd": "/", "noNewPrivileges": true,
            "args": ["/cloister/cloister-sandbox", "probe", "--request", request.to_string()],
            "capabilities": {"bounding": none, "effective": none, "permitted": none},
            "rlimits": [{"type": "RLIMIT_NPROC", "soft": 512, "hard": 512}],
        },
        "mounts": [
            kernels("proc", "/proc", &["nosuid", "noexec", "nodev"]),
            kernels("tmpfs", "/dev", &["nosuid", "mode=755", "size=65536k"]),
            kernels("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
            kernels("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
            kernels("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
            kernels("cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"]),
            kernels("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777"]),
            bind("report", "/dev/termination-log", "rw"),
            bind("token/token", "/etc/hosts", "rw"),
            bind("bin", "/cloister", "ro"),
            bind("token", "/run/cloister", "ro"),
            memory("/work"),
            memory("/tmp"),
        ],
        "linux": {
            "namespaces": spaces.map(|kind| json!({"type": kind})),
            "cgroupsPath": format!("/{own}"),
            "resources": {"memory": {"limit": MEMORY}},
            "maskedPaths": MASKED, "readonlyPaths": READ_ONLY,
        },
    })
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
        let bundle = Bundle::new(&format!("sound-{runtime}"));
        let Some(inside) = bundle.inside(runtime) else {
            continue;
        };
        assert_eq!(faults(&inside), [""; 0], "{runtime}");
        assert_eq!((inside.runtime, inside.process_limit), (seen, processes));
    }
}

#[test]
fn each_fault_is_found_by_itself() {
    for (index, (named, fault)) in FAULTS.into_iter().enumerate() {
        let mut bundle = Bundle::new(&format!("fault-{index}"));
        fault(&mut bundle);
        let Some(inside) = bundle.inside("runc") else {
            return;
        };
        let found = faults(&inside);
        assert!(found[0].starts_with(named), "{named}: {found:?}");
        // A token that is mounted is a mount that should not be, too.
        let most = if named.starts_with("token") { 2 } else { 1 };
        assert!(found.len() <= most, "{named}: {found:?}");
    }
}
