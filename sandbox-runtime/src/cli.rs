//! What was typed → [`Command`]. Pure.
//!
//! Parsed with `lexopt`: no dependency of its own and some kilobytes, where a derived parser
//! adds 380 KiB (measured) and ten crates to what runs in front of users' code.

mod help;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt as _};

use self::help::{
    CANARY_HELP, HELP, INSTALL_HELP, PROBE_HELP, READY_HELP, RUN_HELP, SERVE_HELP, WORK_HELP,
};
use crate::greeting::Role;
use crate::run::Source;

/// Where the kubelet looks for a termination message unless a pod says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Most addresses one canary listens on; each has its own threads.
const MAX_LISTEN: usize = 8;

const VERSION: &str = concat!("cloister-sandbox ", env!("CARGO_PKG_VERSION"));

/// What this process is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Print this and end well.
    Print(&'static str),
    /// Probe once.
    Probe(ProbeArguments),
    /// Copy this program there.
    Install(PathBuf),
    /// Be a canary.
    Canary(CanaryArguments),
    /// Run a command in its jail.
    Run(RunArguments),
    /// Be a sandbox.
    Serve(ServeArguments),
    /// Be a Worker.
    Work(WorkArguments),
    /// Say whether the Worker is ready.
    Ready,
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

/// Arguments of `work`.
#[derive(Debug, PartialEq, Eq)]
pub struct WorkArguments {
    /// JSON of a `WorkConfig`, not yet looked at.
    pub config: String,
    /// File that receives why it is over.
    pub message: PathBuf,
}

/// What is wrong with what was typed.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Not a known command.
    #[error(
        "`{0}` is not a command; they are `serve`, `work`, `ready`, `run`, `probe`, `install` and `canary`, see --help"
    )]
    UnknownCommand(String),
    /// No command at all.
    #[error(
        "a command is missing: `serve`, `work`, `ready`, `run`, `probe`, `install` or `canary`, see --help"
    )]
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
        Some(Value(command)) if command == "work" => work(&mut parser),
        Some(Value(command)) if command == "ready" => ready(&mut parser),
        Some(Value(command)) if command == "run" => run(&mut parser),
        Some(Value(command)) if command == "probe" => probe(&mut parser),
        Some(Value(command)) if command == "install" => install(&mut parser),
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

fn work(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut config = None;
    let mut message = PathBuf::from(TERMINATION_LOG);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => config = Some(parser.value()?.string()?),
            Long("message") => message = parser.value()?.into(),
            Long("help") | Short('h') => return Ok(Command::Print(WORK_HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    let config = config.ok_or(UsageError::MissingOption {
        command: "work",
        option: "--config <JSON>",
    })?;
    Ok(Command::Work(WorkArguments { config, message }))
}

fn ready(parser: &mut Parser) -> Result<Command, UsageError> {
    match parser.next()? {
        None => Ok(Command::Ready),
        Some(Long("help") | Short('h')) => Ok(Command::Print(READY_HELP)),
        Some(other) => Err(other.unexpected().into()),
    }
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

fn install(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut file = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Value(path) if file.is_none() => file = Some(path.into()),
            Long("help") | Short('h') => return Ok(Command::Print(INSTALL_HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    let missing = UsageError::MissingOption {
        command: "install",
        option: "<FILE>",
    };
    file.map(Command::Install).ok_or(missing)
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
    fn accepts_a_worker_and_who_asks_for_it() {
        let expected = |message: &str| {
            let (config, message) = ("{}".into(), message.into());
            Ok(Command::Work(WorkArguments { config, message }))
        };
        assert_eq!(typed("work --config {}"), expected(TERMINATION_LOG));
        assert_eq!(typed("work --message /m --config {}"), expected("/m"));
        assert_eq!(typed("ready"), Ok(Command::Ready));
    }

    #[test]
    fn answers_help_everywhere() {
        assert_eq!(typed("--help"), Ok(Command::Print(HELP)));
        assert_eq!(typed("probe -h"), Ok(Command::Print(PROBE_HELP)));
        assert_eq!(typed("canary --help"), Ok(Command::Print(CANARY_HELP)));
        assert_eq!(typed("install --help"), Ok(Command::Print(INSTALL_HELP)));
        assert_eq!(typed("run --help"), Ok(Command::Print(RUN_HELP)));
        assert_eq!(typed("serve --help"), Ok(Command::Print(SERVE_HELP)));
        assert_eq!(typed("work --help"), Ok(Command::Print(WORK_HELP)));
        assert_eq!(typed("ready -h"), Ok(Command::Print(READY_HELP)));
        assert_eq!(typed("--version"), Ok(Command::Print(VERSION)));
    }

    #[test]
    fn accepts_a_place_to_copy_itself_to() {
        let expected = Command::Install("/cloister/it".into());
        assert_eq!(typed("install /cloister/it"), Ok(expected));
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
            "work",
            "work --config",
            "work --config {} true",
            "ready now",
            "ready --config {}",
            "run",
            "run --contract -",
            "run --report /r",
            "run --contract - --report /r true",
            "install",
            "install /a /b",
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
