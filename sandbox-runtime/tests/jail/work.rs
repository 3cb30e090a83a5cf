//! A Worker from its start to its end, in containers as Kubernetes has them made: it proves what it
//! is in before the command runs and while it runs, says whether it is ready, and nobody inside can
//! say it instead.
//!
//! The network of these containers is a loopback and no way out. So what must answer is on loopback,
//! what must not is anywhere else; and what is opened, is an address that is added to the loopback.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use contract::VERSION;
use contract::run::RUN_VERSION;
use contract::work::{EXIT_BROKEN, EXIT_REFUSED, WORK_VERSION};
use serde_json::{Value, json};

use crate::bundle::{Bundle, IMAGE, copy, places};
use crate::harness::{INSIDE, eventually};

/// The kubelet, as the pod is told: not there, until somebody opens it.
const KUBELET: &str = "192.0.2.9";
const SUPERVISOR: &str = "/cloister/cloister-sandbox";
/// Says that it runs, goes on, and ends when it is asked to.
const AGENT: &str = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done";

const MEMORY: u64 = 512 << 20;

static WORKERS: AtomicU32 = AtomicU32::new(0);

/// A Worker's container, not started.
struct Setup {
    bundle: Bundle,
    runtime: &'static str,
    config: Value,
}

impl Setup {
    fn new(runtime: &'static str, script: &str) -> Self {
        let number = WORKERS.fetch_add(1, Ordering::Relaxed);
        let mut bundle = Bundle::new(&format!("work-{runtime}-{number}"));
        let root = bundle.directory.join("root");
        for file in IMAGE {
            copy(Path::new(file), &root.join(&file[1..]));
        }
        copy(Path::new(INSIDE), &root.join("probe-inside"));
        // As `/etc/hosts`: the names of canary and decoy, the one with an address that answers.
        let hosts =
            "127.0.0.1 localhost canary.test\n192.0.2.7 forbidden.test\n192.0.2.8 decoy.test\n";
        fs::write(bundle.directory.join("token/token"), hosts).unwrap();
        bundle.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"}]});
        // gVisor's own kernel lives in it, too.
        bundle.config["linux"]["resources"] = json!({"memory": {"limit": MEMORY}});
        let on_gvisor = runtime == "runsc";
        let config = config(script, on_gvisor);
        Self {
            bundle,
            runtime,
            config,
        }
    }

    /// On the node's kernel.
    fn hardened(script: &str) -> Self {
        Self::new("runc", script)
    }

    /// In a user namespace of its own, whose users are these of the machine's.
    fn with_own_users(mut self, first: u32) -> Self {
        self.config["wanted"]["userNamespace"] = json!(true);
        let spaces = self.bundle.config["linux"]["namespaces"].as_array_mut();
        spaces.unwrap().push(json!({"type": "user"}));
        let ids = json!([{"containerID": 0, "hostID": first, "size": 65536}]);
        self.bundle.config["linux"]["uidMappings"] = ids.clone();
        self.bundle.config["linux"]["gidMappings"] = ids;
        self
    }

    /// The address of one of the targets.
    fn target(&mut self, check: &str, address: &str) {
        let targets = self.config["probe"]["targets"].as_array_mut().unwrap();
        let target = targets.iter_mut().find(|target| target["check"] == check);
        target.unwrap()["address"] = json!(address);
    }

    /// Started, and let go.
    fn start(self) -> Worker {
        let mut worker = self.wait();
        worker.go();
        worker
    }

    /// The same, but that the supervisor waits for [`Worker::go`].
    fn wait(mut self) -> Worker {
        // The canary is beside the jail: a child of process 1, which becomes the supervisor.
        let script = format!(
            "read _; {SUPERVISOR} canary --listen 127.0.0.1:7001 --role canary > /dev/null & \
             exec {SUPERVISOR} work --config \"$1\""
        );
        let config = self.config.to_string();
        self.bundle.config["process"]["args"] = json!(["/bin/sh", "-c", script, "sh", config]);
        let mut command = self.bundle.run(self.runtime);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Worker {
            bundle: self.bundle,
            runtime: self.runtime,
            child,
        }
    }
}

