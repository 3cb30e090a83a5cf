//! A real Kubernetes of three zones on this machine; see `tests::cluster`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tests::cluster::cli::main()
}
