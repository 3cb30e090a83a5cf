//! Tries to get out of a sandbox.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::dial::{parse, reach};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_millis(400);

/// Where `hoard` leaves something, that nobody else may find: its own places, and the memory that
/// processes share. The first two must be to be had.
const HOARDED: [&str; 3] = ["/work/secret", "/tmp/secret", "/dev/shm/secret"];

/// Files of the supervisor, of the node and of Kubernetes.
const READ: [&str; 8] = [
    "/run/cloister/token",
    "/proc/1/environ",
    "/proc/1/mem",
    "/proc/1/maps",
    "/proc/1/root/run/cloister/token",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "/etc/kubernetes/admin.conf",
    "/proc/kcore",
];

/// Places that nobody may write. The last is the kubelet's, which shows what is there as the words of
/// the container.
const WRITE: [&str; 7] = [
    "/hello",
    "/new",
    "/cloister/cloister-sandbox",
    "/proc/sys/kernel/core_pattern",
    "/sys/fs/cgroup/cgroup.procs",
    "/dev/mem",
    "/dev/termination-log",
];

/// What process 1 was given, and what it may have opened itself: more numbers than it has.
const STANDARD: Range<u32> = 0..3;
const OTHERS: Range<u32> = 3..33;
/// More than process 1 and its threads have numbers, which are given in turn.
const THREADS: Range<u32> = 2..65;

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

/// What was tried, and what was not as it must be.
#[derive(Default)]
struct Tries {
    count: usize,
    wrong: Vec<String>,
}

impl Tries {
    /// One that must work, or must not.
    fn tell(&mut self, name: &str, outcome: io::Result<()>, must_work: bool) {
        let worked = outcome.is_ok();
        let verdict = outcome.map_or_else(|error| error.to_string(), |()| "worked".to_owned());
        self.note(name, &verdict, worked == must_work);
    }

    fn note(&mut self, name: &str, verdict: &str, is_right: bool) {
        let mark = if is_right { "as it must" } else { "WRONG" };
        println!("{name:<58} {verdict} ({mark})");
        self.count += 1;
        if !is_right {
            self.wrong.push(name.to_owned());
        }
    }
}

/// Tries everything; ends with 0 if nothing worked but what must.
pub fn run(addresses: &[&str]) -> ExitCode {
    let mut tries = Tries::default();
    for path in ["/work", "/tmp"] {
        let name = format!("allowed: write below {path}");
        tries.tell(&name, fs::write(format!("{path}/x"), "x"), true);
    }
    for address in addresses {
        let name = format!("dial {address}");
        match parse(address) {
            Ok(_) => tries.tell(&name, reach(address, PATIENCE), false),
            // Not tried, which must not look shut.
            Err(error) => tries.note(&name, &error.to_string(), false),
        }
    }
    for path in HOARDED.into_iter().chain(READ) {
        tries.tell(&format!("read {path}"), read(path), false);
    }
    for path in WRITE {
        tries.tell(&format!("write {path}"), write(path), false);
    }
    for (whose, numbers) in [("standard", STANDARD), ("other", OTHERS)] {
        for (how, options) in [
            ("read", OpenOptions::new().read(true)),
            ("write", OpenOptions::new().write(true)),
        ] {
            let name = format!("{how} {whose} descriptors of process 1");
            tries.tell(&name, open_any(numbers.clone(), options), false);
        }
    }
    tries.tell("signal the supervisor", signal(1), false);
    tries.tell(
        "signal a thread of the supervisor",
        to_thread(signal),
        false,
    );
    // Whoever could, would never tell.
    tries.tell("stop a thread of the supervisor", to_thread(stop), false);
    let root = rustix::thread::set_thread_uid(rustix::fs::Uid::ROOT);
    tries.tell("become root", root.map_err(Into::into), false);

    let Tries { count, wrong } = tries;
    let result = format!("{count} tried; not as it must be: {wrong:?}");
    let told = fs::write("/work/result", result);
    if wrong.is_empty() && told.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
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

/// Opens whatever process 1 has open under these numbers, and says which. That it can be opened is
/// enough: what is in it, or goes through it, depends on the moment.
///
/// The other ends of the command's own pipes are nobody else's, nor is its input.
fn open_any(numbers: Range<u32>, options: &OpenOptions) -> io::Result<()> {
    let link = |process: &str, number: u32| {
        let link = fs::read_link(format!("/proc/{process}/fd/{number}"));
        link.unwrap_or_default()
    };
    let own = |number| link("self", number);
    let own: Vec<PathBuf> = STANDARD.map(own).filter(|link| is_nameless(link)).collect();
    let mut outcome = Err(io::Error::from(io::ErrorKind::NotFound));
    for number in numbers {
        let mut options = options.clone();
        // A pipe whose other end nobody has would be waited for.
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let link = link("1", number);
        match options.open(format!("/proc/1/fd/{number}")) {
            Ok(_) if own.contains(&link) => {}
            Ok(_) => {
                println!("descriptor {number} of process 1 is {}", link.display());
                outcome = Ok(());
            }
            Err(error) if outcome.is_err() && error.kind() != io::ErrorKind::NotFound => {
                outcome = Err(error);
            }
            Err(_) => {}
        }
    }
    outcome
}

/// A pipe, or a file in memory: told from every other by its number, or nobody's but the command's.
fn is_nameless(link: &std::path::Path) -> bool {
    let text = link.to_string_lossy();
    text.starts_with("pipe:") || text.starts_with("/memfd:")
}

/// Signal 0, which asks for the right to signal and does nothing.
fn signal(number: i32) -> io::Result<()> {
    let process = Pid::from_raw(number).ok_or_else(|| io::Error::other("no such process"))?;
    Ok(test_kill_process(process)?)
}

/// SIGSTOP.
fn stop(number: i32) -> io::Result<()> {
    let process = Pid::from_raw(number).ok_or_else(|| io::Error::other("no such process"))?;
    Ok(kill_process(process, Signal::STOP)?)
}

/// Does this to a thread of process 1 by its own number: one that `/proc` tells, or a guess. Nobody else
/// but this process is in the sandbox.
fn to_thread(send: fn(i32) -> io::Result<()>) -> io::Result<()> {
    let own = tasks("self");
    let all = tasks("1").into_iter().chain(THREADS.map(u32::cast_signed));
    let others = all.filter(|number| *number != 1 && !own.contains(number));
    let mut outcome = Err(io::Error::from(rustix::io::Errno::SRCH));
    for number in others {
        match send(number) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                outcome = Err(error);
            }
            Err(_) => {}
        }
    }
    outcome
}

/// Numbers of the threads of a process, as far as they are told.
fn tasks(process: &str) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{process}/task"));
    let entries = entries.into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.collect()
}
