//! Against a server of this test's own.

use std::thread;

use super::*;

/// A server that answers each question by what it is asked, or not at all.
fn server(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; MAX_MESSAGE];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            if let Some(said) = answer(&bytes[..length]) {
                socket.send_to(&said, from).unwrap();
            }
        }
    });
    address
}

/// The answer to a question, with one address if that is of the family asked for.
fn with_address(question: &[u8]) -> Vec<u8> {
    let mut said = question.to_vec();
    said[2] |= 0x80;
    if question[question.len() - 3] == 1 {
        said[7] = 1;
        said.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 1]);
    }
    said
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn a_name_has_the_addresses_that_the_server_says() {
    let server = server(|question| Some(with_address(question)));
    let found = ask(server, "canary.svc", soon()).unwrap();
    assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn what_was_not_asked_for_is_passed_over() {
    // Another number first, then the answer.
    let server = server(|question| {
        let mut said = with_address(question);
        said[0] ^= 0xff;
        Some(said)
    });
    let begin = Instant::now();
    let found = ask(server, "canary.svc", begin + Duration::from_millis(100));
    assert!(matches!(found, Err(LookupError::Silence)), "{found:?}");
    assert!(begin.elapsed() >= Duration::from_millis(100));
}

#[test]
fn no_such_name_is_no_address_and_trouble_is_an_error() {
    let code = |code: u8| {
        server(move |question| {
            let mut said = question.to_vec();
            said[2] |= 0x80;
            said[3] = code;
            Some(said)
        })
    };
    assert!(ask(code(3), "x", soon()).unwrap().is_empty());
    assert!(matches!(
        ask(code(2), "x", soon()),
        Err(LookupError::Server(2))
    ));
}

#[test]
fn silence_is_waited_for_and_no_longer() {
    let silent = server(|_| None);
    let begin = Instant::now();
    let found = ask(silent, "x", begin + Duration::from_millis(50));
    assert!(matches!(found, Err(LookupError::Silence)));
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn who_refuses_to_be_asked_is_an_error_and_no_silence() {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let found = ask(closed, "x", soon());
    assert!(matches!(found, Err(LookupError::Ask(..))), "{found:?}");
}

#[test]
fn an_address_is_its_own_and_what_is_no_name_is_not_asked_for() {
    let second = Duration::from_secs(1);
    assert_eq!(
        lookup("::1", second).unwrap(),
        ["::1".parse::<IpAddr>().unwrap()]
    );
    assert!(matches!(lookup("a b", second), Err(LookupError::NoName(_))));
    assert!(!lookup("localhost", second).unwrap().is_empty());
}
