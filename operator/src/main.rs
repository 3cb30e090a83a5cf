//! Parses what was typed and hands over. Exit codes are decided here alone.

use std::process::ExitCode;

use clap::Parser;
use operator::cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Render(arguments) => match operator::render::to_folder(&arguments.out) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("cloister render: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
