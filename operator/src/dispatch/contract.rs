//! What a sandbox is told to run. Pure.

use std::collections::BTreeMap;

use contract::run::{Input, OutputBounds, RUN_VERSION, RunContract, Time};
use crds::{integration::Logs, tenant::Runtime};

use super::{line::Terms, pod::TOKEN};
use crate::{
    probe::Confinement,
    supervised::{self, TMP, WORK},
};

/// Bytes of output that are passed on.
const OUTPUT_BYTES: u64 = 64 * 1024 * 1024;

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
        profile: supervised::profile(confinement),
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
        limits: supervised::limits(confinement, terms.scratch.bytes()),
        output: OutputBounds {
            line_bytes: supervised::LINE_BYTES,
            total_bytes: match terms.logs {
                Logs::Kept => OUTPUT_BYTES,
                Logs::Off => 0,
            },
        },
    }
}
