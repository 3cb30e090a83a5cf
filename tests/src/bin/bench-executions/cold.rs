//! Cold: bare pod, bare Job and Execution in turn, so that all meet the same machine. On the node's own
//! kernel a sandbox has an init container, and so another bare pod has one.

use std::time::Duration;

use tests::{
    live::{Live, pause},
    measure::Spread,
};

use crate::{
    floor::{bare_job, bare_pod, bare_pod_behind_init},
    scene::{Kernel, one, put_away, ready, tenant},
};

/// The same of many: when they began, when they ended.
#[derive(Default)]
struct Both {
    begun: Spread,
    ended: Spread,
}

impl Both {
    fn add(&mut self, times: crate::scene::Times) {
        self.begun.add(times.begun);
        self.ended.add(times.ended);
    }
}

pub(crate) async fn measure(live: &Live, kernel: Kernel, count: usize) {
    let tenant = tenant(live, "cold", kernel).await;
    ready(live, &tenant, "cold", (kernel, 0)).await;
    let (mut pods, mut jobs, mut cold) = (Both::default(), Both::default(), Both::default());
    let mut behind = Both::default();
    for number in 0..count {
        eprintln!("  {} of {count}", number + 1);
        pods.add(bare_pod(live, &tenant, &format!("bare-{number}"), kernel).await);
        pause(Duration::from_secs(1)).await;
        if kernel == Kernel::Runc {
            let name = format!("behind-{number}");
            behind.add(bare_pod_behind_init(live, &tenant, &name, kernel).await);
            pause(Duration::from_secs(1)).await;
        }
        jobs.add(bare_job(live, &tenant, &format!("job-{number}"), kernel).await);
        pause(Duration::from_secs(1)).await;
        cold.add(one(live, &tenant, "cold").await);
        pause(Duration::from_secs(1)).await;
    }
    print(kernel, [&pods, &behind, &jobs, &cold]);
    put_away(live, &tenant, "cold").await;
}

fn print(kernel: Kernel, [pods, behind, jobs, cold]: [&Both; 4]) {
    let print = |what: &str, one: &Spread, floor: &Spread| {
        one.print_beside(&format!("{kernel}, {what}"), floor);
    };
    print(
        "bare pod: create -> first instruction",
        &pods.begun,
        &pods.begun,
    );
    print(
        "bare Job: create -> first instruction",
        &jobs.begun,
        &pods.begun,
    );
    print(
        "cold Execution: create -> first instruction",
        &cold.begun,
        &pods.begun,
    );
    if kernel == Kernel::Runc {
        print(
            "bare pod behind an init container: create -> first instruction",
            &behind.begun,
            &pods.begun,
        );
        print(
            "cold Execution: the same, beside a pod with an init container",
            &cold.begun,
            &behind.begun,
        );
    }
    print(
        "bare pod: create -> Succeeded seen",
        &pods.ended,
        &pods.ended,
    );
    print(
        "bare Job: create -> Complete seen",
        &jobs.ended,
        &pods.ended,
    );
    print(
        "cold Execution: create -> Succeeded",
        &cold.ended,
        &pods.ended,
    );
}
