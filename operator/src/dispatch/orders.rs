//! What is sent to a sandbox. Pure.

use std::time::Duration;

use contract::{
    dispatch::{Assign, Cancel, Heard, Look, Order, Run as Attempt, Welcome, order},
    run::RunContract,
};

use super::run::Run;

fn order(kind: order::Kind) -> Order {
    Order { kind: Some(kind) }
}

fn attempt(run: &Run) -> Attempt {
    Attempt {
        execution: run.uid.to_string(),
        attempt: u32::try_from(run.status.attempt).unwrap_or_default(),
    }
}

/// The session stands; `run` is what the sandbox has been given, as far as is known here.
pub fn welcome(resume: Vec<u8>, run: Option<&Run>) -> Order {
    let heard = run.map(so_far);
    order(order::Kind::Welcome(Welcome { resume, heard }))
}

/// So much of its output has been heard.
pub fn heard(run: &Run) -> Order {
    order(order::Kind::Heard(so_far(run)))
}

fn so_far(run: &Run) -> Heard {
    run.output.heard(attempt(run))
}

/// Look again now.
pub fn look() -> Order {
    order(order::Kind::Look(Look {}))
}

/// Run this.
pub fn assign(run: &Run, contract: &RunContract, allowed: Duration) -> Order {
    order(order::Kind::Assign(Assign {
        run: Some(attempt(run)),
        // Plain data; one that cannot be written would be refused by the supervisor.
        contract: serde_json::to_vec(contract).unwrap_or_default(),
        allowed_ms: u32::try_from(allowed.as_millis()).unwrap_or(u32::MAX),
    }))
}

/// End it.
pub fn cancel(run: &Run) -> Order {
    order(order::Kind::Cancel(Cancel {
        run: Some(attempt(run)),
    }))
}