fn config(script: &str, on_gvisor: bool) -> Value {
    let target = |check: &str, address: &str, expect: &str| json!({"check": check, "address": address, "expect": expect});
    let shut = |check, address| target(check, address, "Blocked");
    let open = |check, address| target(check, address, "Reachable");
    let targets = [
        open("Dns", "canary.test"),
        open("PermittedCanary", "canary.test:7001"),
        shut("ForbiddenCanary", "forbidden.test:7002"),
        shut("OtherTenant", "decoy.test:7003"),
        shut("Kubelet", &format!("{KUBELET}:10250")),
        shut("MetadataV4", "192.0.2.10:80"),
        shut("MetadataV6", "[2001:db8::1]:80"),
        shut("MetadataMapped", "[::ffff:192.0.2.10]:80"),
        shut("ApiServerEndpoint", "192.0.2.11:6443"),
    ];
    let profile = if on_gvisor {
        json!("GVisor")
    } else {
        json!({"Hardened": {"landlockAbi": 6}})
    };
    let processes = if on_gvisor { Value::Null } else { json!(512) };
    let runtime = if on_gvisor { "GVisor" } else { "Host" };
    json!({
        "version": WORK_VERSION,
        "probe": {"version": VERSION, "timeoutMs": 500, "targets": targets, "places": places()},
        "wanted": {"runtime": runtime, "userNamespace": false, "memory": MEMORY,
            "processes": processes},
        "run": {
            "version": RUN_VERSION,
            "profile": profile,
            "command": "/bin/sh",
            "arguments": ["-c", script],
            "directory": "/work",
            "writable": ["/work", "/tmp"],
            "time": {"limitMs": null, "graceMs": 2000},
            "limits": {"files": 256, "fileBytes": 1 << 20},
            "output": {"lineBytes": 4096, "totalBytes": u64::MAX},
        },
        "probeIntervalMs": 1000,
        "proofLimitMs": 5000,
        "settleMs": 0,
    })
}

/// A container that runs. Killed with all in it when dropped.
struct Worker {
    bundle: Bundle,
    runtime: &'static str,
    child: Child,
}

impl Worker {
    fn go(&mut self) {
        let stdin = self.child.stdin.as_mut().unwrap();
        // Closed where the container could not be made: its end says why.
        let _ = stdin.write_all(b"\n");
    }

    /// The runtime, for this container.
    fn runtime(&self, words: &[&str]) -> Command {
        let mut command = self.bundle.runtime(self.runtime);
        command.args(words);
        command
    }

