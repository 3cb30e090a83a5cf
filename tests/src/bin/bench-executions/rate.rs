//! The most that the machine sustains: a closed loop of Executions, and the same loop of bare pods. On
//! the node's own kernel a sandbox has an init container, and so other bare pods have one.

use std::time::Duration;

use kube::Client;
use tests::{
    live::{Live, must},
    measure::{
        load::{self, Load, Outcome},
        ratio,
    },
};

use crate::{
    floor::Pods,
    meter::Meter,
    scene::{Executions, Kernel, full, put_away, ready, tenant},
};

const INTEGRATION: &str = "rate";

pub(crate) async fn measure(live: &Live, kernel: Kernel, (clients, seconds): (usize, u64)) {
    let tenant = tenant(live, "rate", kernel).await;
    let client = must(Client::try_default().await, "client");
    let load = Load {
        clients,
        most: usize::MAX,
        time: Duration::from_secs(seconds),
    };
    let what = format!("{kernel}, {clients} clients for {seconds} s");

    // A pool that is empty most of the time would measure cold starts.
    let pool = (kernel, clients.min(100));
    let bare = async |part: &str, pods: Pods<'_>, name: &str| {
        eprintln!("  {clients} clients, {name}");
        let floor = must(load::run(&client, &pods, part, load).await, name);
        floor.complain(name);
        println!("{what}: {:.0} {name}/min", floor.rate());
        let first = format!("{what}: {name}: create -> Succeeded seen");
        floor.ended.print(&first);
        floor
    };
    let floor = bare("pod", Pods::new(live, &tenant, pool), "bare pods").await;
    let behind = if kernel == Kernel::Runc {
        let pods = Pods::behind_init(live, &tenant, pool);
        Some(bare("behind", pods, "bare pods behind an init container").await)
    } else {
        None
    };

    ready(live, &tenant, INTEGRATION, pool).await;
    eprintln!("  {clients} clients, Executions");
    let before = Meter::read(live).await;
    let executions = Executions::new(live, &tenant, INTEGRATION);
    let outcome = load::run(&client, &executions, "rate", load).await;
    let outcome = must(outcome, "Executions");
    full(live, &tenant, INTEGRATION, pool.1).await;
    let after = Meter::read(live).await;
    print(&what, &outcome, &floor);
    if let Some(behind) = behind {
        let ratio = ratio(outcome.rate(), behind.rate());
        println!("{what}: beside bare pods behind an init container: {ratio}");
    }
    after
        .print_since(&before, &what, outcome.ended.count())
        .await;
    put_away(live, &tenant, INTEGRATION).await;
}

fn print(what: &str, outcome: &Outcome, floor: &Outcome) {
    outcome.complain("Executions");
    let (rate, bare) = (outcome.rate(), floor.rate());
    println!(
        "{what}: {rate:.0} Executions/min; bare pods {bare:.0}/min; {}",
        ratio(rate, bare)
    );
    outcome
        .begun
        .print(&format!("{what}: create -> first instruction"));
    outcome
        .ended
        .print_beside(&format!("{what}: create -> Succeeded seen"), &floor.ended);
}
