//! A kernel that does nothing but write down what it was asked, and answers from a script.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::run::{Exit, Usage};

use super::files::FilesError;
use super::{Launch, LaunchError, News, Processes, Reaped, Signal, Sys};
use crate::step::FileRules;

/// The double.
#[derive(Debug, Default)]
pub struct Recording {
    /// What was asked, in order.
    pub calls: RefCell<Vec<String>>,
    /// Files that may be executed.
    pub executables: Vec<PathBuf>,
    /// Directories that are there.
    pub directories: Vec<PathBuf>,
    /// What happens: at which moment, who has ended and what is told.
    pub script: RefCell<VecDeque<Event>>,
    /// Who has ended and was not reaped yet.
    pub ended: RefCell<VecDeque<Reaped>>,
    /// The time that the script has come to.
    pub clock: RefCell<Duration>,
    /// Nobody is left once the script is over.
    pub empties: bool,
    /// Until SIGKILL there is always one more to reap, each of which takes a millisecond.
    pub endless: bool,
}

/// Something that happens by itself.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// Who ends.
    pub ends: Vec<Reaped>,
    /// What is told.
    pub news: Vec<News>,
}

impl Recording {
    fn note(&self, call: String) {
        self.calls.borrow_mut().push(call);
    }
}

impl Sys for Recording {
    fn hide_memory(&self) -> io::Result<()> {
        self.note("hide memory".to_owned());
        Ok(())
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.note(format!("create {} {}", path.display(), content.len()));
        Ok(())
    }

    fn is_executable(&self, path: &Path) -> bool {
        self.executables.iter().any(|known| known == path)
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.directories.iter().any(|known| known == path)
    }

    fn readable(&self, content: &[u8]) -> io::Result<OwnedFd> {
        self.note(format!("readable {}", content.len()));
        Ok(File::open("/dev/null")?.into())
    }

    fn ruleset(&self, rules: &FileRules) -> Result<OwnedFd, FilesError> {
        self.note(format!("ruleset {}", rules.abi));
        File::open("/dev/null")
            .map(OwnedFd::from)
            .map_err(|_| FilesError::None)
    }

    fn launch(&self, launch: Launch) -> Result<u32, LaunchError> {
        self.note(format!("launch {}", launch.program.display()));
        Ok(2)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn oom_kills(&self) -> Option<u64> {
        None
    }
}

impl Processes for Recording {
    fn news(&self, most: Duration) -> io::Result<Vec<News>> {
        let mut clock = self.clock.borrow_mut();
        let until = *clock + most;
        let mut script = self.script.borrow_mut();
        let is_due = script.front().is_some_and(|event| event.at <= until);
        let Some(event) = is_due.then(|| script.pop_front()).flatten() else {
            *clock = until;
            return Ok(Vec::new());
        };
        *clock = event.at;
        self.ended.borrow_mut().extend(event.ends);
        Ok(event.news)
    }

    fn reap(&self) -> io::Result<Reaped> {
        if self.endless {
            *self.clock.borrow_mut() += Duration::from_millis(1);
            let is_killed = self
                .calls
                .borrow()
                .iter()
                .any(|call| call.ends_with("Kill"));
            return Ok(if is_killed {
                Reaped::Nobody
            } else {
                Reaped::Process(u32::MAX, Exit::Code(0))
            });
        }
        let over = self.empties && self.script.borrow().is_empty();
        let next = self.ended.borrow_mut().pop_front();
        Ok(next.unwrap_or(if over {
            Reaped::Nobody
        } else {
            Reaped::NoneYet
        }))
    }

    fn signal_everyone(&self, signal: Signal) -> io::Result<()> {
        let clock = self.clock.borrow().as_millis();
        self.note(format!("{clock}: {signal:?}"));
        Ok(())
    }

    fn now(&self) -> Duration {
        *self.clock.borrow()
    }
}
