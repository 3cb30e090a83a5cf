//! What runs, and whether it is well.

use std::fmt;

use super::Cluster;
use super::faults::Fault;
use super::node::DAEMONS;
use super::process::{self, Identity};
use super::topology::{NODES, Node};

/// What runs on the host.
const HOST: [&str; 6] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "cilium-operator",
    "outside",
];

/// A process that should run.
#[derive(Debug)]
pub struct DaemonStatus {
    /// Its name in the register: `node-a.kubelet`, for example.
    pub name: String,
    /// Its id, if it runs.
    pub pid: Option<i32>,
    /// `running`, `stopped` or `gone`.
    pub state: &'static str,
    /// For how many seconds it runs.
    pub uptime: u64,
}

/// A node.
#[derive(Debug)]
pub struct NodeStatus {
    /// Its name.
    pub name: &'static str,
    /// Its zone.
    pub zone: &'static str,
    /// Whether Kubernetes calls it Ready.
    pub ready: bool,
    /// Whether Cilium's agent there is well.
    pub policies: bool,
    /// What was done to it on purpose.
    pub fault: Option<Fault>,
}

/// All of it.
#[derive(Debug)]
pub struct Status {
    /// Whether `up` has come to its end.
    pub up: bool,
    /// What should run.
    pub daemons: Vec<DaemonStatus>,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
}

impl Status {
    /// Whether nothing is missing and nothing is broken.
    pub fn is_healthy(&self) -> bool {
        self.up
            && self.daemons.iter().all(|daemon| daemon.state == "running")
            && self
                .nodes
                .iter()
                .all(|node| node.ready && node.policies && node.fault.is_none())
    }

    /// Whether what runs on the host runs (the server in the outside can be started by itself).
    pub fn control_plane_runs(&self) -> bool {
        self.daemons
            .iter()
            .filter(|daemon| !daemon.name.contains('.') && daemon.name != "outside")
            .all(|daemon| daemon.state == "running")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<26} {:>8}  {:<8} {:>8}",
            "COMPONENT", "PID", "STATE", "UPTIME"
        )?;
        for daemon in &self.daemons {
            let pid = daemon
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let uptime = format!("{}:{:02}", daemon.uptime / 60, daemon.uptime % 60);
            writeln!(
                f,
                "{:<26} {pid:>8}  {:<8} {uptime:>8}",
                daemon.name, daemon.state
            )?;
        }
        writeln!(
            f,
            "\n{:<8} {:<8} {:<6} {:<9} FAULT",
            "NODE", "ZONE", "READY", "POLICIES"
        )?;
        for node in &self.nodes {
            let yes = |yes| if yes { "yes" } else { "no" };
            let fault = node
                .fault
                .map_or_else(|| "-".to_owned(), |fault| fault.to_string());
            let (ready, policies) = (yes(node.ready), yes(node.policies));
            writeln!(
                f,
                "{:<8} {:<8} {ready:<6} {policies:<9} {fault}",
                node.name, node.zone
            )?;
        }
        Ok(())
    }
}

impl Cluster {
    /// Looks at everything.
    pub fn status(&self) -> Status {
        let host = HOST.iter().map(|name| (*name).to_owned());
        let on_nodes = NODES
            .iter()
            .flat_map(|node| DAEMONS.map(|daemon| Self::daemon_name(node, daemon)));
        let daemons: Vec<_> = host
            .chain(on_nodes)
            .map(|name| self.daemon_status(name))
            .collect();
        let answering = daemons
            .iter()
            .any(|daemon| daemon.name == "kube-apiserver" && daemon.pid.is_some());
        let ready = if answering {
            self.ready_nodes()
        } else {
            Vec::new()
        };
        let node = |node: &'static Node| NodeStatus {
            name: node.name,
            zone: node.zone,
            ready: ready.iter().any(|name| name == node.name),
            policies: self.fault(node) != Some(Fault::Frozen) && self.cilium_is_ready(node),
            fault: self.fault(node),
        };
        Status {
            up: self.is_up(),
            daemons,
            nodes: NODES.iter().map(node).collect(),
        }
    }

    fn daemon_status(&self, name: String) -> DaemonStatus {
        let identity = self.processes().alive(&name);
        let state = match identity.and_then(Identity::stat) {
            None => "gone",
            Some(stat) if stat.is_stopped() => "stopped",
            Some(_) => "running",
        };
        let uptime = identity.map_or(0, |identity| {
            process::uptime_ticks().saturating_sub(identity.start) / 100
        });
        DaemonStatus {
            name,
            pid: identity.map(|identity| identity.pid),
            state,
            uptime,
        }
    }

    /// Whether Kubernetes calls a node Ready.
    pub fn node_is_ready(&self, name: &str) -> bool {
        self.ready_nodes().iter().any(|ready| ready == name)
    }

    /// When a kubelet last said how its node is, as Kubernetes writes it; empty if it never did. (Its
    /// lease would not do: it is renewed before the kubelet looks after its pods.)
    pub(super) fn last_sign_of(&self, name: &str) -> String {
        let query = "jsonpath={.status.conditions[?(@.type==\"Ready\")].lastHeartbeatTime}";
        self.kubectl(&["get", "node", name, "-o", query])
            .unwrap_or_default()
    }

    /// The nodes that Kubernetes calls Ready; none if the API server does not answer.
    fn ready_nodes(&self) -> Vec<String> {
        let query = "jsonpath={range .items[*]}{.metadata.name}{\" \"}\
                     {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let answer = self
            .kubectl(&["get", "nodes", "--request-timeout=5s", "-o", query])
            .unwrap_or_default();
        answer
            .lines()
            .filter_map(|line| line.strip_suffix(" True"))
            .map(str::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frozen_node_is_not_healthy() {
        let node = |fault| NodeStatus {
            name: "node-a",
            zone: "zone-a",
            ready: true,
            policies: true,
            fault,
        };
        let mut status = Status {
            up: true,
            daemons: Vec::new(),
            nodes: vec![node(None)],
        };
        assert!(status.is_healthy());
        status.nodes.push(node(Some(Fault::Frozen)));
        assert!(!status.is_healthy());
        assert!(status.to_string().contains("frozen"));
    }
}
