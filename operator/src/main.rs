//! Parses what was typed and hands over. Exit codes are decided here alone: 0 after a
//! signal or a finished tool, 1 after a failure, 2 (by clap) for what cannot be parsed.

use std::process::ExitCode;

use clap::Parser;
use operator::{
    cli::{Cli, Command, OperatorArguments, Settings},
    render, runtime, telemetry,
};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Operator(arguments) => operate(&arguments),
        Command::Render(arguments) => render::to_folder(&arguments.out).map_err(|error| {
            format!(
                "failed to write manifests to {}: {error}",
                arguments.out.display()
            )
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloister: {error}");
            ExitCode::FAILURE
        }
    }
}

fn operate(arguments: &OperatorArguments) -> Result<(), String> {
    // One crypto provider in the whole process; rustls refuses to guess between two.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return Err("a TLS provider is installed already".to_owned());
    }
    let traces = telemetry::start(&arguments.log, &arguments.otlp_endpoint)
        .map_err(|error| error.to_string())?;
    let failed = |error| format!("failed to start a runtime: {error}");
    let mut threads = Builder::new_multi_thread();
    let main = threads.enable_all().build().map_err(failed)?;
    let keeper = threads.worker_threads(1).thread_name("lease").build();
    let keeper = keeper.map_err(failed)?;
    let ended = main.block_on(runtime::run(Settings::from(arguments), keeper.handle()));
    if let Err(error) = telemetry::stop(&traces) {
        tracing::warn!(%error, "the last traces were not sent");
    }
    ended.map_err(|error| error.to_string())
}
