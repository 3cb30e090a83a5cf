//! A tenant's start beside another tenant's command that takes all there is, and its normal.

use serde_json::json;
use tests::{
    live::{Live, executions::path, said},
    measure::{Spread, times},
};

use crate::scene::{Kernel, LIMIT, one, put_away, ready, stand, tenant};

/// What is taken: see `hello greedy`.
const GREED: [&str; 4] = ["processes", "memory", "disk", "output"];
/// Sandboxes of the neighbour.
const POOL: usize = 3;
/// How many times its normal a neighbour's start may be.
const MOST: &str = "2.00 x";

pub(crate) async fn measure(live: &Live, kernel: Kernel, count: usize) {
    let neighbour = tenant(live, "neighbour", kernel).await;
    let greedy = tenant(live, "greedy", kernel).await;
    ready(live, &neighbour, "hello", (kernel, POOL)).await;
    eprintln!("  its normal");
    let normal = starts(live, &neighbour, count).await;
    normal.print(&format!(
        "{kernel}, neighbour, its normal: create -> first instruction"
    ));
    for what in GREED {
        eprintln!("  beside {what}");
        let spec = json!({"timeout": "60s", "resources": {"memory": "128Mi", "scratch": "32Mi"}});
        live.integrate(&greedy, what, &["greedy", what], &spec)
            .await;
        let mut ended = 0;
        let beside = tokio::select! {
            beside = starts(live, &neighbour, count) => beside,
            () = take(live, &greedy, what, &mut ended) => unreachable!("it goes on"),
        };
        let name = format!("{kernel}, neighbour, beside {what}: create -> first instruction");
        beside.print_beside(&name, &normal);
        let factor = times(&beside, &normal);
        println!(
            "{kernel}, neighbour, beside {what}: {factor} its normal, at most {MOST}; {ended} greedy ones ended meanwhile"
        );
        let executions = path(&greedy, "executions");
        for one in live.list(&executions).await {
            let name = tests::live::text(&one, "/metadata/name");
            live.delete(&format!("{executions}/{name}")).await;
        }
        put_away(live, &greedy, what).await;
    }
    put_away(live, &neighbour, "hello").await;
}

/// A start every now and then, once whoever is greedy has begun. All its sandboxes stand ready, as it would
/// be measured otherwise how fast the machine makes them.
async fn starts(live: &Live, tenant: &str, count: usize) -> Spread {
    let mut begun = Spread::default();
    for _ in 0..count {
        stand(live, tenant, "hello", POOL).await;
        begun.add(one(live, tenant, "hello").await.begun);
    }
    begun
}

/// Runs a greedy command, and the next one when that has ended, for ever.
async fn take(live: &Live, tenant: &str, what: &str, ended: &mut usize) {
    loop {
        let name = live.execute(tenant, what, &json!({})).await;
        let (object, _) = live.until_over(tenant, &name, LIMIT).await;
        *ended += 1;
        eprintln!("  {what}: {}", said(&object, "Succeeded").reason);
    }
}
