//! The leader goes: from that moment to the first instruction of an Execution that is created then.

use std::time::Duration;

use tests::{
    live::{Live, owns_cluster, pause, pods::pod_path, system::OPERATOR},
    measure::{Spread, now},
};

use crate::scene::{Kernel, full, one, put_away, ready, tenant};

/// Sandboxes that stand ready.
const POOL: usize = 2;
const SYSTEM: &str = "cloister-system";
/// For a Lease to say who leads.
const LEADS: Duration = Duration::from_secs(30);

pub(crate) async fn measure(live: &Live, kernel: Kernel, count: usize) {
    let tenant = tenant(live, "leader", kernel).await;
    ready(live, &tenant, "leader", (kernel, POOL)).await;
    let (mut normal, mut asked, mut killed) =
        (Spread::default(), Spread::default(), Spread::default());
    for number in 0..count {
        eprintln!("  {} of {count}", number + 1);
        rest(live, &tenant).await;
        normal.add(one(live, &tenant, "leader").await.begun);

        rest(live, &tenant).await;
        let (leader, _) = live.until_led(LEADS, |_| true).await;
        let begun = now();
        live.delete(&pod_path(SYSTEM, &leader)).await;
        asked.add(start_since(live, &tenant, begun).await);

        if owns_cluster() {
            rest(live, &tenant).await;
            let (leader, _) = live.until_led(LEADS, |_| true).await;
            let begun = now();
            live.kill_process(&leader);
            killed.add(start_since(live, &tenant, begun).await);
        }
    }
    let what = format!("{kernel}, leader");
    normal.print(&format!("{what} stays: create -> first instruction"));
    asked.print_beside(&format!("{what} asked to go -> first instruction"), &normal);
    if owns_cluster() {
        killed.print_beside(&format!("{what} killed -> first instruction"), &normal);
    } else {
        println!("SKIPPED {what} killed: its process can be killed where CLOISTER_OWN_CLUSTER=1");
    }
    put_away(live, &tenant, "leader").await;
}

/// From that moment to the beginning of an Execution that is created now.
async fn start_since(live: &Live, tenant: &str, begun: f64) -> f64 {
    let created = now();
    one(live, tenant, "leader").await.begun + created - begun
}

/// All replicas stand, and the pool is full.
async fn rest(live: &Live, tenant: &str) {
    live.stands(SYSTEM, OPERATOR).await;
    full(live, tenant, "leader", POOL).await;
    pause(Duration::from_secs(2)).await;
}
