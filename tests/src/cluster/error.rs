//! What can go wrong while a cluster is built, started, broken or removed.
//!
//! Every message says what was tried and, where that is known, what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The one error of this module tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a directory did not do what was asked of it.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("cannot start `{command}`: {source}; is its package installed?")]
    Spawn {
        /// The command line.
        command: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed with {status}:\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard error, or to standard output if that was empty.
        output: String,
    },
    /// Something did not come true in the time it was given.
    #[error("{what}: not so after {} s; {hint}", waited.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// Where to look.
        hint: String,
    },
    /// No cluster runs here.
    #[error("no cluster is up; run `cluster up`")]
    NotUp,
    /// A node that is not one of ours.
    #[error("there is no node `{0}`; the nodes are node-a, node-b and node-c")]
    UnknownNode(String),
    /// A component that cannot be built, because it is not one of ours.
    #[error("there is no component `{0}`; `cluster build --help` lists them")]
    UnknownComponent(String),
    /// The node is in a state in which the request makes no sense.
    #[error("{node} is {state}: cannot {action}; {hint}")]
    NodeState {
        /// The node.
        node: String,
        /// What it is.
        state: String,
        /// What was asked.
        action: &'static str,
        /// What to do first.
        hint: String,
    },
    /// The machine lacks something that cannot be installed.
    #[error("this machine cannot carry a cluster: {0}")]
    Machine(String),
    /// A file of ours, or an answer of a program, does not read as it should.
    #[error("cannot understand {what}: {why}")]
    Parse {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// `down` could not remove everything.
    #[error("left behind: {0}; run `cluster down` again")]
    LeftBehind(String),
}

impl Error {
    /// For `map_err`: names the action and the path that an [`io::Error`] lacks.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
