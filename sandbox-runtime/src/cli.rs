//! What was typed → [`Command`]. Pure.
//!
//! Parsed with `lexopt`: no dependency of its own and some kilobytes, where a derived parser
//! adds 380 KiB (measured) and ten crates to what runs in front of users' code.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt as _};

use crate::greeting::Role;
use crate::run::Source;

/// Where the kubelet looks for a termination message unless a pod says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Most addresses one canary listens on; each has its own threads.
const MAX_LISTEN: usize = 8;

const VERSION: &str = concat!("cloister-sandbox ", env!("CARGO_PKG_VERSION"));

const HELP: &str = "\
Cloister's binary inside a pod.

Usage: cloister-sandbox <COMMAND> [OPTIONS]

Commands:
  serve    Be process 1 of a sandbox pod: prove it, be given one run, run it, report
  run      Run one command in its jail, as process 1 of a container, and report
  probe    Look at the network and at this process from inside, once, and report
  canary   Answer every connection with a line that a probe recognizes

Options:
  -h, --help       Print help (also after a command)
  -V, --version    Print the version

Exit codes:
  0  done: a report was written, whatever it says; or canary or sandbox were asked to stop
  1  failed: no report was written; or the canary could not listen, the sandbox not wait
  2  wrong arguments or a wrong request; of `run`, too, if the report says that nothing ran
";

const SERVE_HELP: &str = "\
Be process 1 of a sandbox pod, from its start to its end.

Dials the operator, again for as long as it takes, and proves to it what the sandbox is: by
what `probe` looks at, on a clock. Runs what the operator gives, once and as `run` does, and
says when it has started and how it ended. SIGTERM and SIGINT from outside the container
cancel the run; without one they end this process, with 0.

Usage: cloister-sandbox serve --config <JSON>

