//! The processes of this container, as process 1 watches over them.

use std::io;
use std::time::Duration;

use contract::run::Exit;
use rustix::io::Errno;
use rustix::process::{self, Pid, WaitOptions};

use super::linux::Linux;
use super::{News, Processes, Reaped, Signal};

impl Processes for Linux {
    fn news(&self, most: Duration) -> io::Result<Vec<News>> {
        let mut news = self.wait(&self.cancel, Some(most))?;
        if self.cancel.heard() {
            news.push(News::Asked(Signal::Terminate));
        }
        Ok(news)
    }

    fn reap(&self) -> io::Result<Reaped> {
        match process::wait(WaitOptions::NOHANG) {
            Ok(None) => Ok(Reaped::NoneYet),
            Err(Errno::CHILD) => Ok(Reaped::Nobody),
            Err(error) => Err(error.into()),
            Ok(Some((process, status))) => {
                let small = |number: i32| u8::try_from(number).ok();
                let code = status.exit_status().and_then(small).map(Exit::Code);
                let signal = || status.terminating_signal().and_then(small);
                let exit = code.or_else(|| signal().map(Exit::Signal));
                let number = process.as_raw_nonzero().get().unsigned_abs();
                Ok(Reaped::Process(number, exit.unwrap_or(Exit::Unknown)))
            }
        }
    }

    /// `kill(-1)`, which reaches everyone that this process may signal. For process 1 that is
    /// its own namespace; for any other it could be the whole machine, so it is asked again.
    fn signal_everyone(&self, signal: Signal) -> io::Result<()> {
        if std::process::id() != 1 {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let signal = match signal {
            Signal::Interrupt => process::Signal::INT,
            Signal::Terminate => process::Signal::TERM,
            Signal::Kill => process::Signal::KILL,
        };
        // Group 1 negated is -1: rustix documents it so.
        match process::kill_process_group(Pid::INIT, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
