//! A command that is over → how it ended.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use contract::run::{Ending, MAX_RESULT_BYTES, RunContract, RunResult};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::output::Relay;
use crate::supervise::Over;
use crate::sys::Sys;

/// What counts from the start on.
#[derive(Debug)]
pub(super) struct Before {
    oom_kills: Option<u64>,
}

impl Before {
    pub(super) fn now(sys: &impl Sys) -> Self {
        Self {
            oom_kills: sys.oom_kills(),
        }
    }
}

/// Gathers what is left of a command that is over.
pub(super) fn gather(
    over: Over,
    relay: Relay,
    contract: &RunContract,
    before: &Before,
    sys: &impl Sys,
) -> Ending {
    let Over {
        exit,
        cause,
        wall,
        left_behind,
    } = over;
    let oom_kills = before
        .oom_kills
        .zip(sys.oom_kills())
        .map(|(then, now)| now.saturating_sub(then));
    Ending {
        exit,
        cause,
        oom_kills,
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        usage: sys.usage(),
        output: relay.finish(),
        result: contract
            .result
            .as_ref()
            .map_or(RunResult::None, |path| result(Path::new(path))),
        left_behind,
    }
}

/// Reads what the command left. It may be anything: a link to a secret is not followed, a
/// pipe not waited for, a disk's worth of bytes not read.
pub(super) fn result(path: &Path) -> RunResult {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return RunResult::None,
        Err(_) => return RunResult::Unreadable,
    };
    if !file.metadata().is_ok_and(|data| data.is_file()) {
        return RunResult::Unreadable;
    }
    let mut bytes = Vec::new();
    if file
        .take(MAX_RESULT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .is_err()
    {
        return RunResult::Unreadable;
    }
    if bytes.len() > MAX_RESULT_BYTES {
        return RunResult::TooLarge;
    }
    String::from_utf8(bytes).map_or(RunResult::NotText, RunResult::Text)
}
