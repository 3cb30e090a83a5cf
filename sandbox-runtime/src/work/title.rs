//! What process 1 of a Worker says of itself in its name, and what is understood of it. Pure.
//!
//! The name of a process (`comm` of `proc(5)`) is the one thing that all of a container may read and
//! that none but the process itself can set: the kernel lets only its own threads, gVisor's only the
//! thread itself. There is no file to write, no socket to be first at, no listener to crowd, and
//! nothing to mount. It has 15 bytes (`TASK_COMM_LEN`).
//!
//! So a proof is said as the moment at which it ends, on the node's steady clock. Whoever stops
//! process 1, or keeps it from looking, gains nothing by it: the moment comes.

use std::fmt;

/// Most bytes of a name.
pub const MAX_TITLE: usize = 15;

const STARTING: &str = "starting";
const ENDING: &str = "ending";
const READY: &str = "ready ";
const UNPROVEN: &str = "not ";

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Title {
    /// It looks for the first time.
    Starting,
    /// This check is not as it must be, its name cut to fit; nothing runs, or not for much longer.
    Unproven(String),
    /// The command runs, and what is proven is good until so many whole seconds since the node's start.
    Ready(u64),
    /// The command is over, or is asked to end.
    Ending,
}

impl fmt::Display for Title {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => out.write_str(STARTING),
            Self::Unproven(check) => {
                let rest = MAX_TITLE - UNPROVEN.len();
                write!(out, "{UNPROVEN}{check:.rest$}")
            }
            Self::Ready(until) => write!(out, "{READY}{until}"),
            Self::Ending => out.write_str(ENDING),
        }
    }
}

impl Title {
    /// What a name says; nothing where it is not one of a Worker's process 1.
    pub fn read(name: &str) -> Option<Self> {
        match name {
            STARTING => Some(Self::Starting),
            ENDING => Some(Self::Ending),
            _ => match name.strip_prefix(READY) {
                Some(until) => Some(Self::Ready(until.parse().ok()?)),
                None => Some(Self::Unproven(name.strip_prefix(UNPROVEN)?.to_owned())),
            },
        }
    }

    /// Why it is not ready at that second since the node's start; nothing if it is.
    pub fn fault(&self, now: u64) -> Option<String> {
        match self {
            Self::Starting => Some("nothing is proven yet".to_owned()),
            Self::Unproven(check) if check.is_empty() => {
                Some("the last look proved nothing; see this pod's log".to_owned())
            }
            Self::Unproven(check) => Some(format!(
                "the check {check} is not as it must be; this pod's log says what was seen"
            )),
            Self::Ready(until) if now < *until => None,
            Self::Ready(until) => Some(format!(
                "the last proof ended {} s ago; this pod's log says why there is no newer one",
                now - until
            )),
            Self::Ending => Some("the command is over, or was asked to end".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_title_fits_and_is_read_as_it_was_meant() {
        let cut = "ForbiddenCanary"[..MAX_TITLE - UNPROVEN.len()].to_owned();
        for (title, read) in [
            (Title::Starting, Title::Starting),
            (Title::Ending, Title::Ending),
            (Title::Ready(999_999_999), Title::Ready(999_999_999)),
            (
                Title::Unproven(String::new()),
                Title::Unproven(String::new()),
            ),
            (Title::Unproven("Dns".into()), Title::Unproven("Dns".into())),
            (
                Title::Unproven("ForbiddenCanary".into()),
                Title::Unproven(cut),
            ),
        ] {
            let name = title.to_string();
            assert!(name.len() <= MAX_TITLE, "{name}");
            assert_eq!(Title::read(&name), Some(read));
        }
    }

    #[test]
    fn a_name_that_is_no_title_says_nothing() {
        for name in [
            "",
            "sh",
            "cloister-sandbo",
            "ready",
            "ready x",
            "ready -1",
            "Ready 5",
        ] {
            assert_eq!(Title::read(name), None, "{name}");
        }
    }

    #[test]
    fn only_a_proof_that_is_not_over_is_ready() {
        assert_eq!(Title::Ready(100).fault(99), None);
        for (title, now) in [
            (Title::Ready(100), 100),
            (Title::Ready(100), 101),
            (Title::Starting, 0),
            (Title::Ending, 0),
            (Title::Unproven("Dns".into()), 0),
            (Title::Unproven(String::new()), 0),
        ] {
            assert!(title.fault(now).is_some(), "{title} at {now}");
        }
    }
}