    /// What the kubelet does: whether it is ready, and the line.
    fn ready(&self) -> (bool, String) {
        let mut command = self.runtime(&["exec", self.bundle.id(), SUPERVISOR, "ready"]);
        let output = command.output().unwrap();
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success(), line)
    }

    fn wait_until_ready(&mut self) {
        let begin = Instant::now();
        loop {
            let (is_ready, line) = self.ready();
            if is_ready {
                return;
            }
            if begin.elapsed() > Duration::from_mins(1) {
                let _ = self.runtime(&["kill", self.bundle.id(), "KILL"]).status();
                panic!("{line}, {:?}", self.end());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn terminate(&self) {
        let status = self.runtime(&["kill", self.bundle.id(), "TERM"]).status();
        assert!(status.unwrap().success());
    }

    /// Number of process 1 outside.
    fn supervisor(&self) -> u32 {
        eventually(|| {
            let output = self.runtime(&["state", self.bundle.id()]).output().unwrap();
            let state: Value = serde_json::from_slice(&output.stdout).ok()?;
            // Before, it is that of one who only makes the container.
            let is_running = state["status"] == "running";
            let pid = u32::try_from(state["pid"].as_u64()?).ok();
            pid.filter(|_| is_running)
        })
    }

    /// Has the kubelet's address be here, where a dial gets an answer, or away again.
    fn kubelet(&self, verb: &str) {
        let pid = self.supervisor().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net", "ip", "address", verb]);
        command.args([&format!("{KUBELET}/32"), "dev", "lo"]);
        assert!(command.status().unwrap().success());
    }

    /// Its exit code, output, output aside, and termination message, once it has ended.
    fn end(&mut self) -> Ended {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "it never ended");
            thread::sleep(Duration::from_millis(5));
        };
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let streams = (self.child.stdout.take(), self.child.stderr.take());
        streams.0.unwrap().read_to_string(&mut stdout).unwrap();
        streams.1.unwrap().read_to_string(&mut stderr).unwrap();
        Ended {
            code: status.code(),
            stdout,
            stderr,
            message: fs::read_to_string(self.bundle.directory.join("report")).unwrap(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self
            .runtime(&["delete", "--force", self.bundle.id()])
            .output();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    message: String,
}

impl Ended {
    /// Nothing of the user's ran, for this reason.
    fn never_ran(&self, code: u8, message: &str) {
        assert_eq!(self.code, Some(code.into()), "{self:?}");
        assert!(self.message.contains(message), "{self:?}");
        assert!(self.stderr.contains(message), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
    }
}

#[test]
fn it_is_proven_runs_is_ready_and_ends_when_it_is_asked_to() {
    for runtime in ["runc", "runsc"] {
        let mut worker = Setup::new(runtime, AGENT).start();
        worker.wait_until_ready();
        // Longer than a proof is good for: others were made.
        thread::sleep(Duration::from_secs(6));
        assert_eq!(
            worker.ready(),
            (true, "ready: proven, and the command runs".to_owned())
        );
        worker.terminate();
        let ended = worker.end();
        assert_eq!(ended.code, Some(5), "{ended:?}");
        assert_eq!(ended.stdout, "up\nasked\n", "{ended:?}");
        let message = "the command exited with code 5, asked to end from outside";
        assert_eq!(ended.message, message);
    }
}

#[test]
fn it_does_so_in_a_user_namespace_of_its_own() {
    let setup = Setup::hardened(AGENT).with_own_users(1_000_000);
    let mut worker = setup.start();
    worker.wait_until_ready();
    worker.terminate();
    assert_eq!(worker.end().code, Some(5));
}

#[test]
fn nothing_runs_where_the_proof_is_broken() {
    type Break = fn(&mut Setup);
    let broken: [(&str, Break); 4] = [
        (
            "Kubelet 127.0.0.1:1: expected Blocked, saw Refused",
            |setup| {
                setup.target("Kubelet", "127.0.0.1:1");
            },
        ),
        (
            "OtherTenant localhost:1: expected Blocked, saw Refused",
            |setup| {
                setup.target("OtherTenant", "localhost:1");
            },
        ),
        ("MemoryLimit: expected at most 1, saw ", |setup| {
            setup.config["wanted"]["memory"] = json!(1);
        }),
        ("Mounts: expected none, saw /work (", |setup| {
            setup.config["probe"]["places"]
                .as_array_mut()
                .unwrap()
                .remove(2);
        }),
    ];
    for runtime in ["runc", "runsc"] {
        for (message, break_it) in &broken {
            let mut setup = Setup::new(runtime, AGENT);
            break_it(&mut setup);
            let mut worker = setup.start();
            worker.end().never_ran(EXIT_BROKEN, message);
        }
    }
}

#[test]
fn nothing_runs_in_doubt_and_it_says_so_and_goes_on_looking() {
    for runtime in ["runc", "runsc"] {
        let mut setup = Setup::new(runtime, AGENT);
        // A decoy that nobody knows where to find is no silence.
        setup.target("OtherTenant", "nowhere.test:7003");
        let mut worker = setup.start();
        let begin = Instant::now();
        let line = loop {
            let (is_ready, line) = worker.ready();
            assert!(!is_ready);
            if line.contains("OtherTenant") {
                break line;
            }
            if begin.elapsed() > Duration::from_secs(15) {
                worker.terminate();
                panic!("{runtime}: {line}, {:?}", worker.end());
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert!(
            line.starts_with("not ready: the check OtherTenant"),
            "{line}"
        );
        thread::sleep(Duration::from_secs(2));
        assert!(!worker.ready().0);
        worker.terminate();
        let ended = worker.end();
        assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{ended:?}");
        let said = "not proven: OtherTenant nowhere.test:7003: expected Blocked, saw Error";
        assert_eq!(ended.stderr.matches(said).count(), 1, "{ended:?}");
    }
}

#[test]
fn a_policy_that_is_late_is_waited_for() {
    let mut setup = Setup::hardened(AGENT);
    setup.config["settleMs"] = json!(20_000);
    let mut worker = setup.wait();
    worker.kubelet("add");
    worker.go();
    eventually(|| worker.ready().1.contains("check Kubelet").then_some(()));
    worker.kubelet("delete");
    worker.wait_until_ready();
    worker.terminate();
    let ended = worker.end();
    assert_eq!(ended.stdout, "up\nasked\n", "{ended:?}");
    assert!(
        ended.stderr.contains("not as it must be: Kubelet"),
        "{ended:?}"
    );
}

#[test]
fn a_proof_that_breaks_unreadies_it_at_once_and_then_ends_it() {
    let mut worker = Setup::hardened(AGENT).start();
    worker.wait_until_ready();
    worker.kubelet("add");
    let begin = Instant::now();
    let line = eventually(|| {
        let (is_ready, line) = worker.ready();
        (!is_ready).then_some(line)
    });
    assert!(begin.elapsed() < Duration::from_secs(4), "{line}");
    let ended = worker.end();
    assert!(begin.elapsed() < Duration::from_secs(8));
    assert_eq!(ended.code, Some(EXIT_BROKEN.into()), "{ended:?}");
    assert_eq!(ended.stdout, "up\nasked\n", "it was asked first: {ended:?}");
    let message = format!("Kubelet {KUBELET}:10250: expected Blocked, saw Refused");
    assert_eq!(ended.message, message);
}

#[test]
fn a_command_that_does_not_heed_a_broken_proof_is_killed_after_its_grace() {
    let script = "trap '' TERM INT; echo up; while :; do sleep 0.05; done";
    let mut worker = Setup::hardened(script).start();
    worker.wait_until_ready();
    worker.kubelet("add");
    let ended = worker.end();
    assert_eq!(ended.code, Some(EXIT_BROKEN.into()), "{ended:?}");
    assert!(ended.message.starts_with("Kubelet "), "{ended:?}");
}

/// Tries, again and again, everything by which it could seem to be ready, or end the supervisor.
const FORGER: &str = "trap '' TERM INT
    echo ready; echo ready >&2
    for _ in 1 2 3; do
        for name in /proc/1/comm /proc/1/task/1/comm /proc/self/comm; do
            { echo 'ready 999999999' > $name; } 2> /tmp/null
        done
        { echo 'forged' > /dev/termination-log; } 2> /tmp/null
        { echo 'forged' > /cloister/cloister-sandbox; } 2> /tmp/null
        kill -TERM 1; kill -INT 1; kill -KILL 1; kill -STOP 1
    done 2> /tmp/null
    /cloister/cloister-sandbox work --config '{}' > /tmp/null 2>&1
    { /probe-inside write /proc/1/comm /dev/termination-log /proc/1/mem; } 2>&1
    echo tried
    while :; do { echo 'ready 999999999' > /proc/1/comm; } 2> /tmp/null; sleep 0.05; done";

#[test]
fn a_command_can_neither_forge_nor_block() {
    let mut worker = Setup::hardened(FORGER).start();
    worker.wait_until_ready();
    thread::sleep(Duration::from_secs(2));
    assert!(worker.ready().0, "nor block");
    worker.kubelet("add");
    eventually(|| (!worker.ready().0).then_some(()));
    // It goes on trying while it is made to end, which takes its grace.
    for _ in 0..5 {
        let (is_ready, line) = worker.ready();
        assert!(!is_ready, "{line}");
    }
    let ended = worker.end();
    assert_eq!(ended.code, Some(EXIT_BROKEN.into()), "{ended:?}");
    assert!(ended.message.starts_with("Kubelet "), "{ended:?}");
    assert!(ended.stdout.contains("\ntried\n"), "{ended:?}");
    let verdicts = ended.stdout.lines().find(|line| line.starts_with('{'));
    let verdicts: Value = serde_json::from_str(verdicts.unwrap()).unwrap();
    for (path, verdict) in verdicts.as_object().unwrap() {
        let is_denied = verdict.as_str().unwrap().contains("os error 13");
        assert!(is_denied, "{path}: {verdict}");
    }
}

#[test]
fn nor_by_taking_every_process_that_it_may_have() {
    let script = "/probe-inside processes 1000; exec sleep 60";
    let mut setup = Setup::hardened(script).with_own_users(2_000_000);
    setup.config["run"]["limits"]["processes"] = json!(512);
    let mut worker = setup.start();
    worker.wait_until_ready();
    // Longer than a proof is good for: it looks on.
    thread::sleep(Duration::from_secs(6));
    assert_eq!(
        worker.ready(),
        (true, "ready: proven, and the command runs".to_owned())
    );
    worker.terminate();
    let ended = worker.end();
    let came: u32 = ended
        .stdout
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{ended:?}"));
    assert!((100..385).contains(&came), "{came}");
}

#[test]
fn nor_under_gvisor_where_no_landlock_is_in_the_way() {
    let mut worker = Setup::new("runsc", FORGER).start();
    worker.wait_until_ready();
    thread::sleep(Duration::from_secs(3));
    assert!(worker.ready().0, "nor block");
    worker.terminate();
    eventually(|| (!worker.ready().0).then_some(()));
    let ended = worker.end();
    assert!(ended.stdout.contains("\ntried\n"), "{ended:?}");
    // It could write there, and what it wrote was written over.
    let message = "the command was ended by signal 9, asked to end from outside";
    assert_eq!((ended.code, &*ended.message), (Some(137), message));
}

#[test]
fn the_commands_own_end_is_the_pods_and_orphans_do_not_outlive_it() {
    let orphans = "for _ in 1 2 3 4 5 6 7 8; do (sleep 0.1 &); done; sleep 60 & sleep 0.5; ";
    for (script, code, message) in [
        ("exit 3", 3, "the command exited with code 3, by itself"),
        ("exit 0", 0, "the command exited with code 0, by itself"),
        (
            "kill -KILL $$",
            137,
            "the command was ended by signal 9, by itself",
        ),
    ] {
        let script = format!("{orphans}{script}");
        let mut worker = Setup::hardened(&script).start();
        let begin = Instant::now();
        let ended = worker.end();
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert_eq!(
            (ended.code, &*ended.message),
            (Some(code), message),
            "{ended:?}"
        );
    }
}

#[test]
fn orphans_are_reaped_while_it_runs() {
    let script = "for _ in 1 2 3 4 5 6 7 8; do (sleep 0.1 &); done; sleep 60";
    let mut worker = Setup::hardened(script).start();
    worker.wait_until_ready();
    let pid = worker.supervisor();
    thread::sleep(Duration::from_secs(1));
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_zombie = |child: &&str| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        status.contains("State:\tZ")
    };
    assert_eq!(children.split_whitespace().filter(is_zombie).count(), 0);
    // The canary and the command.
    assert_eq!(children.split_whitespace().count(), 2, "{children}");
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_looked_at() {
    type Spoil = fn(&mut Value);
    let spoilt: [(&str, Spoil); 4] = [
        ("it has version 0", |config| config["version"] = json!(0)),
        ("proofLimitMs is 1999", |config| {
            config["proofLimitMs"] = json!(1999);
        }),
        ("Landlock ABI 99", |config| {
            config["run"]["profile"] = json!({"Hardened": {"landlockAbi": 99}});
        }),
        ("found no executable file", |config| {
            config["run"]["command"] = json!("/no/such");
        }),
    ];
    for (message, spoil) in spoilt {
        let mut setup = Setup::hardened(AGENT);
        spoil(&mut setup.config);
        let mut worker = setup.start();
        worker.end().never_ran(EXIT_REFUSED, message);
    }
}

#[test]
fn who_is_no_worker_is_not_ready() {
    let run = crate::harness::Run::shell("");
    let output = run
        .contained()
        .arg(run.path("bin/cloister-sandbox"))
        .arg("ready")
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(line.contains("no Worker's supervisor"), "{line}");
}
