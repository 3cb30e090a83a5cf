//! What a sandbox is told to run. Pure.

use std::collections::BTreeMap;

use contract::run::{Input, Limits, OutputBounds, Profile, RUN_VERSION, RunContract, Time};
use crds::{integration::Logs, tenant::Runtime};

use super::{
    line::Terms,
    pod::{TMP, TOKEN, WORK},
};
use crate::probe::Confinement;

/// Least Landlock ABI: the first that keeps signals and abstract sockets inside (Linux 6.12).
const LANDLOCK_ABI: u8 = 6;
/// Open descriptors of one process.
const FILES: u64 = 1024;
/// Processes and threads. Counted by user, so only where the pod has a user of its own.
const PROCESSES: u64 = 512;
/// Bytes of a line of output.
const LINE_BYTES: u32 = 16 * 1024;
/// Bytes of output that are passed on.
const OUTPUT_BYTES: u64 = 64 * 1024 * 1024;

/// Most processes and threads of a sandbox: where it has a user of its own, by whom the kernel
/// counts. gVisor does not keep such a limit, and on the node's users it would be one for all pods.
pub const fn processes(own_user: bool) -> Option<u64> {
    if own_user { Some(PROCESSES) } else { None }
}

/// The contract of one attempt.
pub fn contract(terms: &Terms, confinement: Confinement, input: Option<&str>) -> RunContract {
    let gvisor = confinement.runtime == Runtime::GVisor;
    let pairs = terms.environment.iter();
    let environment: BTreeMap<String, String> = pairs
        .map(|variable| (variable.name.clone(), variable.value.clone()))
        .collect();
    let milliseconds =
        |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    RunContract {
        version: RUN_VERSION,
        profile: if gvisor {
            Profile::GVisor
        } else {
            Profile::Hardened {
                landlock_abi: LANDLOCK_ABI,
            }
        },
        command: terms.command.clone(),
        arguments: terms.arguments.clone(),
        environment,
        directory: WORK.to_owned(),
        writable: vec![WORK.to_owned(), TMP.to_owned()],
        // Under gVisor nothing hides it; there, what the token opens is shut by the time that a
        // command runs: a session is only resumed by who knows what the first one was told.
        hidden: if gvisor {
            vec![]
        } else {
            vec![TOKEN.to_owned()]
        },
        input: input.map(|text| Input {
            text: text.to_owned(),
            file: format!("{WORK}/input"),
        }),
        result: Some(format!("{WORK}/result")),
        time: Time {
            limit_ms: Some(milliseconds(terms.timeout)),
            grace_ms: milliseconds(terms.grace),
        },
        limits: Limits {
            files: FILES,
            processes: processes(confinement.user_namespace && !gvisor),
            file_bytes: terms.scratch.bytes(),
            address_space_bytes: None,
        },
        output: OutputBounds {
            line_bytes: LINE_BYTES,
            total_bytes: match terms.logs {
                Logs::Kept => OUTPUT_BYTES,
                Logs::Off => 0,
            },
        },
    }
}
