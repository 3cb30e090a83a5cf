//! A signal that process 1 was sent → [`News`], or nothing. Pure.

use super::{News, Signal};

/// What is made of a signal (`signalfd(2)`: number, code, the sender's number).
///
/// A request to end counts only from outside the container, whose processes have no number in
/// here: else a command could have itself told canceled. The code must be `kill`'s own
/// (`SI_USER`), for only with it can nobody make up the sender (`rt_sigqueueinfo(2)`).
pub(super) fn meaning(number: u32, code: i32, sender: u32) -> Option<News> {
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
