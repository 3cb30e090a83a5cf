//! Whether every field of a contract is within its bounds. Pure; the first that is not is
//! named.

use std::ops::RangeInclusive;
use std::path::{Component, Path};

use contract::run::{MAX_EXEC_BYTES, MAX_INPUT_BYTES, Profile, RUN_VERSION, RunContract};

use super::Refused;

/// Below, a file that may not be written may still be truncated.
const LEAST_LANDLOCK_ABI: u8 = 3;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const LIMIT_MS: RangeInclusive<u64> = 1..=7 * DAY_MS;
const GRACE_MS: RangeInclusive<u64> = 0..=60 * 60 * 1000;
/// Fewer, and a dynamic linker fails before the command begins.
const FILES: RangeInclusive<u64> = 16..=1 << 20;
const PROCESSES: RangeInclusive<u64> = 1..=1 << 22;
/// Less, and `execve(2)` fails, or ends the process instead.
const LEAST_ADDRESS_SPACE: u64 = 16 << 20;
const LINE_BYTES: RangeInclusive<u64> = 64..=64 * 1024;
const MOST_WRITABLE: usize = 32;
const MOST_HIDDEN: usize = 8;
/// `PATH_MAX` of `linux/limits.h`, its end included.
const MOST_PATH: usize = 4095;

/// Checks all of it.
pub(super) fn check(contract: &RunContract) -> Result<(), Refused> {
    if contract.version != RUN_VERSION {
        let problem = format!("is {}, and {RUN_VERSION} is spoken here", contract.version);
        return Err(bad("version", problem));
    }
    profile(contract.profile)?;
    command(contract)?;
    paths(contract)?;
    numbers(contract)
}

fn profile(profile: Profile) -> Result<(), Refused> {
    match profile {
        Profile::Hardened { landlock_abi } if landlock_abi < LEAST_LANDLOCK_ABI => Err(bad(
            "profile",
            format!("asks for Landlock ABI {landlock_abi}; {LEAST_LANDLOCK_ABI} is the least"),
        )),
        Profile::Hardened { .. } | Profile::GVisor => Ok(()),
    }
}

fn command(contract: &RunContract) -> Result<(), Refused> {
    if contract.command.is_empty() {
        return Err(bad("command", "is empty"));
    }
    no_nul("command", &contract.command)?;
    let mut bytes = contract.command.len();
    for argument in &contract.arguments {
        no_nul("arguments", argument)?;
        bytes += argument.len() + 1;
    }
    for (name, value) in &contract.environment {
        if name.is_empty() || name.contains('=') {
            return Err(bad("environment", format!("has the name {name:?}")));
        }
        no_nul("environment", name)?;
        no_nul("environment", value)?;
        bytes += name.len() + value.len() + 2;
    }
    if bytes > MAX_EXEC_BYTES {
        let problem = format!("and `environment` have {bytes} bytes of {MAX_EXEC_BYTES}");
        return Err(bad("arguments", problem));
    }
    Ok(())
}

fn paths(contract: &RunContract) -> Result<(), Refused> {
    plain("directory", &contract.directory)?;
    if contract.writable.len() > MOST_WRITABLE {
        return Err(bad("writable", format!("has more than {MOST_WRITABLE}")));
    }
    for path in &contract.writable {
        plain("writable", path)?;
        if path == "/" {
            return Err(bad("writable", "has `/`: the root is never writable"));
        }
    }
    hidden(contract)?;
    if let Some(input) = &contract.input {
        if input.text.len() > MAX_INPUT_BYTES {
            let problem = format!("has {} bytes of {MAX_INPUT_BYTES}", input.text.len());
            return Err(bad("input.text", problem));
        }
        in_writable("input.file", &input.file, contract)?;
    }
    contract
        .result
        .as_ref()
        .map_or(Ok(()), |result| in_writable("result", result, contract))
}

fn numbers(contract: &RunContract) -> Result<(), Refused> {
    if let Some(limit) = contract.time.limit_ms {
        within("time.limitMs", limit, &LIMIT_MS)?;
    }
    within("time.graceMs", contract.time.grace_ms, &GRACE_MS)?;
    within("limits.files", contract.limits.files, &FILES)?;
    if let Some(processes) = contract.limits.processes {
        within("limits.processes", processes, &PROCESSES)?;
    }
    if let Some(bytes) = contract.limits.address_space_bytes {
        let most = LEAST_ADDRESS_SPACE..=u64::MAX - 1;
        within("limits.addressSpaceBytes", bytes, &most)?;
    }
    let line_bytes = contract.output.line_bytes.into();
    within("output.lineBytes", line_bytes, &LINE_BYTES)
}

/// What is hidden is not writable, nor is anything above it or below it: rights are given to
/// whole trees.
fn hidden(contract: &RunContract) -> Result<(), Refused> {
    if contract.hidden.len() > MOST_HIDDEN {
        return Err(bad("hidden", format!("has more than {MOST_HIDDEN}")));
    }
    for path in &contract.hidden {
        plain("hidden", path)?;
        let overlaps = |other: &String| {
            Path::new(path).starts_with(other) || Path::new(other).starts_with(path)
        };
        if path == "/" || contract.writable.iter().any(overlaps) {
            return Err(bad(
                "hidden",
                format!("has {path}, which is to be writable or `/`"),
            ));
        }
    }
    Ok(())
}

/// Directly in a writable directory: that directory is a mount, which nobody inside can put
/// something else in the place of, as they could with one below it.
fn in_writable(field: &'static str, file: &str, contract: &RunContract) -> Result<(), Refused> {
    plain(field, file)?;
    let parent = Path::new(file).parent();
    let is_parent = |directory: &String| Some(Path::new(directory)) == parent;
    if contract.writable.iter().any(is_parent) {
        Ok(())
    } else {
        Err(bad(field, "is not directly in a directory of `writable`"))
    }
}

/// Absolute, and the shortest way of saying it.
fn plain(field: &'static str, path: &str) -> Result<(), Refused> {
    no_nul(field, path)?;
    let known = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let shortest: std::path::PathBuf = Path::new(path).components().collect();
    let is_plain = path.starts_with('/')
        && path.len() <= MOST_PATH
        && Path::new(path).components().all(known)
        && shortest.as_os_str() == path;
    if is_plain {
        Ok(())
    } else {
        Err(bad(field, "is not a plain absolute path"))
    }
}

fn no_nul(field: &'static str, text: &str) -> Result<(), Refused> {
    if text.contains('\0') {
        return Err(bad(field, "contains a NUL byte"));
    }
    Ok(())
}

fn within(field: &'static str, value: u64, range: &RangeInclusive<u64>) -> Result<(), Refused> {
    if range.contains(&value) {
        return Ok(());
    }
    let problem = format!("is {value}, not {} to {}", range.start(), range.end());
    Err(bad(field, problem))
}

fn bad(field: &'static str, problem: impl Into<String>) -> Refused {
    Refused::OutOfBounds {
        field,
        problem: problem.into(),
    }
}
