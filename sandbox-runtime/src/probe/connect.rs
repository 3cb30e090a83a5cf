//! `connect` with a deadline, for proofs: silence is never claimed of an open connection.
//!
//! `TcpStream::connect_timeout` gives up without having looked at the socket if the process
//! was not scheduled for the length of the timeout, as a pod with little CPU may be. Here
//! the kernel is always asked once more: a poll that finds nothing has looked.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// No time at all.
const NONE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Whether this side has an address from which to go there. A process of the same network that holds
/// every port makes a dial fail just as if there were none; a datagram's socket has ports of its own.
pub fn has_source(address: &SocketAddr) -> bool {
    let socket = net::socket_with(
        family(address),
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    );
    // Nothing is sent: it only looks for the way, and for the address at its beginning.
    let found = socket.and_then(|socket| net::connect(&socket, address));
    found != Err(Errno::ADDRNOTAVAIL)
}

/// The family of an address.
pub fn family(address: &SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

/// Connects, or says with which error it did not; [`Errno::TIMEDOUT`] is the deadline.
pub fn connect(address: &SocketAddr, timeout: Duration) -> Result<TcpStream, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family(address), SocketType::STREAM, flags, None)?;
    match net::connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => finish(&socket, timeout)?,
        Err(errno) => return Err(errno),
    }
    ioctl_fionbio(&socket, false)?;
    Ok(TcpStream::from(socket))
}

fn finish(socket: &OwnedFd, timeout: Duration) -> Result<(), Errno> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)];
        match poll(&mut polled, Some(&left)) {
            // Not every kernel looks once more when the time is over: gVisor's does not.
            Ok(0) if left == NONE => return Err(Errno::TIMEDOUT),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return sockopt::socket_error(socket)?,
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_open_connection_is_seen_even_with_no_time_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(connect(&listener.local_addr().unwrap(), Duration::ZERO).is_ok());
    }

    #[test]
    fn there_is_an_address_to_dial_this_machine_from() {
        assert!(has_source(&"127.0.0.1:1".parse().unwrap()));
    }

    #[test]
    fn a_connection_that_was_closed_at_once_was_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closer = std::thread::spawn(move || drop(listener.accept().unwrap()));
        assert!(connect(&address, Duration::from_secs(5)).is_ok());
        closer.join().unwrap();
    }

    #[test]
    fn a_closed_port_refuses() {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let refused = connect(&address, Duration::from_secs(5)).unwrap_err();
        assert_eq!(refused, Errno::CONNREFUSED);
    }
}
