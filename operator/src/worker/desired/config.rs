//! What the supervisor of a Worker is told: what to look at, how it must be confined, what to run.

use contract::{
    Check, Place,
    run::{OutputBounds, RUN_VERSION, RunContract, Time},
    work::{TooLong, WORK_VERSION, WorkConfig},
};
use crds::{tenant::Runtime, well_known::GVISOR_RUNTIME_CLASS};

use crate::{
    probe::{Wanted, targets},
    supervised::{self, HOST_ADDRESS, TMP, WORK},
    worker::validate::{Terms, ValidWorker},
};

pub use crate::probe::targets::api_servers;

/// Between two looks, in milliseconds.
const PROOF_INTERVAL_MS: u32 = 30_000;
/// A proof older than this counts for nothing: two looks may be missed.
const PROOF_LIMIT_MS: u32 = 90_000;
/// How long a network plugin may take to shut what a new pod must not reach.
const SETTLE_MS: u32 = 20_000;

/// Where the supervisor of a Worker lies. What a volume holds is the user's, and an image's links
/// could have it mounted anywhere, this place included: were it mounted later than the supervisor,
/// another program would be process 1. Runtimes mount by the number of a path's parts, so this one
/// has more than a volume's may have.
pub const SUPERVISOR: &str = "/cloister/mounted/after/all/volumes";
/// The supervisor itself: the entrypoint.
pub const ENTRYPOINT: &str = "/cloister/mounted/after/all/volumes/cloister-sandbox";

/// Where something is mounted for every replica. Whatever else it finds mounted but its volumes, it is
/// not one.
const PLACES: [crate::probe::Place; 3] = [(SUPERVISOR, false), (WORK, true), (TMP, true)];

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
    probe.places = places(terms);
    let [_, memory, _] = &terms.resources;
    let limits = supervised::limits(*confinement, file_bytes(terms));
    let wanted = Wanted {
        confinement: *confinement,
        places: &PLACES,
        memory: Some(memory.bytes().saturating_add(beside(valid))),
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

/// Bytes of memory that it sees beside its own: gVisor shows what the whole pod has, and that is what
/// its container may use and what the class sets aside for gVisor itself. What brings the supervisor
/// ends before, and never needs more.
fn beside(valid: &ValidWorker) -> u64 {
    let classes = &valid.cluster.runtime_classes;
    match valid.confinement.runtime {
        Runtime::Hardened => 0,
        Runtime::GVisor => classes
            .get(GVISOR_RUNTIME_CLASS)
            .copied()
            .unwrap_or_default(),
    }
}

fn places(terms: &Terms) -> Vec<Place> {
    let every = PLACES.map(|(path, writable)| Place {
        path: path.to_owned(),
        writable,
        lasting: false,
    });
    let volumes = terms.volumes.iter().map(|volume| Place {
        path: volume.path.clone(),
        writable: true,
        lasting: true,
    });
    every.into_iter().chain(volumes).collect()
}

/// Bytes of the largest file: as many as the largest place that may be written holds.
fn file_bytes(terms: &Terms) -> u64 {
    let sizes = terms.volumes.iter().map(|volume| volume.size.bytes());
    sizes.fold(terms.resources[2].bytes(), u64::max)
}

/// Where the command may write.
fn writable(terms: &Terms) -> Vec<String> {
    let every = [WORK, TMP].map(ToOwned::to_owned).into_iter();
    let volumes = terms.volumes.iter().map(|volume| volume.path.clone());
    every.chain(volumes).collect()
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
        writable: writable(terms),
        hidden: vec![],
        input: None,
        result: None,
        time: Time {
            limit_ms: None,
            grace_ms: u64::try_from(terms.grace.as_millis()).unwrap_or(u64::MAX),
        },
        limits: supervised::limits(valid.confinement, file_bytes(terms)),
        output: OutputBounds {
            line_bytes: supervised::LINE_BYTES,
            // It runs for as long as it is wanted; the kubelet rotates what it says.
            total_bytes: u64::MAX,
        },
    }
}

#[cfg(test)]
mod tests {
    use crds::worker::{MAX_MOUNT_PARTS, NOT_FOR_VOLUMES};

    use super::*;

    fn parts(path: &str) -> usize {
        path.matches('/').count()
    }

    #[test]
    fn the_supervisor_is_mounted_after_every_volume_and_no_volume_is_near_it() {
        assert!(parts(SUPERVISOR) > MAX_MOUNT_PARTS);
        let (directory, _) = ENTRYPOINT.rsplit_once('/').unwrap_or_default();
        assert_eq!(directory, SUPERVISOR);
        for (path, _) in PLACES {
            let above = format!("{path}/");
            let kept = NOT_FOR_VOLUMES
                .iter()
                .any(|place| above.starts_with(&format!("{place}/")));
            assert!(kept, "{path}");
        }
    }
}