Options:
  --config <JSON>  Whom to dial and what to look at:
                   {\"version\":1,\"dispatch\":\"cloister-dispatch.cloister-system.svc:8443\",
                    \"authorities\":\"-----BEGIN CERTIFICATE-----...\",\"token\":\"/run/cloister/token\",
                    \"probe\":{\"version\":1,\"timeoutMs\":1000,\"targets\":[]},\"probeIntervalMs\":30000}
                   The operator's certificate has to be of one of the authorities, and for the
                   host of `dispatch`. The interval is 1000 to 600000 ms.
  -h, --help       Print help
";

const RUN_HELP: &str = "\
Run one command in its jail, as process 1 of a container, and report how it ended.

The command's stdout and stderr are passed on. SIGTERM and SIGINT from outside the
container cancel the run. When it is over, the report, JSON, replaces the content of the
report file.

Usage: cloister-sandbox run --contract <FILE> --report <FILE>

Options:
  --contract <FILE>  What to run, JSON, at most 1 MiB; `-` is stdin
  --report <FILE>    Where the report goes, at most 28672 bytes
  -h, --help         Print help
";

const PROBE_HELP: &str = "\
Look at the network and at this process from inside, once, and report.

Every target is dialled at the same time, each for the request's timeout. The report,
JSON of at most 4096 bytes, replaces the content of the report file; stdout gets one line
per check. Nothing is judged here.

Usage: cloister-sandbox probe --request <JSON> [--report <FILE>]

Options:
  --request <JSON>  What to look at:
                    {\"version\":1,\"timeoutMs\":1000,\"targets\":[
                      {\"check\":\"Kubelet\",\"address\":\"10.0.0.1:10250\",\"expect\":\"Blocked\"}]}
                    Timeout 1 to 10000 ms, at most 64 targets, and no more than a report holds.
                    Addresses are ip:port, the ip in brackets if it is IPv6;
                    for the check Dns, a name.
  --report <FILE>   Where the report goes [default: /dev/termination-log]
  -h, --help        Print help
";

const CANARY_HELP: &str = "\
Answer every connection with the line `cloister-canary <ROLE>` and close it, until SIGTERM.

Usage: cloister-sandbox canary --listen <IP:PORT> [--listen <IP:PORT>]... --role <ROLE>

Options:
  --listen <IP:PORT>  Where to listen, at most 8 times. 0.0.0.0 and [::] both mean every
                      address of every family that the kernel has.
  --role <ROLE>       What to say: 1 to 63 of a-z, 0-9 and `-`
  -h, --help          Print help
";

/// What this process is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Print this and end well.
    Print(&'static str),
    /// Probe once.
    Probe(ProbeArguments),
    /// Be a canary.
    Canary(CanaryArguments),
    /// Run a command in its jail.
    Run(RunArguments),
    /// Be a sandbox.
    Serve(ServeArguments),
}

/// Arguments of `probe`.
#[derive(Debug, PartialEq, Eq)]
pub struct ProbeArguments {
    /// JSON of a `ProbeRequest`, not yet looked at.
    pub request: String,
    /// File that receives the report.
    pub report: PathBuf,
}

/// Arguments of `canary`.
#[derive(Debug, PartialEq, Eq)]
pub struct CanaryArguments {
    /// Addresses to listen on: one to eight.
    pub listen: Vec<SocketAddr>,
    /// Role to announce.
    pub role: Role,
}

/// Arguments of `run`.
#[derive(Debug, PartialEq, Eq)]
pub struct RunArguments {
    /// Where a `RunContract` is to be had.
    pub contract: Source,
    /// File that receives the report.
    pub report: PathBuf,
}

/// Arguments of `serve`.
#[derive(Debug, PartialEq, Eq)]
pub struct ServeArguments {
    /// JSON of a `ServeConfig`, not yet looked at.
    pub config: String,
}

/// What is wrong with what was typed.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Not a known command.
    #[error("`{0}` is not a command; they are `serve`, `run`, `probe` and `canary`, see --help")]
    UnknownCommand(String),
    /// No command at all.
    #[error("a command is missing: `serve`, `run`, `probe` or `canary`, see --help")]
    MissingCommand,
    /// A required option is missing.
    #[error("`{command}` needs {option}, see `{command} --help`")]
    MissingOption {
        command: &'static str,
        option: &'static str,
    },
    /// `--listen` came more often than a canary serves.
    #[error("--listen is accepted at most {MAX_LISTEN} times")]
    TooManyListen,
    /// An option is unknown, lacks its value, or the value cannot be read.
    #[error("failed to read the arguments")]
    Argument(#[from] lexopt::Error),
}

/// Reads the arguments that follow the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut parser = Parser::from_args(arguments);
    match parser.next()? {
        Some(Value(command)) if command == "serve" => serve(&mut parser),
        Some(Value(command)) if command == "run" => run(&mut parser),
        Some(Value(command)) if command == "probe" => probe(&mut parser),
        Some(Value(command)) if command == "canary" => canary(&mut parser),
        Some(Value(command)) => Err(UsageError::UnknownCommand(
            command.to_string_lossy().into_owned(),
        )),
        Some(Long("help") | Short('h')) => Ok(Command::Print(HELP)),
        Some(Long("version") | Short('V')) => Ok(Command::Print(VERSION)),
        Some(other) => Err(other.unexpected().into()),
        None => Err(UsageError::MissingCommand),
    }
}

fn serve(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut config = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => config = Some(parser.value()?.string()?),
            Long("help") | Short('h') => return Ok(Command::Print(SERVE_HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    let config = config.ok_or(UsageError::MissingOption {
        command: "serve",
        option: "--config <JSON>",
    })?;
    Ok(Command::Serve(ServeArguments { config }))
}

fn run(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut contract = None;
    let mut report = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("contract") => contract = Some(parser.value()?),
            Long("report") => report = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(Command::Print(RUN_HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    let missing = |option| UsageError::MissingOption {
        command: "run",
        option,
    };
    let contract = match contract.ok_or(missing("--contract <FILE>"))? {
        stdin if stdin == "-" => Source::Stdin,
        file => Source::File(file.into()),
    };
    let report = report.ok_or(missing("--report <FILE>"))?;
    Ok(Command::Run(RunArguments { contract, report }))
}

fn probe(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut request = None;
    let mut report = PathBuf::from(TERMINATION_LOG);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("request") => request = Some(parser.value()?.string()?),
            Long("report") => report = parser.value()?.into(),
            Long("help") | Short('h') => return Ok(Command::Print(PROBE_HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    let request = request.ok_or(UsageError::MissingOption {
        command: "probe",
        option: "--request <JSON>",
    })?;
    Ok(Command::Probe(ProbeArguments { request, report }))
}

fn canary(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut listen = Vec::new();
    let mut role = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => listen.push(parser.value()?.parse()?),
            Long("role") => role = Some(parser.value()?.parse()?),
            Long("help") | Short('h') => return Ok(Command::Print(CANARY_HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    if listen.len() > MAX_LISTEN {
        return Err(UsageError::TooManyListen);
    }
    if listen.is_empty() {
        let option = "--listen <IP:PORT>";
        return Err(UsageError::MissingOption {
            command: "canary",
            option,
        });
    }
    let role = role.ok_or(UsageError::MissingOption {
        command: "canary",
        option: "--role <ROLE>",
    })?;
    Ok(Command::Canary(CanaryArguments { listen, role }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn accepts_a_probe_and_reports_to_the_termination_log() {
        let expected = ProbeArguments {
            request: "{}".into(),
            report: TERMINATION_LOG.into(),
        };
        assert_eq!(typed("probe --request {}"), Ok(Command::Probe(expected)));
    }

    #[test]
    fn accepts_another_report_file_in_both_spellings() {
        let expected = ProbeArguments {
            request: "{}".into(),
            report: "/tmp/r".into(),
        };
        assert_eq!(
            typed("probe --request {} --report /tmp/r"),
            typed("probe --request={} --report=/tmp/r")
        );
        assert_eq!(
            typed("probe --report /tmp/r --request {}"),
            Ok(Command::Probe(expected))
        );
    }

    #[test]
    fn accepts_a_canary_on_several_addresses() {
        let expected = CanaryArguments {
            listen: vec![
                "0.0.0.0:7001".parse().unwrap(),
                "[::1]:7002".parse().unwrap(),
            ],
            role: "other-tenant".parse().unwrap(),
        };
        assert_eq!(
            typed("canary --listen 0.0.0.0:7001 --listen [::1]:7002 --role other-tenant"),
            Ok(Command::Canary(expected))
        );
    }

    #[test]
    fn accepts_a_run_from_a_file_or_from_stdin() {
        let expected = |contract| {
            let report = "/r".into();
            Ok(Command::Run(RunArguments { contract, report }))
        };
        let file = Source::File("/c".into());
        assert_eq!(typed("run --contract /c --report /r"), expected(file));
        assert_eq!(
            typed("run --report /r --contract -"),
            expected(Source::Stdin)
        );
    }

    #[test]
    fn accepts_a_sandbox() {
        let config = "{}".into();
        let expected = Command::Serve(ServeArguments { config });
        assert_eq!(typed("serve --config {}"), Ok(expected));
    }

    #[test]
    fn answers_help_everywhere() {
        assert_eq!(typed("--help"), Ok(Command::Print(HELP)));
        assert_eq!(typed("probe -h"), Ok(Command::Print(PROBE_HELP)));
        assert_eq!(typed("canary --help"), Ok(Command::Print(CANARY_HELP)));
        assert_eq!(typed("run --help"), Ok(Command::Print(RUN_HELP)));
        assert_eq!(typed("serve --help"), Ok(Command::Print(SERVE_HELP)));
        assert_eq!(typed("--version"), Ok(Command::Print(VERSION)));
    }

    #[test]
    fn rejects_what_is_missing_or_unknown() {
        for line in [
            "",
            "prob",
            "--quiet",
            "probe",
            "probe --request",
            "probe --request {} extra",
            "probe --request {} --timeout 3",
            "serve",
            "serve --config",
            "serve --config {} true",
            "run",
            "run --contract -",
            "run --report /r",
            "run --contract - --report /r true",
            "canary --role a",
            "canary --listen 0.0.0.0:1",
            "canary --listen 7001 --role a",
            "canary --listen localhost:7001 --role a",
            "canary --listen 0.0.0.0:1 --role Two_Words",
        ] {
            assert!(typed(line).is_err(), "accepted: {line}");
        }
    }

    #[test]
    fn rejects_more_addresses_than_a_canary_serves() {
        let line = format!(
            "canary --role a{}",
            " --listen 127.0.0.1:0".repeat(MAX_LISTEN + 1)
        );
        assert!(typed(&line).unwrap_err().contains("at most 8"));
    }
}
