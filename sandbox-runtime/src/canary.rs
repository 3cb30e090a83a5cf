//! The peer that probes look for: says its line to whoever connects, and closes.
//!
//! In: addresses and a [`Role`]. Out: nothing but the line; connections are not logged,
//! so that a flood of them fills no disk. Memory and threads are bounded by the number of
//! addresses: a connection is answered by one of a fixed pool, the line fits into the
//! socket's send buffer, so even a peer that never reads holds a thread for no time, and
//! what is not accepted yet waits in the kernel's bounded backlog.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::net::{self, SocketFlags, SocketType, sockopt};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::greeting::{Role, greeting};
use crate::probe::connect::family;

/// Threads that answer at one address. Two, so that one slow close delays nobody.
const THREADS_PER_ADDRESS: usize = 2;
const STACK: usize = 64 * 1024;
/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Only reached if the line did not fit into an empty send buffer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Rest after an `accept` that failed for want of something (descriptors, memory).
const REST: Duration = Duration::from_millis(50);

/// What keeps a canary from serving.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// No handler for SIGTERM.
    #[error("failed to listen to signals")]
    Signals(#[source] io::Error),
    /// An address is taken, foreign, or reserved.
    #[error("failed to listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    /// No thread to answer with.
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
}

/// Serves on every address until SIGTERM or SIGINT, then returns.
///
/// The handlers are in place before the first address is bound: process 1 of a PID
/// namespace ignores a signal that it has no handler for, and would be killed only after
/// the pod's whole grace period.
pub fn run(addresses: &[SocketAddr], role: &Role) -> Result<(), CanaryError> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(CanaryError::Signals)?;
    for address in start(addresses, role)? {
        say(&format!("canary {role} listens on {address}"));
    }
    if let Some(signal) = signals.forever().next() {
        say(&format!("canary {role} stops on signal {signal}"));
    }
    Ok(())
}

/// Binds every address, starts the threads that answer, and says what was bound.
/// The threads live as long as the process. Fails if any address cannot be had.
pub fn start(addresses: &[SocketAddr], role: &Role) -> Result<Vec<SocketAddr>, CanaryError> {
    let line: Arc<[u8]> = greeting(role).into();
    let mut bound = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let failed = |source| CanaryError::Listen { address, source };
        let listener = Arc::new(listen(address).map_err(failed)?);
        bound.push(listener.local_addr().map_err(failed)?);
        for _ in 0..THREADS_PER_ADDRESS {
            let (listener, line) = (Arc::clone(&listener), Arc::clone(&line));
            thread::Builder::new()
                .stack_size(STACK)
                .spawn(move || answer_all(&listener, &line))
                .map_err(CanaryError::Thread)?;
        }
    }
    Ok(bound)
}

/// A wildcard of either family becomes one socket for both, and where the kernel has no
/// IPv6, one for IPv4: the same arguments serve every cluster.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return bind(address);
    }
    let port = address.port();
    bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
}

/// Like [`TcpListener::bind`], with a backlog of our own and one socket for both families.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = family(&address);
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn answer_all(listener: &TcpListener, line: &[u8]) {
    loop {
        match listener.accept() {
            // One peer that went away concerns nobody else.
            Ok((stream, _)) => drop(answer(stream, line)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Without the rest, a lack of descriptors would turn this into a busy loop.
            Err(_) => thread::sleep(REST),
        }
    }
}

fn answer(mut stream: TcpStream, line: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    stream.write_all(line)?;
    stream.shutdown(Shutdown::Both)
}

/// Writes to stdout; a canary outlives a reader of its log.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn canary(address: &str) -> SocketAddr {
        start(&[address.parse().unwrap()], &"canary".parse().unwrap()).unwrap()[0]
    }

    fn heard_at(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard
    }

    #[test]
    fn says_its_line_and_closes() {
        assert_eq!(heard_at(canary("127.0.0.1:0")), "cloister-canary canary\n");
    }

    #[test]
    fn answers_while_idle_connections_pile_up() {
        let address = canary("127.0.0.1:0");
        let idle: Vec<_> = (0..500)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        assert_eq!(heard_at(address), "cloister-canary canary\n");
        assert_eq!(idle.len(), 500);
    }

    #[test]
    fn a_wildcard_of_either_family_serves_ipv4() {
        for wildcard in ["0.0.0.0:0", "[::]:0"] {
            let port = canary(wildcard).port();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            assert_eq!(heard_at(address), "cloister-canary canary\n", "{wildcard}");
        }
    }

    #[test]
    fn refuses_an_address_that_is_taken() {
        let taken = canary("127.0.0.1:0");
        let error = start(&[taken], &"canary".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("failed to listen on {taken}"));
    }
}
