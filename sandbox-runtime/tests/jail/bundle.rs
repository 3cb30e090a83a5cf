//! A container as Kubernetes has them made: its files and its config, for a runtime to run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{SANDBOX, find};

pub const MEMORY: u64 = 64 << 20;
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
pub const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sysrq-trigger",
    "/proc/sys",
];

/// What a shell needs, of this machine's own.
pub const IMAGE: [&str; 4] = [
    "/bin/sh",
    "/bin/sleep",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
];

/// A container's files, gone when dropped.
pub struct Bundle {
    pub directory: PathBuf,
    pub config: Value,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Bundle {
    /// As a sandbox is: a root that is not written, four places, the usual files and limits.
    pub fn new(name: &str) -> Self {
        let own = format!("cloister-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(&own);
        for below in ["root", "bin", "token", "other"] {
            fs::create_dir_all(directory.join(below)).unwrap();
        }
        // In a user namespace, nobody who mounts may make them.
        for place in [
            "proc",
            "dev",
            "sys",
            "etc",
            "cloister",
            "run/cloister",
            "work",
            "tmp",
        ] {
            fs::create_dir_all(directory.join("root").join(place)).unwrap();
        }
        fs::write(directory.join("root/etc/hosts"), "").unwrap();
        fs::copy(SANDBOX.as_path(), directory.join("bin/cloister-sandbox")).unwrap();
        fs::write(directory.join("token/token"), "the-token").unwrap();
        let report = directory.join("report");
        fs::write(&report, "").unwrap();
        fs::set_permissions(&report, fs::Permissions::from_mode(0o666)).unwrap();
        let config = config(&directory, &own);
        Self { directory, config }
    }

    /// Has the runtime run it, once the config is written.
    pub fn run(&self, runtime: &str) -> Command {
        let mut command = self.runtime(runtime);
        // Now and never again: gVisor reads it several times until the container runs.
        fs::write(self.directory.join("config.json"), self.config.to_string()).unwrap();
        command.args(["run", "--bundle"]).arg(&self.directory);
        command.arg(self.id());
        command
    }

    /// The runtime, told where it keeps what it knows of its containers.
    pub fn runtime(&self, runtime: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "120"]).arg(find(runtime));
        command
            .arg("--root")
            .arg(self.directory.join(format!("state-{runtime}")));
        if runtime == "runsc" {
            command.args(["--network=none", "--platform=systrap"]);
            // Else Go asks again and again how many processors there are, by a call that gVisor's own
            // filter of calls kills for: the sandbox would be gone in seconds.
            command
                .env("GODEBUG", "updatemaxprocs=0")
                .env("GOMAXPROCS", "2");
        }
        command
    }

    /// What it is called.
    pub fn id(&self) -> &str {
        self.directory.file_name().unwrap().to_str().unwrap()
    }

    pub fn mount(&mut self, from: &Path, to: &str, access: &str) {
        let mount = json!({"destination": to, "type": "bind", "source": from,
            "options": ["rbind", "rprivate", access]});
        let mounts = self.config["mounts"].as_array_mut();
        mounts.unwrap().push(mount);
    }
}

/// Where something is mounted for a sandbox, as a request says it.
pub fn places() -> Value {
    let place = |path: &str, writable: bool| json!({"path": path, "writable": writable});
    json!([
        place("/cloister", false),
        place("/run/cloister", false),
        place("/work", true),
        place("/tmp", true),
    ])
}

fn config(directory: &Path, own: &str) -> Value {
    let bind = |from: &str, to: &str, access: &str| {
        json!({"destination": to, "type": "bind", "source": directory.join(from),
            "options": ["rbind", "rprivate", access]})
    };
    let kernels = |kind: &str, to: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    let memory = |to: &str| kernels("tmpfs", to, &["nosuid", "mode=1777", "size=1m"]);
    let spaces = ["pid", "ipc", "uts", "mount", "network"];
    let none: [&str; 0] = [];
    json!({
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": {"path": "root", "readonly": true},
        "process": {
            "user": {"uid": 65532, "gid": 65532}, "cwd": "/", "noNewPrivileges": true,
            "args": [],
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

/// Puts a file into an image.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}
