//! What the jail asks of the kernel, as two traits: [`linux::Linux`] asks it, [`recording`]
//! writes down what would have been asked.
//!
//! All `unsafe` of this crate is in [`linux`].

pub mod attempts;
pub mod bell;
pub mod files;
pub mod limit;
pub mod linux;
mod memory;
mod processes;
mod program;
#[cfg(test)]
pub mod recording;
mod signals;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::run::{Exit, Usage};

use crate::policy::Instruction;
use crate::step::{FileRules, Resource};

/// What the child does to itself before it is the command. Everything is at hand, so that
/// nothing has to be allocated there: another thread may hold the allocator's lock.
#[derive(Debug)]
pub enum Seal {
    /// `setsid(2)`.
    NewSession,
    /// Every disposition to its default, an empty mask.
    DefaultSignals,
    /// `umask(2)`.
    Umask(u32),
    /// `setrlimit(2)`, soft and hard.
    Limit(Resource, u64),
    /// `close_range(2)` from 3, at exec: until then the child needs some of them.
    CloseDescriptors,
    /// `capset(2)` with nothing; the kernel clears the ambient set with it.
    DropCapabilities,
    /// `PR_SET_NO_NEW_PRIVS` of `prctl(2)`.
    NoNewPrivileges,
    /// `landlock_restrict_self(2)`.
    Files(OwnedFd),
    /// `seccomp(2)`, `SECCOMP_SET_MODE_FILTER`.
    Calls(Vec<Instruction>),
}

/// A command, ready to be started.
#[derive(Debug)]
pub struct Launch {
    /// An executable file, absolute.
    pub program: PathBuf,
    /// Its name and its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub directory: PathBuf,
    /// What it reads.
    pub stdin: OwnedFd,
    /// What it says. This process does not keep it.
    pub stdout: OwnedFd,
    /// What it says aside. This process does not keep it.
    pub stderr: OwnedFd,
    /// What it does to itself first, in order.
    pub seals: Vec<Seal>,
}

/// Why a command does not run. It was not executed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A seal could not be put on; its place in [`Launch::seals`].
    #[error("seal {0} failed")]
    Seal(usize, #[source] io::Error),
    /// The kernel would not execute the program.
    #[error("failed to execute {}", .0.display())]
    Execute(PathBuf, #[source] io::Error),
    /// No process could be made.
    #[error("failed to make a process")]
    Fork(#[source] io::Error),
}

/// The end of a child, or of an orphan that became one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This process ended so.
    Process(u32, Exit),
    /// There are children, and all of them live.
    NoneYet,
    /// There is no child.
    Nobody,
}

/// A signal that ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What woke the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Some child may have ended.
    Child,
    /// Somebody outside the container, or the operator, asked for the end.
    Asked(Signal),
}

/// What the jail asks of the kernel.
pub trait Sys {
    /// `PR_SET_DUMPABLE` 0 (`prctl(2)`): `/proc/1` belongs to root, nobody may trace it.
    fn hide_memory(&self) -> io::Result<()>;
    /// Makes a file of this content, readable by its owner; fails where there is one.
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Whether this is a plain file that may be executed.
    fn is_executable(&self, path: &Path) -> bool;
    /// Whether this is a directory that may be entered.
    fn is_directory(&self, path: &Path) -> bool;
    /// What a process will read to its end: `content`.
    fn readable(&self, content: &[u8]) -> io::Result<OwnedFd>;
    /// A Landlock ruleset with exactly these rules.
    fn ruleset(&self, rules: &FileRules) -> Result<OwnedFd, files::FilesError>;
    /// Starts a command behind its seals, and gives its number.
    fn launch(&self, launch: Launch) -> Result<u32, LaunchError>;
    /// What all that was reaped has used.
    fn usage(&self) -> Usage;
    /// Processes of this container killed for want of memory, since it began.
    fn oom_kills(&self) -> Option<u64>;
}

/// What the supervisor asks of the kernel while a command runs.
pub trait Processes {
    /// Waits until something happens, at most so long.
    fn news(&self, most: Duration) -> io::Result<Vec<News>>;
    /// Takes one process off the kernel's list of the ended; never waits.
    fn reap(&self) -> io::Result<Reaped>;
    /// Signals every process of the container but this one. Nobody there is no error.
    fn signal_everyone(&self, signal: Signal) -> io::Result<()>;
    /// Time since some point in the past, steadily growing.
    fn now(&self) -> Duration;
}
