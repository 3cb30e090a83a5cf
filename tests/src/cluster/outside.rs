//! What runs in the outside: a server that answers anyone with one line; and the client side, by which
//! the tool asks daemons in a namespace whether they are well.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::error::Error;

/// What it answers.
const ANSWER: &[u8] = b"outside\n";

/// Answers on 80 and 443 (TCP) and on 53 (UDP), on every address of its namespace, and logs each
/// caller to standard output. Never ends.
pub fn listen() -> Result<(), Error> {
    let names = Error::io("receive on", "UDP port 53");
    let udp = UdpSocket::bind("0.0.0.0:53").map_err(Error::io("listen on", "UDP port 53"))?;
    thread::scope(|scope| {
        for port in [80, 443] {
            let tcp = TcpListener::bind(("0.0.0.0", port))
                .map_err(Error::io("listen on", format!("TCP port {port}")))?;
            scope.spawn(move || {
                for stream in tcp.incoming().flatten() {
                    answer(stream);
                }
            });
        }
        let mut buffer = [0; 512];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            println!("udp 53 from {peer}");
            udp.send_to(ANSWER, peer).ok();
        }
        Ok(())
    })?;
    Err(names(std::io::Error::other("the socket was closed")))
}

fn answer(mut stream: TcpStream) {
    if let (Ok(own), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) {
        println!("tcp {own} from {peer}");
    }
    // A caller that went away needs no answer.
    stream.write_all(ANSWER).ok();
}

/// Whether a server answers `GET path` with 200; without a path, whether it accepts a connection.
pub fn probe(address: SocketAddr, path: Option<&str>) -> bool {
    let limit = Duration::from_secs(2);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else {
        return false;
    };
    let Some(path) = path else { return true };
    stream.set_read_timeout(Some(limit)).ok();
    // `brief` asks Cilium for its own health only.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nbrief: true\r\n\r\n");
    let mut head = [0; 12];
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head.ends_with(b" 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_sees_200_and_nothing_else() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 503 No\r\n\r\n", false),
        ] {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = server.local_addr().unwrap();
            let serving =
                thread::spawn(move || server.accept().unwrap().0.write_all(answer.as_bytes()));
            assert_eq!(probe(address, Some("/healthz")), expected);
            serving.join().unwrap().unwrap();
        }
    }
}
