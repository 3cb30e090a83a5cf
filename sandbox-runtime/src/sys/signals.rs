//! A signal that process 1 was sent → [`News`], or nothing. Pure but for [`wait`].

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::bell::Bell;
use super::{News, Signal};

/// One of each that is listened to, and some.
const SIGNALS_AT_ONCE: usize = 8;
/// Bytes of one `struct signalfd_siginfo`.
const RECORD: usize = size_of::<libc::signalfd_siginfo>();

/// Waits, at most so long, until a signal comes out of a `signalfd` or the bell rings; takes
/// the signals, and leaves the bell as it is.
pub(super) fn wait(
    signals: &OwnedFd,
    bell: &Bell,
    most: Option<Duration>,
) -> io::Result<Vec<News>> {
    let mut waiting = [
        PollFd::new(signals, PollFlags::IN),
        PollFd::new(bell, PollFlags::IN),
    ];
    let most = most.map(|most| Timespec {
        tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: most.subsec_nanos().into(),
    });
    match poll(&mut waiting, most.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut news = Vec::new();
    let mut record = [0_u8; RECORD];
    // Whoever sends more in the meantime waits for the next round, as the clock must not.
    for _ in 0..SIGNALS_AT_ONCE {
        match rustix::io::read(signals, &mut record) {
            Ok(RECORD) => news.extend(read(&record)),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(news)
}

/// Number, code and sender, of four bytes each, stand at 0, 8 and 12 (`signalfd(2)`).
fn read(record: &[u8; RECORD]) -> Option<News> {
    let field = |at: usize| {
        record[at..]
            .first_chunk()
            .map(|bytes| u32::from_ne_bytes(*bytes))
    };
    meaning(field(0)?, field(8)?.cast_signed(), field(12)?)
}

/// What is made of a signal (`signalfd(2)`: number, code, the sender's number).
///
/// A request to end counts only from outside the container, whose processes have no number in
/// here: else a command could have itself told canceled. The code must be `kill`'s own
/// (`SI_USER`), for only with it can nobody make up the sender (`rt_sigqueueinfo(2)`).
fn meaning(number: u32, code: i32, sender: u32) -> Option<News> {
    let from_outside = sender == 0 && code == libc::SI_USER;
    match number.cast_signed() {
        libc::SIGCHLD => Some(News::Child),
        libc::SIGTERM if from_outside => Some(News::Asked(Signal::Terminate)),
        libc::SIGINT if from_outside => Some(News::Asked(Signal::Interrupt)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_laid_out_as_the_kernels() {
        let number = std::mem::offset_of!(libc::signalfd_siginfo, ssi_signo);
        let code = std::mem::offset_of!(libc::signalfd_siginfo, ssi_code);
        let sender = std::mem::offset_of!(libc::signalfd_siginfo, ssi_pid);
        assert_eq!([number, code, sender], [0, 8, 12]);
    }

    const TERMINATE: u32 = libc::SIGTERM.cast_unsigned();

    #[test]
    fn only_a_plain_kill_from_outside_asks_for_the_end() {
        let asked = Some(News::Asked(Signal::Terminate));
        assert_eq!(meaning(TERMINATE, libc::SI_USER, 0), asked);
        assert_eq!(meaning(TERMINATE, libc::SI_USER, 7), None, "from inside");
        for made_up in [libc::SI_QUEUE, libc::SI_TKILL, libc::SI_TIMER] {
            assert_eq!(meaning(TERMINATE, made_up, 0), None, "{made_up}");
        }
    }

    #[test]
    fn an_end_of_a_child_counts_whoever_tells_it() {
        let child = libc::SIGCHLD.cast_unsigned();
        assert_eq!(meaning(child, libc::CLD_EXITED, 7), Some(News::Child));
        assert_eq!(meaning(child, libc::SI_USER, 7), Some(News::Child));
    }
}
