//! The programs of a control plane: their files, their ports, their lives.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio, id},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use crds::well_known::{OPERATOR_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};
use serde_json::json;

/// Token of somebody who may do everything.
pub const ADMIN: &str = "admin";
/// The operator's service account.
pub const OPERATOR: &str = "operator";
/// Whoever stands for a kubelet: it may do everything, and counts as a node where admission asks.
pub const NODE: &str = "node";
/// The operator by name, who may do everything.
pub const UNASKED: &str = "unasked";
/// File that makes a process of its own the operator.
pub const OPERATOR_KUBECONFIG: &str = "operator.kubeconfig";
/// The controllers.
const CONTROLLERS: &str = "controllers";

/// Reads are written down of the operator alone: the controllers read all the time.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: Metadata, users: ['system:serviceaccount:cloister-system:cloister-operator']}
- {level: None, verbs: [get, list, watch]}
- {level: None, resources: [{group: coordination.k8s.io}]}
- {level: Metadata}
";

const ETCD: &str = "--data-dir {dir}/etcd --unsafe-no-fsync --log-level error \
    --listen-client-urls http://127.0.0.1:{etcd} --advertise-client-urls http://127.0.0.1:{etcd} \
    --listen-peer-urls http://127.0.0.1:{peer} --initial-advertise-peer-urls http://127.0.0.1:{peer} \
    --initial-cluster default=http://127.0.0.1:{peer}";

const API_SERVER: &str = "kube-apiserver --etcd-servers http://127.0.0.1:{etcd} \
    --bind-address 127.0.0.1 --advertise-address 192.0.2.1 --secure-port {api} --cert-dir {dir}/certificates \
    --token-auth-file {dir}/tokens --service-cluster-ip-range 10.96.0.0/16 \
    --service-account-key-file {dir}/sa.key --service-account-signing-key-file {dir}/sa.key \
    --service-account-issuer https://kubernetes.default.svc --authorization-mode RBAC \
    --profiling=false --max-requests-inflight 4000 --max-mutating-requests-inflight 2000 \
    --audit-policy-file {dir}/audit-policy.yaml --audit-log-path {dir}/audit.log --audit-log-mode blocking";

// No controller that knows of nodes: a node nobody hears of would be taken for dead.
const CONTROLLER_MANAGER: &str = "kube-controller-manager --kubeconfig {dir}/controllers.kubeconfig \
    --bind-address 127.0.0.1 --secure-port {manager} --cert-dir {dir}/certificates \
    --service-account-private-key-file {dir}/sa.key --use-service-account-credentials --leader-elect=false \
    --kube-api-qps 1000 --kube-api-burst 2000 \
    --controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller,resourcequota-controller,\
    deployment-controller,replicaset-controller,statefulset-controller,disruption-controller,\
    persistentvolumeclaim-protection-controller";

/// Where each of the programs listens.
pub struct Ports {
    etcd: u16,
    peer: u16,
    /// The API server's.
    pub api: u16,
    manager: u16,
}

/// Ports that are free now. All are held at once, so that no two are the same.
pub fn free_ports() -> Ports {
    let bind = || match TcpListener::bind("127.0.0.1:0") {
        Ok(listener) => listener,
        Err(error) => panic!("no free port on the loopback: {error}"),
    };
    let held = [bind(), bind(), bind(), bind()];
    let [etcd, peer, api, manager] =
        held.map(|one| one.local_addr().map_or(0, |address| address.port()));
    Ports {
        etcd,
        peer,
        api,
        manager,
    }
}

/// A directory of our own; those of processes that are no more are removed.
pub fn fresh_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    const PREFIX: &str = "cloister-control-plane-";
    let base = std::env::temp_dir();
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    base.join(format!("{PREFIX}{}-{count}", id()))
}

/// Everything that the programs read when they start.
pub fn prepare(directory: &Path, port: u16) {
    let operator = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    let tokens = format!(
        "{ADMIN},admin,1,\"system:masters\"\n\
         {CONTROLLERS},system:kube-controller-manager,2\n\
         {NODE},system:node:made-up,4,\"system:nodes,system:masters\"\n\
         {OPERATOR},{operator},3,\
         \"system:serviceaccounts,system:serviceaccounts:{SYSTEM_NAMESPACE}\"\n\
         {UNASKED},{operator},5,\"system:masters\"\n"
    );
    let kubeconfig = |token: &str| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        })
    };
    fs::create_dir_all(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for (name, text) in [
        ("tokens", tokens),
        ("audit-policy.yaml", AUDIT_POLICY.to_owned()),
        (
            "controllers.kubeconfig",
            kubeconfig(CONTROLLERS).to_string(),
        ),
        (OPERATOR_KUBECONFIG, kubeconfig(OPERATOR).to_string()),
    ] {
        fs::write(directory.join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let made = Command::new("openssl")
        .args([
            "ecparam",
            "-genkey",
            "-noout",
            "-name",
            "prime256v1",
            "-out",
        ])
        .arg(directory.join("sa.key"))
        .status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "openssl makes no key; is it installed?"
    );
}

/// Starts the programs from a thread that lives as long as they may: the kernel ends them
/// when it ends, whatever becomes of the test.
pub fn keep(
    programs: &[PathBuf],
    directory: &Path,
    ports: &Ports,
) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
    let fill = |template: &str| -> Vec<String> {
        let filled = template
            .replace("{dir}", &directory.display().to_string())
            .replace("{etcd}", &ports.etcd.to_string())
            .replace("{peer}", &ports.peer.to_string())
            .replace("{api}", &ports.api.to_string())
            .replace("{manager}", &ports.manager.to_string());
        filled.split_whitespace().map(ToOwned::to_owned).collect()
    };
    let (etcd, hyperkube) = (programs[0].join("etcd"), programs[1].join("hyperkube"));
    let (store, server) = (fill(ETCD), fill(API_SERVER));
    let controllers = fill(CONTROLLER_MANAGER);
    let directory = directory.to_owned();
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let start = |name, program, line: &[String]| spawn(&directory, name, program, line);
        let mut children = vec![
            start("etcd", &etcd, &store),
            start("kube-apiserver", &hyperkube, &server),
        ];
        // The controllers end when they find no server, so they begin when it is ready.
        if receiver.recv().is_ok() {
            children.push(start("kube-controller-manager", &hyperkube, &controllers));
            // Disconnected when the control plane is dropped.
            receiver.recv().ok();
        }
        for child in children.iter_mut().flatten() {
            child.kill().ok();
            child.wait().ok();
        }
    });
    (sender, thread)
}

/// One program, which dies with this thread.
fn spawn(directory: &Path, name: &str, program: &Path, arguments: &[String]) -> Option<Child> {
    let log = fs::File::create(directory.join(format!("{name}.log"))).ok()?;
    let errors = log.try_clone().ok()?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .ok()
}
