//! What can happen to a node: it stands still, it dies, it is cut off, its policy engine stops.
//!
//! Each function returns when its effect is real, and does nothing if that is so already. What was done
//! is written down in the node's directory, so that `status` and the opposite know.

use std::fmt;
use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::Cluster;
use super::command::wait_until;
use super::down::restore_settings;
use super::error::Error;
use super::network;
use super::node::DAEMONS;
use super::paths;
use super::topology::Node;

/// What was done to a node on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// All its processes are stopped and its cable is unplugged.
    Frozen,
    /// All its processes are gone and its cable is unplugged.
    Killed,
    /// Its cable is unplugged.
    Partitioned,
}

impl Fault {
    fn parse(text: &str) -> Option<Self> {
        [Self::Frozen, Self::Killed, Self::Partitioned]
            .into_iter()
            .find(|fault| fault.to_string() == text.trim())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frozen => "frozen",
            Self::Killed => "killed",
            Self::Partitioned => "partitioned",
        })
    }
}

/// How long a fault may take to show.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a node may take to come back.
const RETURN_LIMIT: Duration = Duration::from_mins(2);

impl Cluster {
    /// What was done to a node and not undone.
    pub fn fault(&self, node: &Node) -> Option<Fault> {
        Fault::parse(&fs::read_to_string(self.paths.fault(node)).ok()?)
    }

