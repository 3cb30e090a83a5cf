//! JSON → a [`Config`] that can be worked by, or what is wrong with it. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

use contract::judge::Wanted;
use contract::run::RunContract;
use contract::work::{WORK_VERSION, WorkConfig};

use super::course::Pace;
use crate::probe::{Checked, RequestError};

const INTERVAL_MS: RangeInclusive<u32> = 1_000..=600_000;
const MAX_LIMIT_MS: u32 = 3_600_000;
const MAX_SETTLE_MS: u32 = 120_000;
/// So many processes and threads are the supervisor's own: as many as a look can take, and it, and the
/// output. A command that uses up all that it may have must not keep it from looking.
const RESERVE: u64 = 128;

/// What this Worker was told, understood.
#[derive(Debug)]
pub struct Config {
    /// What to look at.
    pub probe: Checked,
    /// How it must be confined.
    pub wanted: Wanted,
    /// What to run; `plan` looks at its bounds.
    pub run: RunContract,
    /// When to look.
    pub pace: Pace,
}

/// Why a configuration is refused; asking again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No JSON, or not of a configuration's shape.
    #[error("failed to read it as JSON")]
    Json(#[from] serde_json::Error),
    /// Written by another version of the operator.
    #[error("it has version {0}, and this supervisor speaks version {WORK_VERSION}")]
    Version(u32),
    /// A time is out of bounds.
    #[error("{field} is {value}, and has to be {least} to {most}")]
    Time {
        field: &'static str,
        value: u32,
        least: u32,
        most: u32,
    },
    /// It asks for what only an Execution has.
    #[error("`run.{0}`: a Worker is given nothing, answers nothing and has no limit of time")]
    OfAnExecution(&'static str),
    /// No process would be left for the command.
    #[error(
        "wanted.processes is {0}, and has to be more than {RESERVE}, which are the supervisor's"
    )]
    Processes(u64),
    /// What to look at.
    #[error("refused `probe`")]
    Probe(#[from] RequestError),
}

/// Reads and checks a configuration.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    // First alone: the fields of another version would be reported as unknown fields.
    let version = crate::version_of(text)?;
    if version != WORK_VERSION {
        return Err(ConfigError::Version(version));
    }
    let WorkConfig {
        version: _,
        probe,
        wanted,
        run,
        probe_interval_ms: interval,
        proof_limit_ms: limit,
        settle_ms: settle,
    } = serde_json::from_str(text)?;
    let bounded = [
        ("probeIntervalMs", interval, INTERVAL_MS),
        // One look may fail, and one be late.
        (
            "proofLimitMs",
            limit,
            interval.saturating_mul(2)..=MAX_LIMIT_MS,
        ),
        ("settleMs", settle, 0..=MAX_SETTLE_MS),
    ];
    for (field, value, range) in bounded {
        if !range.contains(&value) {
            return Err(ConfigError::Time {
                field,
                value,
                least: *range.start(),
                most: *range.end(),
            });
        }
    }
    let foreign = [
        ("input", run.input.is_some()),
        ("result", run.result.is_some()),
        ("time.limitMs", run.time.limit_ms.is_some()),
    ];
    if let Some((field, _)) = foreign.into_iter().find(|(_, is_there)| *is_there) {
        return Err(ConfigError::OfAnExecution(field));
    }
    let mut run = run;
    if let (Some(all), Some(most)) = (wanted.processes, run.limits.processes) {
        let least = all.checked_sub(RESERVE).filter(|left| *left > 0);
        let left = least.ok_or(ConfigError::Processes(all))?;
        run.limits.processes = Some(most.min(left));
    }
    let time = |ms: u32| Duration::from_millis(ms.into());
    Ok(Config {
        probe: Checked::new(probe)?,
        wanted,
        run,
        pace: Pace {
            interval: time(interval),
            limit: time(limit),
            settle: time(settle),
        },
    })
}

