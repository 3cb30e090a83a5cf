//! What Executions cost: writes at the API server, and the leader's processor and memory.
//!
//! In: the state before and after. Out: two lines. Writes are anybody's: the client's, the operator's,
//! the kubelets' and Kubernetes' own controllers'. What the operator alone writes, `bench-dispatch` says.

use tests::{
    live::{
        Live, owns_cluster,
        system::{process_of, served},
    },
    measure::{Usage, writes::Writes},
};

/// The state at one time.
pub(crate) struct Meter {
    writes: Writes,
    leader: Option<String>,
    usage: Option<Usage>,
}

impl Meter {
    /// Reads it now.
    pub(crate) async fn read(live: &Live) -> Self {
        let leader = live.leader().await;
        let pid = leader.as_deref().filter(|_| owns_cluster());
        let usage = pid.and_then(process_of);
        Self {
            writes: Writes::of_metrics(&live.admin.text("/metrics").await),
            usage: usage.and_then(|pid| Usage::of(pid.as_raw_nonzero().get())),
            leader,
        }
    }

    /// Prints what so many have cost since `before`.
    pub(crate) async fn print_since(&self, before: &Self, what: &str, count: usize) {
        let written = self.writes.since(&before.writes);
        println!("{what}: anybody's writes for each {}", written.each(count));
        match (&self.usage, &before.usage) {
            (Some(after), Some(earlier)) if self.leader == before.leader => {
                println!("{what}: leader {}", after.since(earlier, count));
            }
            (Some(_), Some(_)) => println!("{what}: another one leads now, so no CPU is counted"),
            // Its process is on another machine: it tells its memory, and not its processor's time.
            _ => println!("{what}: leader {} bytes resident", self.told().await),
        }
    }

    async fn told(&self) -> String {
        let Some(leader) = &self.leader else {
            return "unknown".to_owned();
        };
        let page = served(leader, "/metrics").await;
        let mut lines = page.lines();
        let found =
            lines.find_map(|line| line.strip_prefix("cloister_process_resident_memory_bytes "));
        found.unwrap_or("unknown").to_owned()
    }
}
