//! Runs inside the jail and tries to get out; prints one JSON object of verdicts.
//!
//! For tests alone: it ships with nothing. The same verbs run outside the jail, as the
//! control that shows what the jail takes away.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::thread;

use rustix::io::Errno;
use rustix::process::{self, Pid, Resource};
use sandbox_runtime::sys::attempts::ATTEMPTS;
use sandbox_runtime::sys::linux;
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let verdicts = match words.as_slice() {
        ["calls"] => calls(),
        ["allowed", directory] => allowed(directory),
        ["facts"] => facts(),
        ["write", paths @ ..] => each(paths, write),
        ["read", paths @ ..] => each(paths, |path| fs::read(path).map(drop)),
        ["signal", process] => json!(verdict(signal(process))),
        ["abstract", name] => json!(verdict(connect_abstract(name))),
        ["processes", most] => json!(processes(most)),
        ["now"] => json!(now_us()),
        ["now-and", program, rest @ ..] => {
            eprintln!("{}", now_us());
            return give_way(program, rest);
        }
        _ => return ExitCode::from(2),
    };
    match writeln!(io::stdout(), "{verdicts}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Name of each call → the error it ends with, or null.
fn calls() -> Value {
    let mut verdicts = BTreeMap::new();
    for attempt in ATTEMPTS {
        let name = format!("{} {}", attempt.call, attempt.variant);
        let error = linux::attempt(attempt).map(Errno::raw_os_error);
        verdicts.insert(name.trim_end().to_owned(), error);
    }
    json!(verdicts)
}

/// What must work in any jail: the positive control of all the rest.
fn allowed(directory: &str) -> Value {
    let file = format!("{directory}/allowed");
    json!({
        "write": verdict(write(&file)),
        "truncate": verdict(fs::write(&file, "x")),
        "rename": verdict(fs::rename(&file, format!("{file}.2"))),
        "remove": verdict(fs::remove_file(format!("{file}.2"))),
        "mkdir": verdict(fs::create_dir(&file)),
        "rmdir": verdict(fs::remove_dir(&file)),
        "null": verdict(fs::write("/dev/null", "x")),
        "read": verdict(fs::read("/proc/self/status").map(drop)),
        "thread": verdict(thread::Builder::new().spawn(|| ()).map(drop)),
        "process": verdict(Command::new("/proc/self/exe").output().map(drop)),
        "signal": verdict(signal("0")),
        "unix": verdict(UnixStream::pair().map(drop)),
        "abstract": verdict(pair_abstract()),
        "tcp": verdict(tcp()),
        "priority": verdict(process::setpriority_process(None, 19).map_err(io::Error::from)),
        "limit": process::getrlimit(Resource::Nofile).current,
    })
}

fn facts() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let value = |line: &str| {
            Some(
                line.strip_prefix(name)?
                    .strip_prefix(':')?
                    .trim()
                    .to_owned(),
            )
        };
        status.lines().find_map(value)
    };
    let limit = |resource| {
        let limit = process::getrlimit(resource);
        json!([limit.current, limit.maximum])
    };
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(line);
    // Read last of all, so that nothing of our own is open but the directory itself.
    json!({
        "environment": std::env::vars().collect::<BTreeMap<_, _>>(),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "directory": std::env::current_dir().unwrap_or_default(),
        "session": process::getsid(None).ok() == Some(process::getpid()),
        "group": process::getpgid(None).ok() == Some(process::getpid()),
        "umask": line("Umask"),
        "noNewPrivileges": line("NoNewPrivs"),
        "capabilities": capabilities,
        "seccomp": line("Seccomp"),
        "ignored": line("SigIgn"),
        "blocked": line("SigBlk"),
        "core": limit(Resource::Core),
        "files": limit(Resource::Nofile),
        "processes": limit(Resource::Nproc),
        "fileBytes": limit(Resource::Fsize),
        "addressSpace": limit(Resource::As),
        "descriptors": descriptors(),
    })
}

/// Open descriptors, without the one that lists them.
fn descriptors() -> Vec<u32> {
    let numbers =
        (0..1024).filter(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok());
    numbers.collect()
}

fn each(paths: &[&str], try_it: impl Fn(&str) -> io::Result<()>) -> Value {
    let verdicts = paths.iter().map(|path| (*path, verdict(try_it(path))));
    json!(verdicts.collect::<BTreeMap<_, _>>())
}

/// Opens for writing, and writes nothing: what is there stays as it is.
fn write(path: &str) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map(drop)
}

fn signal(process: &str) -> io::Result<()> {
    let number: i32 = process.parse().map_err(io::Error::other)?;
    match Pid::from_raw(number) {
        Some(pid) => process::test_kill_process(pid)?,
        None => process::test_kill_process(process::getpid())?,
    }
    Ok(())
}

fn connect_abstract(name: &str) -> io::Result<()> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop)
}

fn pair_abstract() -> io::Result<()> {
    let name = SocketAddr::from_abstract_name(format!("own-{}", now_us()))?;
    let _listener = UnixListener::bind_addr(&name)?;
    UnixStream::connect_addr(&name).map(drop)
}

fn tcp() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    TcpStream::connect(listener.local_addr()?).map(drop)
}

/// Starts so many sleeping processes, and says how many came to be.
fn processes(most: &str) -> usize {
    let most = most.parse().unwrap_or(0);
    let sleep = |_| Command::new("/bin/sleep").arg("60").spawn();
    let children: Vec<_> = (0..most).map_while(|index| sleep(index).ok()).collect();
    children.len()
}

/// Microseconds of the machine's steady clock, the same for every process.
fn now_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

/// Becomes another program; returns only if that failed.
fn give_way(program: &str, arguments: &[&str]) -> ExitCode {
    let error = Command::new(program).args(arguments).exec();
    eprintln!("{program}: {error}");
    ExitCode::FAILURE
}

/// `ok`, or the error's number and text.
fn verdict(result: io::Result<()>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}
