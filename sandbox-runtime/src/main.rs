//! `cloister-sandbox`: parses, dispatches, and turns the outcome into an exit code.
//!
//! 0: a report was written, or the canary or the sandbox was asked to stop. 1: this process failed.
//! 2: it was asked for something that it does not do; `run` has written a report on that. A Worker ends
//! with its command's code, and `ready` with 0 only if it is.

use std::io::Write as _;
use std::process::ExitCode;

use contract::run::{Outcome, RunReport};
use sandbox_runtime::cli::{self, Command};
use sandbox_runtime::{canary, install, probe, ready, run, serve, with_causes, work};

/// This process failed at what it was rightly asked to do.
const FAILED: u8 = 1;
/// The arguments or the request are wrong; asking again gives the same answer.
const BAD_REQUEST: u8 = 2;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Print(text)) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Ok(Command::Probe(arguments)) => match probe::run(&arguments.request, &arguments.report) {
            Ok(log) => {
                say(&log);
                ExitCode::SUCCESS
            }
            Err(error) if error.is_bad_request() => fail(BAD_REQUEST, &error),
            Err(error) => fail(FAILED, &error),
        },
        Ok(Command::Canary(arguments)) => match canary::run(&arguments.listen, &arguments.role) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(FAILED, &error),
        },
        Ok(Command::Run(arguments)) => match run::run(&arguments.contract, &arguments.report) {
            Ok(report) => ran(&report),
            Err(error) => fail(FAILED, &error),
        },
        Ok(Command::Serve(arguments)) => match serve::run(&arguments.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.is_bad_request() => fail(BAD_REQUEST, &error),
            Err(error) => fail(FAILED, &error),
        },
        Ok(Command::Work(arguments)) => {
            ExitCode::from(work::run(&arguments.config, &arguments.message))
        }
        Ok(Command::Ready) => {
            let (is_ready, line) = ready::run();
            say(&line);
            ExitCode::from(if is_ready { 0 } else { FAILED })
        }
        Ok(Command::Install(to)) => match install::run(&to) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(FAILED, &error),
        },
        Err(error) => fail(BAD_REQUEST, &error),
    }
}

/// The report says it all.
fn ran(report: &RunReport) -> ExitCode {
    if let Some(remark) = run::remark(report) {
        let _ = writeln!(std::io::stderr(), "cloister-sandbox: {remark}");
    }
    match &report.outcome {
        Outcome::Refused(_) => ExitCode::from(BAD_REQUEST),
        Outcome::Ended(_) => ExitCode::SUCCESS,
    }
}

/// Writes to stdout. A closed stdout must not turn a written report into a failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes an error with all its sources to stderr, on one line.
fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    let _ = writeln!(
        std::io::stderr(),
        "cloister-sandbox: {}",
        with_causes(error)
    );
    ExitCode::from(code)
}
