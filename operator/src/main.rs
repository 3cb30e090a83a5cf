//! Parses what was typed and hands over. Exit codes are decided here alone: 0 after a
//! signal or a finished tool, 1 after a failure, 2 (by clap) for what cannot be parsed.

use std::{
    panic,
    process::{self, ExitCode},
};

use clap::Parser;
use operator::{
    cli::{Cli, Command, OperatorArguments, Settings},
    render, runtime, telemetry,
};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    end_at_a_panic();
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

/// Has a panic of any thread end the process, which a kubelet starts anew. To unwind would leave the others at
/// work without it, and nobody would be told.
fn end_at_a_panic() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        say(panic);
        process::abort();
    }));
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

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::unix::process::ExitStatusExt as _,
        process::{self, Command},
        thread,
    };

    use super::end_at_a_panic;

    /// Set in the process that is to end.
    const ENDS: &str = "CLOISTER_TEST_ENDS";
    const SIGABRT: i32 = 6;

    #[test]
    fn a_panic_of_any_thread_ends_the_process() {
        if env::var_os(ENDS).is_some() {
            end_at_a_panic();
            let thread = thread::spawn(|| panic!("a thread is gone"));
            let _ = thread.join();
            process::exit(0);
        }
        let own = env::current_exe().unwrap();
        let name = "tests::a_panic_of_any_thread_ends_the_process";
        let mut command = Command::new(own);
        command.args(["--exact", name, "--nocapture"]);
        let output = command.env(ENDS, "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("a thread is gone"), "{said}");
    }
}
