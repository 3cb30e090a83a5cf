//! Who runs: processes told apart by id *and* start time, so that a recycled id is never signalled.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::error::Error;
use super::paths;

/// What `/proc/<pid>/stat` says, as far as we care.
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`…
    pub state: char,
    /// Clock ticks after boot.
    pub start: u64,
}

impl Stat {
    /// Reads a line of `/proc/<pid>/stat`. The command name may hold anything, even parentheses.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.get(line.rfind(')')? + 1..)?.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let start = fields.nth(18)?.parse().ok()?;
        Some(Self { state, start })
    }

    /// The stat of a process that exists.
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Dead but not yet waited for is dead.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Stopped, by a signal or by a tracer.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// A process, and no other that may get its id later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub pid: i32,
    /// When it began, in clock ticks after boot.
    pub start: u64,
}

impl Identity {
    /// The process that has this id now.
    pub fn of(pid: i32) -> Option<Self> {
        Stat::of(pid)
            .filter(|stat| !stat.is_dead())
            .map(|stat| Self {
                pid,
                start: stat.start,
            })
    }

    /// Its stat, if it still is that process.
    pub fn stat(self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.start == self.start)
    }

    /// Whether it runs (stopped counts as running).
    pub fn is_alive(self) -> bool {
        self.stat().is_some_and(|stat| !stat.is_dead())
    }

    /// Sends a signal. The handle is opened before the identity is checked: it cannot hit another.
    pub fn signal(self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        if self.is_alive() {
            // Gone in between is what we want, or makes no difference.
            pidfd_send_signal(&handle, signal).ok();
        }
    }
}

/// The kernel's name for the time since the machine was started.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// How long the machine runs, in clock ticks (100 a second on every Linux that Rust runs on).
pub fn uptime_ticks() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let (whole, rest) = text.split_once('.').unwrap_or((&text, "0"));
    let hundredths = rest
        .get(..2)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    whole.parse::<u64>().unwrap_or(0) * 100 + hundredths
}

/// The files that say who was started.
#[derive(Debug, Clone)]
pub struct Register {
    dir: PathBuf,
}

impl Register {
    /// The register in this directory.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
        }
    }

    /// Writes a process down.
    pub fn record(&self, name: &str, identity: Identity) -> Result<(), Error> {
        paths::make_dir(&self.dir)?;
        let line = format!("{} {} {}\n", identity.pid, identity.start, boot_id());
        paths::write(&self.dir.join(name), line)
    }

    /// Forgets it.
    pub fn forget(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).ok();
    }

    /// Who was recorded under that name, if it was in this life of the machine.
    pub fn get(&self, name: &str) -> Option<Identity> {
        let line = fs::read_to_string(self.dir.join(name)).ok()?;
        parse_record(&line, &boot_id())
    }

    /// Who was recorded under that name and still runs.
    pub fn alive(&self, name: &str) -> Option<Identity> {
        self.get(name).filter(|identity| identity.is_alive())
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

fn parse_record(line: &str, boot: &str) -> Option<Identity> {
    let mut words = line.split_whitespace();
    let (pid, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next()? == boot).then_some(Identity { pid, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_with_a_nasty_name() {
        let line = "42 (a) R (b) ) T 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 2 3";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                state: 'T',
                start: 98765
            })
        );
        assert!(Stat::parse("42 (half) S 1").is_none());
    }

    #[test]
    fn knows_itself_and_no_other() {
        let own = i32::try_from(std::process::id()).unwrap();
        let me = Identity::of(own).unwrap();
        assert!(me.is_alive());
        assert!(
            !Identity {
                start: me.start + 1,
                ..me
            }
            .is_alive()
        );
    }

    #[test]
    fn a_record_of_another_boot_is_nobody() {
        assert_eq!(
            parse_record("7 8 here", "here"),
            Some(Identity { pid: 7, start: 8 })
        );
        assert_eq!(parse_record("7 8 before", "here"), None);
        assert_eq!(parse_record("7", "here"), None);
    }
}
