//! Dials addresses over TCP, and says of each whether it can be reached.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How long somebody may take to answer. What a policy opens may be open on a node a moment
/// later, and a first packet that was lost is sent again after a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Dials all of them, one after the other; the result is a JSON object, `true` for each that
/// could be reached. Ends with 0 whatever came of it.
pub fn run(addresses: &[&str]) -> ExitCode {
    let mut told = Vec::new();
    for address in addresses {
        let outcome = dial(address, PATIENCE);
        let verdict = match &outcome {
            Ok(()) => "reached".to_owned(),
            Err(error) => error.to_string(),
        };
        println!("{address} {verdict}");
        told.push(format!("\"{address}\":{}", outcome.is_ok()));
    }
    match fs::write("/work/result", format!("{{{}}}", told.join(","))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("no result: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Calls the same address again and again, as somebody who asks for work; it never ends by itself.
pub fn poll(address: &str, seconds: &str) -> ExitCode {
    let Ok(pause) = seconds.parse().map(Duration::from_secs) else {
        eprintln!("not a number of seconds: {seconds}");
        return ExitCode::FAILURE;
    };
    loop {
        if let Err(error) = dial(address, PATIENCE) {
            eprintln!("{address} {error}");
        }
        thread::sleep(pause);
    }
}

/// Dials all of them, and says of each whether it can be reached. Rests if that is the first one and
/// no other.
pub fn guard(open: &str, shut: &[&str]) -> ExitCode {
    let reached = |address: &str, outcome: io::Result<()>| {
        let verdict = outcome
            .as_ref()
            .map_or_else(ToString::to_string, |()| "reached".to_owned());
        println!("{address} {verdict}");
        outcome.is_ok()
    };
    if let Some(error) = shut.iter().find_map(|address| parse(address).err()) {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    let through = reached(open, dial(open, PATIENCE));
    let out = shut.iter();
    let out = out.filter(|address| reached(address, reach(address, PATIENCE)));
    let out = out.count();
    match (through, out) {
        (true, 0) => {
            println!("as asked");
            thread::sleep(Duration::from_secs(1_000_000_000));
            ExitCode::SUCCESS
        }
        (false, 0) => ExitCode::from(10),
        (_, _) => ExitCode::from(11),
    }
}

/// An address, which has to be one: what nobody can dial would look shut.
pub fn parse(address: &str) -> io::Result<SocketAddr> {
    let not = |_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("not an address: {address}"),
        )
    };
    address.parse().map_err(not)
}

/// Dials as somebody who wants to get through: who says no has been reached, too. What is shut is
/// silent.
pub fn reach(address: &str, patience: Duration) -> io::Result<()> {
    match dial(address, patience) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        outcome => outcome,
    }
}

/// Opens a connection, and closes it.
pub fn dial(address: &str, patience: Duration) -> io::Result<()> {
    TcpStream::connect_timeout(&parse(address)?, patience).map(drop)
}
