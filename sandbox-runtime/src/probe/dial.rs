//! One target → what was seen there, in no more than the timeout.
//!
//! What a check is asked of follows from its kind: a name is resolved, the permitted
//! canary has to say its line, everything else is a bare TCP connection. Never fails: what
//! goes wrong is [`Saw::Error`] for this target and touches no other.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use contract::{Check, Saw, Target};
use rustix::io::Errno;

use super::{classify, connect, named};
use crate::greeting::{self, MAX_GREETING};
use crate::names::{self, LookupError};
use crate::with_causes;

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

/// Tries the target for at most `timeout`; for one that is named, and the resolver's time.
pub fn dial(target: &Target, timeout: Duration) -> Seen {
    let how = match how(target.check) {
        How::Resolve => return resolve(&target.address, timeout.max(named::WHOLE)),
        How::Connect => connected,
        How::ConnectAndListen => listen,
    };
    let may_be_named = match target.check {
        Check::PermittedCanary | Check::ForbiddenCanary | Check::OtherTenant => true,
        Check::Dns
        | Check::MetadataV4
        | Check::MetadataV6
        | Check::MetadataMapped
        | Check::ApiServerService
        | Check::ApiServerEndpoint
        | Check::Kubelet
        | Check::Outside => false,
    };
    match (target.address.parse(), named::parse(&target.address)) {
        (Ok(address), _) => how(address, timeout),
        (Err(_), Some(name)) if may_be_named => {
            named::dial(target.check, name, |address| how(address, timeout))
        }
        (Err(_), _) => Seen::error("the address is no ip:port".to_owned()),
    }
}

fn connected(address: SocketAddr, timeout: Duration) -> Seen {
    match reach(&address, timeout) {
        Ok(_) => Seen {
            saw: Saw::Connected,
            why: "a connection came up".to_owned(),
        },
        Err(seen) => seen,
    }
}

fn reach(address: &SocketAddr, timeout: Duration) -> Result<TcpStream, Seen> {
    connect::connect(address, timeout).map_err(|errno| {
        if errno == Errno::ADDRNOTAVAIL && connect::has_source(address) {
            return Seen::error("no port is left to dial from".to_owned());
        }
        Seen {
            saw: classify::connect_error(errno),
            why: errno.to_string(),
        }
    })
}

fn listen(address: SocketAddr, timeout: Duration) -> Seen {
    let deadline = Instant::now() + timeout;
    let mut stream = match reach(&address, timeout) {
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

fn resolve(name: &str, timeout: Duration) -> Seen {
    match lookup(name, timeout) {
        Ok(found) => resolved(&found),
        Err(seen) => seen,
    }
}

/// Asks the pod's DNS servers, which is silence where they do not answer in time.
pub fn lookup(name: &str, timeout: Duration) -> Result<Vec<IpAddr>, Seen> {
    // An address "resolves" without any server: as a control it would be empty.
    if name.parse::<IpAddr>().is_ok() {
        return Err(Seen::error("the name is an address".to_owned()));
    }
    names::lookup(name, timeout).map_err(|error| Seen {
        saw: match error {
            LookupError::Silence => Saw::Silence,
            _ => Saw::Error,
        },
        why: with_causes(&error),
    })
}

fn resolved(found: &[IpAddr]) -> Seen {
    match found.first() {
        Some(first) => Seen {
            saw: Saw::Connected,
            why: format!("resolved to {first}"),
        },
        None => Seen::error("resolved to no address".to_owned()),
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
    fn only_canary_and_decoy_may_be_named() {
        let dialled = |check| {
            let target = Target {
                check,
                address: "localhost:1".to_owned(),
                expect: contract::Expect::Blocked,
            };
            dial(&target, Duration::from_secs(1)).saw
        };
        assert_eq!(dialled(Check::OtherTenant), Saw::Refused);
        assert_eq!(dialled(Check::ForbiddenCanary), Saw::Refused);
        assert_eq!(dialled(Check::PermittedCanary), Saw::Refused);
        assert_eq!(dialled(Check::Kubelet), Saw::Error);
    }

    #[test]
    fn an_answer_without_addresses_is_no_connection() {
        assert_eq!(resolved(&[]).saw, Saw::Error);
        assert_eq!(resolved(&["10.0.0.1".parse().unwrap()]).saw, Saw::Connected);
        let unknown = resolve("no-such-name.invalid", Duration::from_secs(20));
        assert_ne!(unknown.saw, Saw::Connected);
    }
}