#[cfg(test)]
mod tests {
    use contract::VERSION;
    use contract::run::RUN_VERSION;
    use serde_json::{Value, json};

    use super::*;

    fn config() -> Value {
        json!({
            "version": WORK_VERSION,
            "probe": { "version": VERSION, "timeoutMs": 1000, "targets": [], "places": [] },
            "wanted": { "runtime": "Host", "userNamespace": true, "memory": 1, "processes": null },
            "run": {
                "version": RUN_VERSION,
                "profile": { "Hardened": { "landlockAbi": 6 } },
                "command": "agent",
                "directory": "/work",
                "writable": ["/work"],
                "time": { "limitMs": null, "graceMs": 500 },
                "limits": { "files": 256, "fileBytes": 1 },
                "output": { "lineBytes": 4096, "totalBytes": 1 },
            },
            "probeIntervalMs": 30_000,
            "proofLimitMs": 90_000,
            "settleMs": 10_000,
        })
    }

    fn with(pointer: &str, value: Value) -> Result<Config, ConfigError> {
        let mut config = config();
        match config.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => config["run"][pointer.rsplit('/').next().unwrap()] = value,
        }
        parse(&config.to_string())
    }

    #[test]
    fn accepts_the_bounds_of_every_time() {
        for (field, value) in [
            ("/probeIntervalMs", 1_000),
            ("/probeIntervalMs", 45_000),
            ("/proofLimitMs", 60_000),
            ("/proofLimitMs", MAX_LIMIT_MS),
            ("/settleMs", 0),
            ("/settleMs", MAX_SETTLE_MS),
        ] {
            assert!(with(field, json!(value)).is_ok(), "{field} {value}");
        }
    }

    #[test]
    fn rejects_times_out_of_bounds_and_names_the_field() {
        for (field, value) in [
            ("/probeIntervalMs", 999),
            ("/probeIntervalMs", 600_001),
            ("/proofLimitMs", 59_999),
            ("/proofLimitMs", MAX_LIMIT_MS + 1),
            ("/settleMs", MAX_SETTLE_MS + 1),
        ] {
            let refused = with(field, json!(value)).unwrap_err();
            assert!(
                matches!(refused, ConfigError::Time { field: named, .. } if field.ends_with(named)),
                "{field} {value}: {refused}"
            );
        }
    }

    #[test]
    fn rejects_what_only_an_execution_has() {
        let input = json!({ "text": "", "file": "/work/input" });
        for (pointer, value, field) in [
            ("/run/input", input, "input"),
            ("/run/result", json!("/work/result"), "result"),
            ("/run/time/limitMs", json!(1000), "time.limitMs"),
        ] {
            let refused = with(pointer, value).unwrap_err();
            assert!(
                matches!(refused, ConfigError::OfAnExecution(named) if named == field),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_command_cannot_have_the_supervisors_processes() {
        let limited = |all: u64, most: u64| {
            let mut config = config();
            config["wanted"]["processes"] = json!(all);
            config["run"]["limits"]["processes"] = json!(most);
            parse(&config.to_string()).map(|config| config.run.limits.processes)
        };
        assert_eq!(limited(512, 512).unwrap(), Some(512 - RESERVE));
        assert_eq!(limited(512, 100).unwrap(), Some(100));
        let refused = limited(RESERVE, RESERVE).unwrap_err();
        assert!(
            matches!(refused, ConfigError::Processes(RESERVE)),
            "{refused}"
        );
    }

    #[test]
    fn rejects_another_version_whatever_else_it_says_and_what_is_no_request() {
        let refused = parse(r#"{"version":2,"somethingNew":true}"#);
        assert!(matches!(refused, Err(ConfigError::Version(2))));
        let refused = with("/probe/timeoutMs", json!(0));
        assert!(matches!(refused, Err(ConfigError::Probe(_))));
        let refused = with("/wanted", json!({ "runtime": "Host" }));
        assert!(matches!(refused, Err(ConfigError::Json(_))));
    }
}
