//! One node: namespaces of its own, held by a process that does nothing else, and in them containerd,
//! kubelet, kube-proxy and Cilium's agent.
//!
//! Inside, `/var` is the node's own directory and `/run` an empty memory file system, so that every
//! program may use its default paths. All of `/run` and every mount is gone when the node is killed, as
//! after a power failure; `/var` stays, as a disk does.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Cluster;
use super::command::{Daemon, command, run, wait_until};
use super::config;
use super::error::Error;
use super::network;
use super::paths::{self, Paths, write};
use super::topology::{API_ADDRESS, Node, OUTSIDE_ADDRESS, POD_CIDR, REGION};

/// Who runs on a node, in the order of starting; the first holds the namespaces.
pub const DAEMONS: [&str; 5] = [
    "machine",
    "containerd",
    "kube-proxy",
    "cilium-agent",
    "kubelet",
];

/// Makes the namespaces into a machine. `$1` is the node's directory, `$2` the cache that must stay
/// visible inside, `$3` the node's name.
const MACHINE: &str = r#"
set -e
hostname "$3"
mount -n -t tmpfs -o mode=755 tmpfs /run
case "$2" in /var/*) mkdir -p "$1$2"; mount -n --bind "$2" "$1$2";; esac
mount -n --rbind "$1/var" /var
mkdir -p /run/lock /run/cilium /run/netns
mount -t bpf bpf /sys/fs/bpf
# Cilium's agent gets a view of /proc in which what it sets for the whole machine stays with the node:
# one of these settings cannot be taken back before the next boot.
mkdir /run/proc /run/settings
mount -t proc proc /run/proc
for setting in kernel/unprivileged_bpf_disabled kernel/timer_migration net/core/bpf_jit_enable; do
  own=/run/settings/$(basename $setting)
  cp /proc/sys/$setting $own && mount --bind $own /run/proc/sys/$setting
done
mount --make-rshared /
touch "$1/machine-ready"
exec sleep infinity
"#;

/// The rate limits are for nodes that get a few pods a minute. Here they get some each second.
const CILIUM_RATES: &str = r#"--api-rate-limit={"endpoint-create":"rate-limit:50/s,rate-burst:50,parallel-requests:8,auto-adjust:false","endpoint-delete":"rate-limit:50/s,rate-burst:50,parallel-requests:8,auto-adjust:false","endpoint-patch":"rate-limit:50/s,rate-burst:50,parallel-requests:8,auto-adjust:false"}"#;

// Balancing at the socket must stay off: it hangs on the one root of cgroups that all nodes share.
const CILIUM: &str = "--enable-ipv4=true --enable-ipv6=false --ipam=kubernetes --identity-allocation-mode=crd \
    --routing-mode=native --auto-direct-node-routes=true --enable-ipv4-masquerade=true --devices=eth0 \
    --direct-routing-device=eth0 --kube-proxy-replacement=false --bpf-lb-sock=false --enable-l7-proxy=false \
    --enable-hubble=false --enable-health-checking=false --enable-endpoint-health-checking=false \
    --bpf-root=/sys/fs/bpf --state-dir=/var/run/cilium --cni-exclusive=false --enable-bandwidth-manager=false \
    --enable-local-redirect-policy=false --prometheus-serve-addr= --procfs=/run/proc --enable-xt-socket-fallback=true \
    --install-iptables-rules=true --bpf-map-dynamic-size-ratio=0.0005 --agent-liveness-update-interval=1s";

impl Cluster {
    /// The name of a node's daemon in the register.
    pub(super) fn daemon_name(node: &Node, daemon: &str) -> String {
        format!("{}.{daemon}", node.name)
    }

    /// Writes a node's disk, as far as it is not there.
    pub(super) fn prepare_node(&self, node: &Node) -> Result<(), Error> {
        let dir = self.paths.node(node);
        for part in [
            "cni",
            "logs",
            "images",
            "var/lib/kubelet",
            "var/lib/containerd",
            "var/log",
            "var/tmp",
        ] {
            paths::make_dir(&dir.join(part))?;
        }
        let run = dir.join("var/run");
        if fs::symlink_metadata(&run).is_err() {
            std::os::unix::fs::symlink("/run", &run).map_err(Error::io("link", &run))?;
        }
        write(&dir.join("cni/05-cilium.conflist"), config::CNI)?;
        write(
            &dir.join("containerd.toml"),
            config::containerd(&self.paths.bin(), &dir),
        )?;
        write(
            &dir.join("kubelet.yaml"),
            config::kubelet(node, &self.paths.pki().join("ca.crt")),
        )?;
        write(
            &dir.join("var/lib/kubelet/resolv.conf"),
            format!("nameserver {OUTSIDE_ADDRESS}\n"),
        )?;
        let kubeconfig = self.paths.pki().join("kube-proxy.kubeconfig");
        write(
            &dir.join("kube-proxy.yaml"),
            config::kube_proxy(node, &kubeconfig),
        )
    }

    /// Switches the machine on: its namespaces, and nothing in them yet.
    pub(super) fn start_machine(&self, node: &Node) -> Result<(), Error> {
        let dir = self.paths.node(node);
        let ready = dir.join("machine-ready");
        fs::remove_file(&ready).ok();
        let netns = format!("--net={}", Paths::netns(&node.netns()).display());
        let words = [
            "nsenter",
            &netns,
            "unshare",
            "--mount",
            "--uts",
            "--propagation",
            "private",
            "sh",
            "-c",
            MACHINE,
        ];
        let mut line: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let cache = self.paths.cache();
        line.extend([
            "sh".to_owned(),
            dir.display().to_string(),
            cache.display().to_string(),
            node.name.to_owned(),
        ]);
        let log = self.paths.node_logs(node).join("machine.log");
        let hint = format!("see {}", log.display());
        let daemon = self.node_daemon(node, "machine", line);
        self.start_daemon(&Self::daemon_name(node, "machine"), &daemon)?;
        let limit = Duration::from_secs(20);
        wait_until(
            &format!("the namespaces of {} are set up", node.name),
            &hint,
            limit,
            || Ok(ready.exists()),
        )
    }

    /// Starts the container runtime and gives it all images.
    pub(super) fn start_runtime(&self, node: &Node) -> Result<(), Error> {
        let limit = Duration::from_secs(20);
        let dir = self.paths.node(node);
        let config = dir.join("containerd.toml").display().to_string();
        let socket = self
            .machine(node)?
            .root
            .join("run/containerd/containerd.sock");
        if self
            .processes()
            .alive(&Self::daemon_name(node, "containerd"))
            .is_none()
        {
            // Left by one that died by itself.
            fs::remove_file(&socket).ok();
        }
        self.start_in_node(
            node,
            "containerd",
            vec![self.program("containerd"), "--config".into(), config],
        )?;
        let hint = format!(
            "see {}",
            self.paths.node_logs(node).join("containerd.log").display()
        );
        wait_until(
            &format!("containerd of {} listens", node.name),
            &hint,
            limit,
            || Ok(socket.exists()),
        )?;
        self.load_all_images(node)
    }

    /// Starts what joins the machine to the cluster.
    pub(super) fn start_agents(&self, node: &Node) -> Result<(), Error> {
        let config = self
            .paths
            .node(node)
            .join("kube-proxy.yaml")
            .display()
            .to_string();
        let proxy = vec![
            self.program("hyperkube"),
            "kube-proxy".into(),
            "--config".into(),
            config,
        ];
        self.start_in_node(node, "kube-proxy", proxy)?;
        self.start_cilium(node)?;
        self.start_kubelet(node)
    }

    fn start_kubelet(&self, node: &Node) -> Result<(), Error> {
        let (dir, pki) = (self.paths.node(node), self.paths.pki());
        let line = vec![
            self.program("hyperkube"),
            "kubelet".to_owned(),
            format!("--config={}", dir.join("kubelet.yaml").display()),
            format!(
                "--kubeconfig={}",
                pki.join(format!("{}.kubeconfig", node.name)).display()
            ),
            format!("--hostname-override={}", node.name),
            format!("--node-ip={}", node.address()),
            format!(
                "--node-labels=topology.kubernetes.io/zone={},topology.kubernetes.io/region={REGION}",
                node.zone
            ),
            "--v=2".to_owned(),
        ];
        self.start_in_node(node, "kubelet", line)
    }

    /// Starts the engine of policies.
    pub(super) fn start_cilium(&self, node: &Node) -> Result<(), Error> {
        let mut line = vec![self.program("cilium-agent")];
        line.extend(CILIUM.split_whitespace().map(str::to_owned));
        line.extend([
            CILIUM_RATES.to_owned(),
            format!(
                "--k8s-kubeconfig-path={}",
                self.paths.pki().join("cilium.kubeconfig").display()
            ),
            format!("--ipv4-native-routing-cidr={POD_CIDR}"),
            // Beside it lies `bpf`, the sources that it compiles for each node.
            format!("--lib-dir={}", self.paths.bin().display()),
            format!("--cgroup-root=/run/cilium/cgroupv2-{}", node.name),
        ]);
        self.start_in_node(node, "cilium-agent", line)
    }

    /// Starts a daemon in the node's namespaces.
    fn start_in_node(&self, node: &Node, name: &str, line: Vec<String>) -> Result<(), Error> {
        let mut entered: Vec<String> = vec![
            "nsenter".into(),
            "-t".into(),
            self.machine(node)?.pid.to_string(),
        ];
        entered.extend(["-n", "-m", "-u", "--"].map(str::to_owned));
        entered.extend(line);
        self.start_daemon(
            &Self::daemon_name(node, name),
            &self.node_daemon(node, name, entered),
        )
    }

    fn node_daemon(&self, node: &Node, name: &str, line: Vec<String>) -> Daemon {
        let mut environment = self.environment();
        environment.extend(
            [
                ("K8S_NODE_NAME", node.name),
                ("KUBERNETES_SERVICE_HOST", API_ADDRESS),
                ("KUBERNETES_SERVICE_PORT", "6443"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        Daemon {
            line,
            environment,
            cgroup: self.cgroups.daemons(node.name),
            log: self.paths.node_logs(node).join(format!("{name}.log")),
        }
    }

    /// The process that holds a node's namespaces, and the node's root directory as seen from here.
    pub(super) fn machine(&self, node: &Node) -> Result<Machine, Error> {
        let holder = self
            .processes()
            .alive(&Self::daemon_name(node, "machine"))
            .ok_or_else(|| Error::NodeState {
                node: node.name.to_owned(),
                state: "not running".to_owned(),
                action: "enter it",
                hint: format!("run `cluster start {}`", node.name),
            })?;
        Ok(Machine {
            pid: holder.pid,
            root: PathBuf::from(format!("/proc/{}/root", holder.pid)),
        })
    }

    /// A command that is to run on a node.
    pub fn in_node(&self, node: &Node, program: &str) -> Result<Command, Error> {
        let pid = self.machine(node)?.pid.to_string();
        let mut entered = command("nsenter", ["-t", &pid, "-n", "-m", "-u", "--", program]);
        entered
            .envs(self.environment())
            .env("CONTAINERD_NAMESPACE", "k8s.io");
        Ok(entered)
    }

    /// Whether Cilium's agent on a node says that it is well.
    pub(super) fn cilium_is_ready(&self, node: &Node) -> bool {
        let netns = Paths::netns(&node.netns());
        let program = self.program("cluster");
        let mut probe = network::inside(&netns, &program, &["probe", "127.0.0.1:9879", "/healthz"]);
        self.processes()
            .alive(&Self::daemon_name(node, "cilium-agent"))
            .is_some()
            && run(&mut probe).is_ok()
    }

    /// Whether the API server can be reached from a node.
    pub(super) fn reaches_api(&self, node: &Node) -> bool {
        let netns = Paths::netns(&node.netns());
        let program = self.program("cluster");
        run(&mut network::inside(
            &netns,
            &program,
            &["probe", &format!("{API_ADDRESS}:6443")],
        ))
        .is_ok()
    }
}

/// A node that is switched on.
#[derive(Debug)]
pub struct Machine {
    /// Who holds its namespaces.
    pub pid: i32,
    /// Its root directory.
    pub root: PathBuf,
}
