//! A name → its addresses, with nothing of the image's.
//!
//! The C library's resolver does what `/etc/nsswitch.conf` of the image says, loads what libraries
//! that names, and asks a cache on a socket below `/var/run`: an image could so have its own code run
//! in process 1, before anything is proven, or answer for the cluster's DNS. So it is not asked. What
//! is read here are `/etc/hosts` and `/etc/resolv.conf`, which the kubelet mounts; what is asked are
//! the servers that the latter names, over UDP.

mod config;
mod message;

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use self::config::Config;
use self::message::{Answer, Family, MAX_MESSAGE};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// A server that has not answered by then is asked again, after all others were, from another
/// port: behind one address of a cluster's DNS there are several pods, and the one that the question
/// was handed to may be lost with its zone. Each round waits twice as long, for servers that are slow.
const FIRST_TRY: Duration = Duration::from_millis(100);
const LONGEST_TRY: Duration = Duration::from_millis(800);

/// Why there is no address. Perhaps there is one later.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No name that DNS knows.
    #[error("`{0}` is no name")]
    NoName(String),
    /// A file that the kubelet mounts.
    #[error("failed to read {0}")]
    Read(&'static str, #[source] io::Error),
    /// There is nobody to ask.
    #[error("{RESOLV_CONF} names no server")]
    NoServer,
    /// All servers are silent.
    #[error("no answer in time")]
    Silence,
    /// A server answered that it cannot tell.
    #[error("the server answered with error {0}")]
    Server(u8),
    /// There is no such name, or it has no address.
    #[error("no such name, or no address of it")]
    Unknown,
    /// The question could not be sent.
    #[error("failed to ask {0}")]
    Ask(IpAddr, #[source] io::Error),
}

/// The addresses of a name, of both families, each once. Takes no longer than `timeout`, and waits
/// that long for a server that is silent. An address is its own.
pub fn lookup(name: &str, timeout: Duration) -> Result<Vec<IpAddr>, LookupError> {
    let deadline = Instant::now() + timeout;
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    if !message::is_name(name) {
        return Err(LookupError::NoName(name.to_owned()));
    }
    let hosts = fs::read(HOSTS).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let known = config::hosts(&hosts.unwrap_or_default(), name);
    if !known.is_empty() {
        return Ok(known);
    }
    let text =
        fs::read_to_string(RESOLV_CONF).map_err(|error| LookupError::Read(RESOLV_CONF, error))?;
    let config = config::parse(&text);
    if config.servers.is_empty() {
        return Err(LookupError::NoServer);
    }
    ask_all(&config, name, deadline)
}

/// Asks for one spelling after the other, as the list of domains has them.
fn ask_all(config: &Config, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, LookupError> {
    let mut trouble = LookupError::Unknown;
    let candidates = config.candidates(name).into_iter();
    for candidate in candidates.filter(|candidate| message::is_name(candidate)) {
        match ask_each(&config.servers, &candidate, deadline) {
            Ok(found) if found.is_empty() => {}
            Ok(found) => return Ok(found),
            Err(error @ LookupError::Silence) => return Err(error),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

/// Asks one server after the other, round and round, until one knows.
fn ask_each(servers: &[IpAddr], name: &str, deadline: Instant) -> Result<Vec<IpAddr>, LookupError> {
    let mut trouble = LookupError::Silence;
    let mut patience = FIRST_TRY;
    loop {
        for server in servers {
            let now = Instant::now();
            if now >= deadline {
                return Err(trouble);
            }
            match ask(
                SocketAddr::new(*server, PORT),
                name,
                deadline.min(now + patience),
            ) {
                Ok(found) => return Ok(found),
                Err(LookupError::Silence) => {}
                Err(error) => trouble = error,
            }
        }
        // One that refuses does so at once.
        if !matches!(trouble, LookupError::Silence) {
            return Err(trouble);
        }
        patience = LONGEST_TRY.min(2 * patience);
    }
}

/// Asks one server for both families. Empty where there is no such name.
fn ask(server: SocketAddr, name: &str, until: Instant) -> Result<Vec<IpAddr>, LookupError> {
    let failed = |error| LookupError::Ask(server.ip(), error);
    let from: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connected: the kernel takes nothing from anybody else.
    let socket = UdpSocket::bind((from, 0)).map_err(failed)?;
    socket.connect(server).map_err(failed)?;
    let first = number();
    let mut open = vec![(first, Family::V4), (first.wrapping_add(1), Family::V6)];
    for (id, family) in &open {
        let question = message::question(*id, name, *family);
        socket.send(&question).map_err(failed)?;
    }
    let mut found = Vec::new();
    let mut bytes = [0; MAX_MESSAGE];
    while !open.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(LookupError::Silence);
        }
        socket.set_read_timeout(Some(left)).map_err(failed)?;
        let length = match socket.recv(&mut bytes) {
            Ok(length) => length,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    return Err(LookupError::Silence);
                }
                io::ErrorKind::Interrupted => continue,
                _ => return Err(failed(error)),
            },
        };
        // What is no answer to an open question is nobody's.
        let message = &bytes[..length];
        let place = open
            .iter()
            .position(|(id, family)| message::answers(message, *id, name, *family));
        let Some(place) = place else { continue };
        let (_, family) = open.swap_remove(place);
        match message::answer(message, family) {
            Answer::Addresses(addresses) => found.extend(addresses),
            Answer::NoSuchName => {}
            Answer::Error(code) => return Err(LookupError::Server(code)),
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A number that nobody guesses.
fn number() -> u16 {
    let hash = RandomState::new().hash_one(());
    u16::try_from(hash & u64::from(u16::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
