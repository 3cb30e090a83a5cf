//! `make bench`, of Executions: each figure beside its floor, a bare pod or a bare Job that is as
//! hardened and runs the same, on the same machine in the same run.
//!
//! In: `$KUBECONFIG`, a cluster that Cloister is installed in and whose nodes are on this machine:
//! a command tells when it began by the node's clock. Out: lines on standard output, progress on
//! standard error. A [`Section`] stands in a module of its own and has tenants of its own.

mod cold;
mod floor;
mod leader;
mod meter;
mod neighbour;
mod rate;
mod scene;
mod warm;

use clap::{Parser, ValueEnum};
use tests::live::Live;

use self::scene::Kernel;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Bare pod, bare Job and cold Execution, in turn.
    Cold,
    /// Warm, one after the other; writes and CPU for each.
    Serial,
    /// Warm, many at once: as many as there are sandboxes, and more.
    Bursts,
    /// The most that the machine sustains; writes and CPU for each.
    Rate,
    /// A start beside another tenant's command that takes all there is.
    Neighbour,
    /// A start right after the leader was killed, and after it was asked to go.
    Leader,
}

/// Measure Executions on the cluster of $KUBECONFIG.
#[derive(Debug, Parser)]
struct Arguments {
    /// Sections to run; all of them, if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Kernels to run them on.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "runc,gvisor")]
    kernels: Vec<Kernel>,
    /// Bare pods, bare Jobs and cold Executions on each kernel, in turn.
    #[arg(long, default_value_t = 8)]
    cold: usize,
    /// Executions one after the other, on each kernel.
    #[arg(long, default_value_t = 30)]
    serial: usize,
    /// Bursts on each kernel.
    #[arg(long, default_value_t = 3)]
    bursts: usize,
    /// Executions of each, and sandboxes that stand ready for it.
    #[arg(long, default_value_t = 10)]
    burst: usize,
    /// Executions of the burst that is larger than its pool; on the first kernel.
    #[arg(long, default_value_t = 50)]
    crowd: usize,
    /// Sandboxes that stand ready for that.
    #[arg(long, default_value_t = 20)]
    pool: usize,
    /// Clients of the closed loops, on the first kernel.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Seconds of each closed loop: Executions, then bare pods.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// A neighbour's Executions, before and beside each greedy command.
    #[arg(long, default_value_t = 15)]
    neighbours: usize,
    /// Leaders killed, and as many asked to go.
    #[arg(long, default_value_t = 3)]
    leaders: usize,
}

impl Arguments {
    fn wants(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    /// The kernel of what is measured on one alone.
    fn first(&self) -> Kernel {
        self.kernels.first().copied().unwrap_or(Kernel::Runc)
    }
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    Live::run(async |live| {
        for kernel in &arguments.kernels {
            if arguments.wants(Section::Cold) {
                cold::measure(live, *kernel, arguments.cold).await;
            }
            if arguments.wants(Section::Serial) {
                warm::serial(live, *kernel, arguments.serial).await;
            }
            if arguments.wants(Section::Bursts) {
                let size = (arguments.bursts, arguments.burst);
                warm::bursts(live, *kernel, size).await;
            }
        }
        let first = arguments.first();
        if arguments.wants(Section::Bursts) {
            warm::crowd(live, first, (arguments.crowd, arguments.pool)).await;
        }
        if arguments.wants(Section::Rate) {
            rate::measure(live, first, (arguments.clients, arguments.seconds)).await;
        }
        if arguments.wants(Section::Neighbour) {
            neighbour::measure(live, first, arguments.neighbours).await;
        }
        if arguments.wants(Section::Leader) {
            leader::measure(live, first, arguments.leaders).await;
        }
    })
    .await;
}
