//! What runs on the host: etcd, the API server, the controllers, the scheduler, Cilium's operator and
//! the server in the outside.

use std::path::Path;
use std::time::Duration;

use super::Cluster;
use super::command::{Daemon, tail, wait_until};
use super::config;
use super::error::Error;
use super::paths::{self, Paths};
use super::topology::{API_ADDRESS, OUTSIDE, POD_CIDR, SERVICE_CIDR};

/// The place of these processes among the cgroups.
pub const PLACE: &str = "control-plane";
/// The place of what runs in the outside.
pub const OUTSIDE_PLACE: &str = "outside";

const ETCD: &str = "--data-dir {state}/etcd --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
    --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
    --initial-cluster default=http://127.0.0.1:12380";

// Webhooks are called on pod addresses: the host has no proxy for Services.
const API_SERVER: &str = "kube-apiserver --etcd-servers http://127.0.0.1:12379 \
    --bind-address {api} --advertise-address {api} --secure-port 6443 \
    --tls-cert-file {pki}/apiserver.crt --tls-private-key-file {pki}/apiserver.key --client-ca-file {pki}/ca.crt \
    --service-account-key-file {pki}/sa.pub --service-account-signing-key-file {pki}/sa.key \
    --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range {services} \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true \
    --kubelet-client-certificate {pki}/admin.crt --kubelet-client-key {pki}/admin.key \
    --kubelet-preferred-address-types InternalIP --enable-aggregator-routing=true \
    --feature-gates ImageVolume=true --profiling=false \
    --audit-policy-file {state}/audit-policy.yaml --audit-log-path {state}/logs/audit.log --audit-log-maxsize 500";

const CONTROLLERS: &str = "kube-controller-manager --kubeconfig {pki}/controller-manager.kubeconfig \
    --bind-address 127.0.0.1 --service-account-private-key-file {pki}/sa.key --root-ca-file {pki}/ca.crt \
    --cluster-signing-cert-file {pki}/ca.crt --cluster-signing-key-file {pki}/ca.key \
    --allocate-node-cidrs --cluster-cidr {pods} --use-service-account-credentials --leader-elect=false";

const SCHEDULER: &str = "kube-scheduler --kubeconfig {pki}/scheduler.kubeconfig --bind-address 127.0.0.1 --leader-elect=false";

// The operator must not "restart" DNS pods that it does not know yet: that is for clusters that change
// their network while they run.
const CILIUM_OPERATOR: &str = "--k8s-kubeconfig-path {pki}/cilium.kubeconfig --k8s-api-server-urls= \
    --ipam kubernetes --identity-allocation-mode crd --cluster-name default --identity-gc-interval 15m \
    --operator-api-serve-addr 127.0.0.1:19234 --operator-prometheus-serve-addr= --enable-k8s-endpoint-slice=true \
    --leader-election-lease-duration 60s --leader-election-renew-deadline 40s --synchronize-k8s-nodes=true \
    --unmanaged-pod-watcher-interval 0";

/// Gives a program what a machine of its own would: a `/run` (Cilium's operator puts a socket there), and
/// time before whatever pods take, also where the kernel shares it out by sessions (`sched(7)`,
/// autogroups). Else a node's full load keeps the API server from answering for seconds.
const OWN_MACHINE: [&str; 7] = [
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-c",
    "mount -n -t tmpfs -o mode=755 tmpfs /run || exit; \
     if [ -w /proc/self/autogroup ]; then echo -10 >/proc/self/autogroup; fi; exec nice -n -10 \"$@\"",
    "sh",
];

impl Cluster {
    /// A program on the host, by its name in the bin directory and the template of its arguments.
    fn host_daemon(&self, name: &str, program: &str, arguments: &str) -> Result<(), Error> {
        let mut line: Vec<String> = OWN_MACHINE.iter().map(|word| (*word).to_owned()).collect();
        line.push(self.program(program));
        line.extend(arguments.split_whitespace().map(|word| self.fill(word)));
        let daemon = Daemon {
            line,
            environment: self.environment(),
            cgroup: self.cgroups.daemons(PLACE),
            log: self.paths.logs().join(format!("{name}.log")),
        };
        self.start_daemon(name, &daemon)
    }

    fn fill(&self, word: &str) -> String {
        let show = |path: &Path| path.display().to_string();
        word.replace("{state}", &show(&self.paths.state()))
            .replace("{pki}", &show(&self.paths.pki()))
            .replace("{api}", API_ADDRESS)
            .replace("{services}", SERVICE_CIDR)
            .replace("{pods}", POD_CIDR)
    }

    /// Starts the store and the API server, without waiting for them.
    pub(super) fn start_api_server(&self) -> Result<(), Error> {
        paths::write(
            &self.paths.state().join("audit-policy.yaml"),
            config::AUDIT_POLICY,
        )?;
        self.host_daemon("etcd", "etcd", ETCD)?;
        self.host_daemon("kube-apiserver", "hyperkube", API_SERVER)
    }

    /// Waits until the API server answers.
    pub(super) fn await_api_server(&self) -> Result<(), Error> {
        let log = self.paths.logs().join("kube-apiserver.log");
        let limit = Duration::from_secs(90);
        wait_until(
            "the API server is ready",
            &format!("see {}", log.display()),
            limit,
            || {
                if self.processes().alive("kube-apiserver").is_none() {
                    let hint = format!("it has ended:\n{}", tail(&log, 5));
                    return Err(Error::Timeout {
                        what: "the API server runs".into(),
                        waited: Duration::ZERO,
                        hint,
                    });
                }
                Ok(self.kubectl(&["get", "--raw=/readyz"]).is_ok())
            },
        )
    }

    /// Starts all that needs an API server.
    pub(super) fn start_controllers(&self) -> Result<(), Error> {
        self.host_daemon("kube-controller-manager", "hyperkube", CONTROLLERS)?;
        self.host_daemon("kube-scheduler", "hyperkube", SCHEDULER)?;
        self.host_daemon("cilium-operator", "cilium-operator", CILIUM_OPERATOR)
    }

    /// Starts the server in the outside: this very program, under another subcommand.
    pub(super) fn start_outside(&self) -> Result<(), Error> {
        let netns = Paths::netns(OUTSIDE);
        let daemon = Daemon {
            line: vec![
                "nsenter".to_owned(),
                format!("--net={}", netns.display()),
                self.program("cluster"),
                "outside-listen".to_owned(),
            ],
            environment: Vec::new(),
            cgroup: self.cgroups.daemons(OUTSIDE_PLACE),
            log: self.paths.logs().join("outside.log"),
        };
        self.start_daemon("outside", &daemon)
    }
}
