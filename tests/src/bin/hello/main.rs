//! What the examples, the demo and the tests run as a user's command: friendly, failing, greedy
//! or hostile. Static, without anything of Cloister's.
//!
//! Each way of being hostile prints a line `NAME VERDICT`; the control `allowed` among them must
//! work, so that a sandbox in which nothing works proves nothing.

mod dial;
mod greed;
mod hostile;
mod race;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HELP: &str = "\
Usage: hello [NAME]                greet, leave a result, end with 0
       hello now                   say when it began, in microseconds since 1970
       hello exit CODE             end with CODE
       hello count LINES MILLISECONDS CODE
                                   say so many lines, after such pauses; end with CODE
       hello sleep SECONDS         end after that long
       hello dial IP:PORT...       say of each address whether it can be reached
       hello poll SECONDS IP:PORT [NAME]
                                   call it so often until it is ended; NAME tells it from others
       hello guard IP:PORT IP:PORT...
                                   rest if the first can be reached and no other, else end with 10
                                   or 11
       hello keep FILE             count in it how often it was started, say so, and rest
       hello show FILE             say what is in it, twice: as it is, and on stderr in hexadecimal
                                   digits
       hello hoard                 leave a secret wherever that is possible, and rest
       hello hostile [linger] [IP:PORT]...
                                   try to get out, by these addresses too; then stay a while
       hello race IP:PORT...       dial them all before anything else, and say who answered
       hello greedy WHAT [SECONDS] take all there is: memory, processes, disk, files or output; ask
                                   for more that long
";

fn main() -> ExitCode {
    let begun = now_us();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["now"] => {
            println!("{begun}");
            ExitCode::SUCCESS
        }
        ["exit", code] => ExitCode::from(code.parse().unwrap_or(1)),
        ["count", lines, pause, code] => count(lines, pause, code),
        ["sleep", seconds] => {
            rest(seconds);
            ExitCode::SUCCESS
        }
        ["dial", addresses @ ..] => dial::run(addresses),
        ["poll", seconds, address] | ["poll", seconds, address, _] => dial::poll(address, seconds),
        ["guard", open, shut @ ..] => dial::guard(open, shut),
        ["keep", path] => keep(path),
        ["show", path] => show(path),
        ["hoard"] => hostile::hoard(),
        ["hostile", "linger", addresses @ ..] => {
            let outcome = hostile::run(addresses);
            rest("3");
            outcome
        }
        ["hostile", addresses @ ..] => hostile::run(addresses),
        ["race", addresses @ ..] => race::run(addresses),
        ["greedy", what] => greed::run(what, "0"),
        ["greedy", what, seconds] => greed::run(what, seconds),
        ["--help"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        names => greet(names.first().copied().unwrap_or("stranger"), begun),
    }
}

fn greet(name: &str, begun: u64) -> ExitCode {
    let mut input = String::new();
    let read = io::stdin().read_to_string(&mut input);
    println!("hello {name}, {} bytes of input", read.unwrap_or_default());
    eprintln!("and this goes to stderr");
    let result = format!("{{\"hello\":\"{name}\",\"begunUs\":{begun}}}");
    match fs::write("result", result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("no result: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Microseconds since 1970, by the node's clock.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    u64::try_from(micros).unwrap_or_default()
}

fn count(lines: &str, pause: &str, code: &str) -> ExitCode {
    let pause = Duration::from_millis(pause.parse().unwrap_or_default());
    for line in 1..=lines.parse::<u64>().unwrap_or_default() {
        println!("line {line}");
        thread::sleep(pause);
    }
    eprintln!("counted {lines}");
    ExitCode::from(code.parse().unwrap_or(1))
}

fn show(path: &str) -> ExitCode {
    match fs::read(path) {
        Ok(content) => {
            println!("as it is: {}", String::from_utf8_lossy(&content));
            let digits: Vec<String> = content.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("in digits: {}", digits.concat());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn keep(path: &str) -> ExitCode {
    let before = fs::read_to_string(path).unwrap_or_default().lines().count();
    let more = fs::OpenOptions::new().append(true).create(true).open(path);
    let kept = more.and_then(|mut file| writeln!(file, "started"));
    match kept {
        Ok(()) => {
            println!("started {} times", before + 1);
            rest("1000000000");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("failed to keep {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

pub fn rest(seconds: &str) {
    println!("resting");
    io::stdout().flush().ok();
    thread::sleep(Duration::from_secs_f64(seconds.parse().unwrap_or(1.0)));
}
