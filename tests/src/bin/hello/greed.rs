//! Takes all there is, of one thing, until something says no.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const MEGABYTE: usize = 1 << 20;
/// More than any sandbox of a test may have of it; the end of a greed that nobody stops.
const MOST: usize = 4096;

/// Ends with 0 only if nobody has stopped it. Whoever is told no asks again, and again, for so many
/// seconds: long enough for others to feel it.
pub fn run(what: &str, seconds: &str) -> ExitCode {
    let Ok(least) = seconds.parse().map(Duration::from_secs) else {
        eprintln!("not a number of seconds: {seconds}");
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let lasts = || begun.elapsed() < least;
    println!("taking {what}");
    let take = match what {
        "memory" => {
            // It is killed for what it takes, and has others be killed before.
            while lasts() && another("memory").is_ok() {}
            memory
        }
        "processes" => processes,
        "disk" => disk,
        "files" => files,
        "output" => output,
        other => {
            eprintln!("nothing is known of {other}");
            return ExitCode::from(2);
        }
    };
    let mut taken = take();
    while taken.is_err() && lasts() {
        taken = take();
    }
    match taken {
        Ok(()) => {
            println!("nobody has stopped it");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("stopped: {error}");
            ExitCode::from(3)
        }
    }
}

/// Another one of this kind, to its end.
fn another(what: &str) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["greedy", what]).stdout(Stdio::null());
    command.status().map(drop)
}

fn memory() -> io::Result<()> {
    let mut held = Vec::new();
    for _ in 0..MOST {
        let mut chunk = Vec::new();
        chunk
            .try_reserve_exact(MEGABYTE)
            .map_err(io::Error::other)?;
        chunk.resize(MEGABYTE, 1_u8);
        held.push(black_box(chunk));
    }
    Ok(())
}

fn processes() -> io::Result<()> {
    let own = std::env::current_exe()?;
    let mut children = Vec::new();
    for _ in 0..MOST {
        children.push(Command::new(&own).args(["sleep", "600"]).spawn()?);
    }
    Ok(())
}

fn disk() -> io::Result<()> {
    let chunk = vec![1_u8; MEGABYTE];
    for number in 0..MOST {
        fs::write(format!("/tmp/{number}"), &chunk)?;
    }
    Ok(())
}

fn files() -> io::Result<()> {
    let mut open = Vec::new();
    for _ in 0..MOST * 16 {
        open.push(File::open("/proc/self/status")?);
    }
    Ok(())
}

fn output() -> io::Result<()> {
    let line = [b'x'; 1023];
    let mut out = io::stdout().lock();
    for _ in 0..MOST * 256 {
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
