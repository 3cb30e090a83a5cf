//! What the supervisor of a Worker is told: what to look at, how it must be confined, what to run.

use contract::{
    Check, Place,
    run::{OutputBounds, RUN_VERSION, RunContract, Time},
    work::{TooLong, WORK_VERSION, WorkConfig},
};
use crds::tenant::Runtime;

use crate::{
    probe::{Wanted, targets},
    supervised::{self, HOST_ADDRESS, SUPERVISOR, TMP, WORK},
    worker::validate::{Terms, ValidWorker},
};

pub use crate::probe::targets::api_servers;

/// Between two looks, in milliseconds.
const PROOF_INTERVAL_MS: u32 = 30_000;
/// A proof older than this counts for nothing: two looks may be missed.
const PROOF_LIMIT_MS: u32 = 90_000;
/// How long a network plugin may take to shut what a new pod must not reach.
const SETTLE_MS: u32 = 20_000;

/// Where something is mounted for a replica. Whatever else it finds mounted, it is not one.
pub const PLACES: [crate::probe::Place; 3] = [(SUPERVISOR, false), (WORK, true), (TMP, true)];

/// The argument after `--config`.
///
/// # Errors
/// [`TooLong`] if the user's part of it is.
pub fn argument(valid: &ValidWorker, api_servers: &[String]) -> Result<String, TooLong> {
    config(valid, api_servers).argument()
}

fn config(valid: &ValidWorker, api_servers: &[String]) -> WorkConfig {
    let ValidWorker {
        terms,
        confinement,
        probing,
        ..
    } = valid;
    let mut probe = targets::lasting_request(probing, api_servers, HOST_ADDRESS);
    // The one address that may be open to it: no other target can lie in a list that is allowed.
    let open = |address| terms.egress.iter().any(|one| one.reaches(address));
    if probing.outside.is_some_and(open) {
        probe
            .targets
            .retain(|target| target.check != Check::Outside);
    }
    probe.places = PLACES
        .map(|(path, writable)| Place {
            path: path.to_owned(),
            writable,
        })
        .into();
    let [_, memory, scratch] = &terms.resources;
    let limits = supervised::limits(*confinement, scratch.bytes());
    let wanted = Wanted {
        confinement: *confinement,
        places: &PLACES,
        // gVisor holds a pod to what all of it may have, and what the runtime needs beside that
        // is not known before the pod is there.
        memory: (confinement.runtime == Runtime::Hardened).then(|| memory.bytes()),
        processes: limits.processes,
    };
    WorkConfig {
        version: WORK_VERSION,
        probe,
        wanted: wanted.of_process(),
        run: RunContract {
            limits,
            ..run(terms, valid)
        },
        probe_interval_ms: PROOF_INTERVAL_MS,
        proof_limit_ms: PROOF_LIMIT_MS,
        settle_ms: SETTLE_MS,
    }
}

fn run(terms: &Terms, valid: &ValidWorker) -> RunContract {
    let pairs = terms.environment.iter();
    let environment = pairs.map(|one| (one.name.clone(), one.value.clone()));
    RunContract {
        version: RUN_VERSION,
        profile: supervised::profile(valid.confinement),
        command: terms.command.clone(),
        arguments: terms.arguments.clone(),
        environment: environment.collect(),
        directory: WORK.to_owned(),
        writable: vec![WORK.to_owned(), TMP.to_owned()],
        hidden: vec![],
        input: None,
        result: None,
        time: Time {
            limit_ms: None,
            grace_ms: u64::try_from(terms.grace.as_millis()).unwrap_or(u64::MAX),
        },
        limits: supervised::limits(valid.confinement, terms.resources[2].bytes()),
        output: OutputBounds {
            line_bytes: supervised::LINE_BYTES,
            // It runs for as long as it is wanted; the kubelet rotates what it says.
            total_bytes: u64::MAX,
        },
    }
}
