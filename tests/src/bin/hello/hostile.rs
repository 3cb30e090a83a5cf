//! Tries to get out of a sandbox.

use std::fs::{self, OpenOptions};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crate::dial::dial;
use rustix::process::{Pid, test_kill_process};

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_millis(400);

/// Where `hoard` leaves something, that nobody else may find: its own places, and the memory that
/// processes share. The first two must be to be had.
const HOARDED: [&str; 3] = ["/work/secret", "/tmp/secret", "/dev/shm/secret"];

/// Files of the supervisor, of the node and of Kubernetes.
const READ: [&str; 9] = [
    "/run/cloister/token",
    "/proc/1/environ",
    "/proc/1/mem",
    "/proc/1/maps",
    "/proc/1/fd/0",
    "/proc/1/root/run/cloister/token",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "/etc/kubernetes/admin.conf",
    "/proc/kcore",
];

/// Places that nobody may write.
const WRITE: [&str; 6] = [
    "/hello",
    "/new",
    "/cloister/cloister-sandbox",
    "/proc/sys/kernel/core_pattern",
    "/sys/fs/cgroup/cgroup.procs",
    "/dev/mem",
];

/// Leaves a secret where another execution might look for it, and rests.
pub fn hoard() -> ExitCode {
    let kept = HOARDED.map(|path| {
        let kept = fs::write(path, "secret").and_then(|()| read(path));
        println!(
            "{path} {}",
            kept.as_ref()
                .map_or_else(ToString::to_string, |()| "kept".into())
        );
        kept.is_ok()
    });
    if !(kept[0] && kept[1]) {
        return ExitCode::FAILURE;
    }
    crate::rest("600");
    ExitCode::SUCCESS
}

/// Tries everything; ends with 0 if nothing worked but what must.
pub fn run(addresses: &[&str]) -> ExitCode {
    let (mut wrong, mut tries) = (Vec::new(), 0);
    let mut tell = |name: &str, outcome: io::Result<()>, must_work: bool| {
        let worked = outcome.is_ok();
        let verdict = match outcome {
            Ok(()) => "worked".to_owned(),
            Err(error) => error.to_string(),
        };
        let mark = if worked == must_work {
            "as it must"
        } else {
            "WRONG"
        };
        println!("{name:<58} {verdict} ({mark})");
        tries += 1;
        if worked != must_work {
            wrong.push(name.to_owned());
        }
    };
    tell(
        "allowed: write below /work",
        fs::write("/work/x", "x"),
        true,
    );
    tell("allowed: write below /tmp", fs::write("/tmp/x", "x"), true);
    for address in addresses {
        tell(&format!("dial {address}"), reach(address), false);
    }
    for path in HOARDED.into_iter().chain(READ) {
        tell(&format!("read {path}"), read(path), false);
    }
    for path in WRITE {
        tell(&format!("write {path}"), write(path), false);
    }
    tell("signal the supervisor", signal_supervisor(), false);
    tell(
        "become root",
        rustix::thread::set_thread_uid(rustix::fs::Uid::ROOT).map_err(Into::into),
        false,
    );
    let result = format!("{tries} tried; not as it must be: {wrong:?}");
    let told = fs::write("/work/result", result);
    if wrong.is_empty() && told.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Who says no has been reached.
fn reach(address: &str) -> io::Result<()> {
    match dial(address, PATIENCE) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        outcome => outcome,
    }
}

fn read(path: &str) -> io::Result<()> {
    use std::io::Read as _;
    let mut byte = [0];
    match fs::File::open(path)?.read(&mut byte)? {
        0 => Err(io::Error::other("nothing in it")),
        _ => Ok(()),
    }
}

fn write(path: &str) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map(drop)
}

fn signal_supervisor() -> io::Result<()> {
    let supervisor = Pid::from_raw(1).ok_or_else(|| io::Error::other("no such process"))?;
    Ok(test_kill_process(supervisor)?)
}