    fn set_fault(&self, node: &Node, fault: Option<Fault>) -> Result<(), Error> {
        let file = self.paths.fault(node);
        match fault {
            Some(fault) => paths::write(&file, fault.to_string()),
            None => fs::remove_file(&file).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(Error::io("remove", &file)(error)),
            }),
        }
    }

    /// A node of a cluster that is up, and not in a state in which the action makes no sense.
    fn node_for(
        &self,
        name: &str,
        action: &'static str,
        not_if: &[(Fault, &str)],
    ) -> Result<&'static Node, Error> {
        let node = Node::named(name)?;
        if !self.is_up() {
            return Err(Error::NotUp);
        }
        match self
            .fault(node)
            .and_then(|fault| not_if.iter().find(|(other, _)| *other == fault))
        {
            Some((fault, remedy)) => Err(Error::NodeState {
                node: name.to_owned(),
                state: fault.to_string(),
                action,
                hint: format!("run `cluster {remedy} {name}` first"),
            }),
            None => Ok(node),
        }
    }

    /// Stops every process of a node, those in its pods included, and unplugs it: from the outside a
    /// machine that hangs, from the inside no time passes.
    pub fn freeze(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(
            name,
            "freeze it",
            &[(Fault::Killed, "start"), (Fault::Partitioned, "heal")],
        )?;
        self.set_fault(node, Some(Fault::Frozen))?;
        network::set_link(&node.link(), false)?;
        wait_until(
            &format!("every process of {name} is stopped"),
            "see `cluster status`",
            LIMIT,
            || {
                // Asked twice: whoever was started in between is found by the second look.
                let mut still = true;
                for identity in self.cgroups.members(node.name) {
                    if identity
                        .stat()
                        .is_some_and(|stat| !stat.is_stopped() && !stat.is_dead())
                    {
                        identity.signal(Signal::STOP);
                        still = false;
                    }
                }
                Ok(still)
            },
        )
    }

    /// Undoes [`Self::freeze`]; returns when the node reaches the API server.
    pub fn thaw(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(
            name,
            "thaw it",
            &[(Fault::Killed, "start"), (Fault::Partitioned, "heal")],
        )?;
        if self.fault(node) != Some(Fault::Frozen) {
            return Ok(());
        }
        network::set_link(&node.link(), true)?;
        for identity in self.cgroups.members(node.name) {
            identity.signal(Signal::CONT);
        }
        self.set_fault(node, None)?;
        self.await_return(node)
    }

    /// Ends every process of a node at once and unplugs it: a power failure. Its disk stays.
    pub fn kill(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(name, "kill it", &[])?;
        self.set_fault(node, Some(Fault::Killed))?;
        network::set_link(&node.link(), false)?;
        self.cgroups.thaw();
        wait_until(
            &format!("every process of {name} has ended"),
            "see `cluster status`",
            LIMIT,
            || {
                let left = self.cgroups.members(node.name);
                for identity in &left {
                    identity.signal(Signal::KILL);
                }
                Ok(left.is_empty())
            },
        )?;
        for daemon in DAEMONS {
            self.processes().forget(&Self::daemon_name(node, daemon));
        }
        Ok(())
    }

    /// Switches a killed node on again, and starts again whatever else of a node does not run. Returns
    /// when the node is Ready and its policies are enforced.
    pub fn start(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(
            name,
            "start it",
            &[(Fault::Frozen, "thaw"), (Fault::Partitioned, "heal")],
        )?;
        let runs = |daemon| {
            self.processes()
                .alive(&Self::daemon_name(node, daemon))
                .is_some()
        };
        let before = self.last_sign_of(node.name);
        let switched_off = !runs("machine");
        let restarted = !DAEMONS.into_iter().all(runs);
        if switched_off {
            self.replace_machine(node)?;
        }
        if restarted {
            self.start_runtime(node)?;
            self.start_agents(node)?;
        }
        self.set_fault(node, None)?;
        // For a while, Kubernetes does not know that the node was away: Ready may be old news.
        let hint = format!("see the logs in {}", self.paths.node_logs(node).display());
        let news = || Ok(!restarted || self.last_sign_of(node.name) != before);
        wait_until(
            &format!("the kubelet of {name} reports"),
            &hint,
            RETURN_LIMIT,
            news,
        )?;
        let ready = || Ok(self.node_is_ready(node.name) && self.cilium_is_ready(node));
        wait_until(&format!("{name} is Ready"), &hint, RETURN_LIMIT, ready)?;
        restore_settings(&self.paths);
        Ok(())
    }

    /// Gives a node that is switched off new namespaces and a new cable, and switches it on.
    fn replace_machine(&self, node: &Node) -> Result<(), Error> {
        // A holder that died by itself leaves others who would be in the way.
        let what = format!("the old processes of {} have ended", node.name);
        wait_until(&what, "see `cluster status`", LIMIT, || {
            let left = self.cgroups.members(node.name);
            for identity in &left {
                identity.signal(Signal::KILL);
            }
            Ok(left.is_empty())
        })?;
        self.cgroups.forget_pods(node.name);
        network::remove_namespace(&node.netns(), &node.link());
        network::create_node(node)?;
        self.prepare_node(node)?;
        self.start_machine(node)
    }

    /// Unplugs a node: everything on it runs on, alone.
    pub fn partition(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(
            name,
            "cut it off",
            &[(Fault::Killed, "start"), (Fault::Frozen, "thaw")],
        )?;
        self.set_fault(node, Some(Fault::Partitioned))?;
        network::set_link(&node.link(), false)?;
        wait_until(
            &format!("{name} is cut off"),
            "see `ip link`",
            LIMIT,
            || Ok(!network::link_is_up(&node.link()) && !self.reaches_api(node)),
        )
    }

    /// Undoes [`Self::partition`]; returns when the node reaches the API server.
    pub fn heal(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(
            name,
            "heal it",
            &[(Fault::Killed, "start"), (Fault::Frozen, "thaw")],
        )?;
        if self.fault(node) != Some(Fault::Partitioned) {
            return Ok(());
        }
        network::set_link(&node.link(), true)?;
        self.set_fault(node, None)?;
        self.await_return(node)
    }

    /// Ends the agent that enforces network policies on a node, and nothing else.
    pub fn cilium_stop(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(
            name,
            "stop its Cilium agent",
            &[(Fault::Killed, "start"), (Fault::Frozen, "thaw")],
        )?;
        let Some(agent) = self
            .processes()
            .alive(&Self::daemon_name(node, "cilium-agent"))
        else {
            return Ok(());
        };
        agent.signal(Signal::KILL);
        wait_until(
            &format!("Cilium's agent on {name} has ended"),
            "see `cluster status`",
            LIMIT,
            || Ok(!agent.is_alive()),
        )
    }

    /// Starts it again; returns when it says that it is well.
    pub fn cilium_start(&self, name: &str) -> Result<(), Error> {
        let _lock = self.lock()?;
        let node = self.node_for(
            name,
            "start its Cilium agent",
            &[(Fault::Killed, "start"), (Fault::Frozen, "thaw")],
        )?;
        self.start_cilium(node)?;
        let hint = format!(
            "see {}",
            self.paths
                .node_logs(node)
                .join("cilium-agent.log")
                .display()
        );
        let ready = || Ok(self.cilium_is_ready(node));
        wait_until(
            &format!("Cilium's agent on {name} is ready"),
            &hint,
            RETURN_LIMIT,
            ready,
        )
    }

    fn await_return(&self, node: &Node) -> Result<(), Error> {
        let what = format!("{} reaches the API server", node.name);
        wait_until(&what, "see `cluster status`", LIMIT, || {
            Ok(self.reaches_api(node))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_was_written() {
        for fault in [Fault::Frozen, Fault::Killed, Fault::Partitioned] {
            assert_eq!(Fault::parse(&format!("{fault}\n")), Some(fault));
        }
        assert_eq!(Fault::parse("tired"), None);
    }
}
