//! What was typed and what the environment says → settings, once.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Isolation for the tenants of an integration platform, kept and proven.
#[derive(Debug, Parser)]
#[command(name = "cloister", version, about)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// One process of Cloister, or a tool.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the install manifests and the Helm chart.
    Render(RenderArguments),
}

/// Arguments of `render`.
#[derive(Args, Debug)]
pub struct RenderArguments {
    /// Folder to write to: `install/` and `chart/` appear in it.
    #[arg(long, default_value = "manifests")]
    pub out: PathBuf,
}
