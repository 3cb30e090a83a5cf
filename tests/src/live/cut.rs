//! One replica of the operator cut off from the API server, and from nothing else: it goes on
//! hearing and answering pods.
//!
//! Only where the nodes are ours. In: a replica that runs. Out: a [`Cut`], which lasts until it is
//! dropped, and what stands between the replica and sandboxes meanwhile. Packets to and from the API
//! server are dropped without a word, in the pod's own network namespace, which outlives its process.

use std::{fs::File, os::fd::AsRawFd as _, process::Command};

use rustix::process::Pid;
use serde_json::Value;

use super::{
    Live, must,
    system::{OPERATOR, process_of},
    text,
};
use crate::cluster::topology::API_ADDRESS;

/// What holds the rules in the pod's network namespace.
const TABLE: &str = "cloister-test";
/// Where sandboxes dial.
const DISPATCH: u16 = crds::well_known::DISPATCH_PORT;

/// A replica that does not reach the API server, until this is dropped.
#[derive(Debug)]
pub struct Cut(Network);

/// Sessions of sandboxes that stand at a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// How many.
    pub count: usize,
    /// Bytes that they have brought so far.
    pub received: u64,
}

/// The network namespace of a pod, held open.
#[derive(Debug)]
pub struct Network(File);

impl Live {
    /// The network of a replica of the operator.
    #[track_caller]
    pub fn network_of(&self, replica: &str) -> Network {
        let _ = self.nodes();
        let pid = must(process_of(replica).ok_or("it has no process"), replica);
        must(Network::of(pid), replica)
    }

    /// Cuts a replica off from the API server.
    pub async fn cut_from_api(&self, replica: &str) -> Cut {
        let service = "/api/v1/namespaces/default/services/kubernetes";
        let service: Value = must(self.get(service).await, service);
        let address = text(&service, "/spec/clusterIP");
        let cut = Cut(self.network_of(replica));
        let servers = format!("{{ {address}, {API_ADDRESS} }}");
        let rules = format!(
            "table inet {TABLE} {{ \
             chain out {{ type filter hook output priority 0; ip daddr {servers} counter drop; }}; \
             chain in {{ type filter hook input priority 0; ip saddr {servers} counter drop; }}; }}"
        );
        must(cut.0.run(&["nft", &rules]), replica);
        cut
    }

    /// Undoes what a test that was killed has left.
    pub(super) async fn mend_cuts(&self) {
        for pod in self.pods_of(OPERATOR).await {
            let pid = process_of(&text(&pod, "/metadata/name"));
            if let Some(Ok(network)) = pid.map(Network::of) {
                drop(Cut(network));
            }
        }
    }
}

impl Network {
    fn of(pid: Pid) -> Result<Self, std::io::Error> {
        let file = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
        File::open(file).map(Self)
    }

    /// Runs a command in it; gives what it prints.
    fn run(&self, words: &[&str]) -> Result<String, String> {
        let held = format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd());
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={held}")).args(words);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What of sandboxes stands at it now.
    #[track_caller]
    pub fn sessions(&self) -> Sessions {
        let port = format!(":{DISPATCH}");
        let words = ["ss", "-tinH", "state", "established", "sport", "=", &port];
        sessions(&must(self.run(&words), "ss"))
    }
}

impl Cut {
    /// Its network.
    pub const fn network(&self) -> &Network {
        &self.0
    }

    /// How many packets were dropped, either way.
    #[track_caller]
    pub fn dropped(&self) -> u64 {
        let rules = self.0.run(&["nft", "list", "table", "inet", TABLE]);
        dropped(&must(rules, "nft"))
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // What is not there, is undone already.
        let _ = self.0.run(&["nft", "delete", "table", "inet", TABLE]);
    }
}

/// From `ss -tin`: a line with addresses for each, and one with words such as `bytes_received:42`.
fn sessions(said: &str) -> Sessions {
    let port = format!(":{DISPATCH} ");
    let words = said.split_whitespace();
    let received = words.filter_map(|word| word.strip_prefix("bytes_received:"));
    Sessions {
        count: said.lines().filter(|line| line.contains(&port)).count(),
        received: received.filter_map(|count| count.parse::<u64>().ok()).sum(),
    }
}

/// From the rules as `nft` lists them: `counter packets 3 bytes 180 drop`.
fn dropped(rules: &str) -> u64 {
    let counts = rules.split("counter packets ").skip(1);
    let counts = counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_with_what_they_brought() {
        let said = "0      0      10.244.1.5:7443   10.244.2.9:41234 \n\
                    \t cubic rto:204 bytes_acked:1400 bytes_received:700 segs_out:9\n\
                    0      0      10.244.1.5:7443   10.244.0.7:50001 \n\
                    \t cubic rto:204 bytes_received:42\n";
        let found = sessions(said);
        assert_eq!((found.count, found.received), (2, 742));
        assert_eq!(sessions(""), Sessions::default());
    }

    #[test]
    fn what_was_dropped_is_summed_over_the_rules() {
        let rules = "chain out { ip daddr { 10.96.0.1 } counter packets 3 bytes 180 drop }\n\
                     chain in { ip saddr { 10.96.0.1 } counter packets 4 bytes 9 drop }";
        assert_eq!(dropped(rules), 7);
        assert_eq!(dropped("table inet x { }"), 0);
    }
}
