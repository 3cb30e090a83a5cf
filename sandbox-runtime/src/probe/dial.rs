//! One target → what was seen there, in no more than the timeout.
//!
//! What a check is asked of follows from its kind: a name is resolved, the permitted
//! canary has to say its line, everything else is a bare TCP connection. Never fails: what
//! goes wrong is [`Saw::Error`] for this target and touches no other.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use contract::{Check, Saw, Target};

use super::{classify, connect};
use crate::greeting::{self, MAX_GREETING};

/// The resolver of the C library keeps its answers on the stack.
const RESOLVER_STACK: usize = 512 * 1024;

/// What was seen, and the detail of it for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub saw: Saw,
    pub why: String,
}

impl Seen {
    /// The attempt went wrong.
    pub const fn error(why: String) -> Self {
        Self {
            saw: Saw::Error,
            why,
        }
    }
}

enum How {
    Resolve,
    Connect,
    ConnectAndListen,
}

const fn how(check: Check) -> How {
    match check {
        Check::Dns => How::Resolve,
        // A positive control that any proxy on the way could answer would prove nothing.
        Check::PermittedCanary => How::ConnectAndListen,
        // Here a connection is bad news already, whoever is at the other end.
        Check::ForbiddenCanary
        | Check::OtherTenant
        | Check::MetadataV4
        | Check::MetadataV6
        | Check::MetadataMapped
        | Check::ApiServerService
        | Check::ApiServerEndpoint
        | Check::Kubelet
        | Check::Outside => How::Connect,
    }
}

/// Tries the target for at most `timeout`.
pub fn dial(target: &Target, timeout: Duration) -> Seen {
    match how(target.check) {
        How::Resolve => resolve(&target.address, timeout),
        How::Connect => match reach(&target.address, timeout) {
            Ok(_) => Seen {
                saw: Saw::Connected,
                why: "a connection came up".to_owned(),
            },
            Err(seen) => seen,
        },
        How::ConnectAndListen => listen(&target.address, timeout),
    }
}

fn reach(address: &str, timeout: Duration) -> Result<TcpStream, Seen> {
    let Ok(address) = address.parse::<SocketAddr>() else {
        return Err(Seen::error("the address is no ip:port".to_owned()));
    };
    connect::connect(&address, timeout).map_err(|errno| Seen {
        saw: classify::connect_error(errno),
        why: errno.to_string(),
    })
}

fn listen(address: &str, timeout: Duration) -> Seen {
    let deadline = Instant::now() + timeout;
    let mut stream = match reach(address, timeout) {
        Ok(stream) => stream,
        Err(seen) => return seen,
    };
    match read_line(&mut stream, deadline) {
        Ok(line) => match greeting::role_of(&line) {
            Some(role) => Seen {
                saw: Saw::Connected,
                why: format!("canary `{role}` answered"),
            },
            None => Seen::error("connected, to something that is no canary".to_owned()),
        },
        Err(error) => Seen::error(format!("connected, but heard no canary: {error}")),
    }
}

/// Reads up to a newline, the end, or the longest greeting, until the deadline.
fn read_line(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(MAX_GREETING);
    let mut bytes = [0; MAX_GREETING];
    while line.len() < MAX_GREETING && !line.contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => line.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}

/// Asks the pod's resolver. It knows no deadline of ours, so it is asked in a thread that
/// is left behind if it does not return; the process ends soon, and the thread with it.
fn resolve(name: &str, timeout: Duration) -> Seen {
    // An address "resolves" without any server: as a control it would be empty.
    if name.parse::<IpAddr>().is_ok() {
        return Seen::error("the name is an address".to_owned());
    }
    let question = name.to_owned();
    let (answer, answered) = mpsc::channel();
    let spawned = thread::Builder::new()
        .stack_size(RESOLVER_STACK)
        .spawn(move || {
            let found = (question.as_str(), 0).to_socket_addrs();
            // Nobody listens any more if the deadline has passed.
            let _ = answer.send(found.map(|found| found.map(|address| address.ip()).collect()));
        });
    if let Err(error) = spawned {
        return Seen::error(format!("failed to start a thread: {error}"));
    }
    match answered.recv_timeout(timeout) {
        Ok(found) => resolved(found),
        Err(RecvTimeoutError::Timeout) => Seen {
            saw: Saw::Silence,
            why: "no answer in time".to_owned(),
        },
        Err(RecvTimeoutError::Disconnected) => Seen::error("the resolver died".to_owned()),
    }
}

/// "No such name" and "no server answered" are one kind of error to the standard library:
/// nothing is known.
fn resolved(found: io::Result<Vec<IpAddr>>) -> Seen {
    match found {
        Ok(found) => match found.first() {
            Some(first) => Seen {
                saw: Saw::Connected,
                why: format!("resolved to {first}"),
            },
            None => Seen::error("resolved to no address".to_owned()),
        },
        Err(error) => Seen::error(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_an_address_is_no_control() {
        for name in ["127.0.0.1", "::1"] {
            assert_eq!(resolve(name, Duration::from_secs(1)).saw, Saw::Error);
        }
    }

    #[test]
    fn an_answer_without_addresses_is_no_connection() {
        assert_eq!(resolved(Ok(vec![])).saw, Saw::Error);
        assert_eq!(
            resolved(Err(io::Error::other("no such name"))).saw,
            Saw::Error
        );
        assert_eq!(
            resolved(Ok(vec!["10.0.0.1".parse().unwrap()])).saw,
            Saw::Connected
        );
    }
}
