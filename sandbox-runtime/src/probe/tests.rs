//! A probe and its peers on the loopback interface.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};

use contract::{Check, Expect, Saw, Target};

use super::*;
use crate::canary;

fn target(check: Check, address: &dyn ToString) -> Target {
    Target {
        check,
        address: address.to_string(),
        expect: Expect::Blocked,
    }
}

fn saw(timeout_ms: u32, targets: Vec<Target>) -> Vec<Saw> {
    let request = ProbeRequest {
        version: VERSION,
        timeout_ms,
        targets,
        places: vec![],
    };
    dial_all(&request)
        .seen()
        .into_iter()
        .map(|seen| seen.saw)
        .collect()
}

fn a_canary() -> SocketAddr {
    let loopback = "127.0.0.1:0".parse().unwrap();
    canary::start(&[loopback], &"canary".parse().unwrap()).unwrap()[0]
}

/// A port on which nobody listens any more.
fn a_closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Takes every connection, says `line` if there is one, and stays.
fn something_else(line: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            stream.write_all(line.as_bytes()).unwrap();
            open.push(stream);
        }
    });
    address
}

#[test]
fn sees_a_canary_and_a_closed_port_in_the_order_asked() {
    let (canary, closed) = (a_canary(), a_closed_port());
    let seen = saw(
        2000,
        vec![
            target(Check::ForbiddenCanary, &closed),
            target(Check::PermittedCanary, &canary),
            target(Check::OtherTenant, &canary),
            target(Check::Kubelet, &"$(HOST_IP):10250"),
            target(Check::PermittedCanary, &closed),
        ],
    );
    assert_eq!(
        seen,
        [
            Saw::Refused,
            Saw::Connected,
            Saw::Connected,
            Saw::Error,
            Saw::Refused
        ]
    );
}

#[test]
fn a_proxy_that_accepts_everything_is_no_canary() {
    let (mute, web) = (
        something_else(""),
        something_else("HTTP/1.1 400 Bad Request\r\n\r\n"),
    );
    let seen = saw(
        200,
        vec![
            target(Check::PermittedCanary, &mute),
            target(Check::PermittedCanary, &web),
            target(Check::ForbiddenCanary, &mute),
        ],
    );
    assert_eq!(seen, [Saw::Error, Saw::Error, Saw::Connected]);
}

/// A listener whose backlog is full drops what comes, like a policy that drops packets.
#[test]
fn silence_is_seen_by_waiting_all_the_time_and_for_all_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let fill = |_| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let filled: Vec<_> = (0..4).map(fill).collect();
    assert!(
        filled.iter().any(Option::is_none),
        "the backlog takes everything"
    );
    let began = Instant::now();
    let seen = saw(300, vec![target(Check::Outside, &address); 20]);
    let took = began.elapsed();
    assert_eq!(seen, [Saw::Silence; 20]);
    assert!(
        took >= Duration::from_millis(300) && took < 10 * Duration::from_millis(300),
        "one after the other, it would be 20 times that: {took:?}"
    );
}

#[test]
fn a_run_leaves_a_report_that_reads_back() {
    let path = std::env::temp_dir().join(format!("cloister-run-{}", std::process::id()));
    let request = format!(
        r#"{{"version":{VERSION},"timeoutMs":2000,"places":[],"targets":[{{"check":"PermittedCanary","address":"{}","expect":"Reachable"}}]}}"#,
        a_canary()
    );
    let log = run(&request, &path).unwrap();
    let report: ProbeReport = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(report.checks.len(), 1);
    assert!(report.checks[0].saw.satisfies(Expect::Reachable));
    assert_eq!(log.lines().count(), 2);
}

#[test]
fn a_report_that_cannot_be_written_is_no_fault_of_the_request() {
    let request = format!(r#"{{"version":{VERSION},"timeoutMs":1,"targets":[],"places":[]}}"#);
    let error = run(&request, Path::new("/nowhere/report")).unwrap_err();
    assert!(!error.is_bad_request());
    assert!(
        run("{}", Path::new("/nowhere/report"))
            .unwrap_err()
            .is_bad_request()
    );
}
