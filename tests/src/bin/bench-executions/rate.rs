//! The most that the machine sustains: a closed loop of Executions, and the same loop of bare pods.

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

    eprintln!("  {clients} clients, bare pods");
    let pods = Pods::new(live, &tenant, kernel);
    let floor = must(load::run(&client, &pods, "pod", load).await, "bare pods");
    floor.complain("bare pods");
    println!("{what}: {:.0} bare pods/min", floor.rate());
    floor
        .ended
        .print(&format!("{what}: bare pod: create -> Succeeded seen"));

    // A pool that is empty most of the time would measure cold starts.
    ready(live, &tenant, INTEGRATION, (kernel, clients.min(100))).await;
    eprintln!("  {clients} clients, Executions");
    let before = Meter::read(live).await;
    let executions = Executions::new(live, &tenant, INTEGRATION);
    let outcome = load::run(&client, &executions, "rate", load).await;
    let outcome = must(outcome, "Executions");
    full(live, &tenant, INTEGRATION, clients.min(100)).await;
    let after = Meter::read(live).await;
    print(&what, &outcome, &floor);
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
