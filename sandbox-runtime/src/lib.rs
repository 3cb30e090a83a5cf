//! What runs inside Cloister's pods, as one static binary.
//!
//! [`cli`] turns what was typed into a [`cli::Command`]; [`probe`] looks at the network and
//! at its own process and reports; [`canary`] is the peer that probes look for. The probe
//! states facts and judges nothing: whoever asked compares them with what has to be.
//!
//! [`run`] is the jail: [`kernel`] → [`plan`] → [`prepare`] → [`enforce`] → [`supervise`].
//! [`serve`] is process 1 of a sandbox pod: it proves the sandbox with the one, and is given a
//! run for the other, over its session with the operator. [`work`] is process 1 of a Worker's pod:
//! no session, no operator; it judges what it sees itself, and [`ready`] tells the kubelet.

pub mod canary;
pub mod cli;
pub mod clock;
pub mod enforce;
pub mod greeting;
pub mod install;
pub mod kernel;
pub mod names;
pub mod output;
pub mod plan;
pub mod policy;
pub mod prepare;
pub mod probe;
pub mod ready;
pub mod run;
pub mod serve;
pub mod step;
pub mod supervise;
pub mod sys;
pub mod token;
pub mod work;

/// The version that a text in JSON says it has: all that has to be known before the rest can be
/// understood.
fn version_of(text: &str) -> Result<u32, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_str(text).map(|Versioned { version }| version)
}

/// An error with all its causes, on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
