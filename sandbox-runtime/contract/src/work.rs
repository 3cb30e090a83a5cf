//! What `cloister-sandbox work` is told in its arguments ([`WorkConfig`]), and how it says through
//! the kubelet what became of it ([`EXIT_BROKEN`] and its neighbours).
//!
//! A Worker's pod has no token and no session: what it needs to know it knows from here, and what
//! it sees it judges itself, so that it runs on, and starts anew, with no operator at all.

use serde::{Deserialize, Serialize};

use crate::{ProbeRequest, judge::Wanted, run::RunContract};

/// Version of [`WorkConfig`]. Raised by any change of meaning.
pub const WORK_VERSION: u32 = 1;
/// Most bytes of one argument, once the kubelet has filled in what it does: Linux takes 128 KiB with
/// the end of it (`MAX_ARG_STRLEN` of `execve(2)`), and an address for [`HOST_ADDRESS`] is longer
/// than its name by less than what is left.
pub const MAX_ARGUMENT_BYTES: usize = 127 * 1024;
/// What the kubelet replaces by the address of the node, in [`ProbeRequest::targets`] alone, where
/// the container has the variable of this name from `status.hostIP`.
pub const HOST_ADDRESS: &str = "$(HOST_ADDRESS)";

/// Exit code: this process failed. What ran is over.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the configuration is wrong, or the jail is not to be had here. Nothing ran.
pub const EXIT_REFUSED: u8 = 2;
/// Exit code: the proof is broken. Either nothing ran, or what ran was ended; the termination message
/// says which check. Apart from what a command ends with by custom (codes up to 125, and 126 and more
/// for shells and signals), as far as one byte can be.
pub const EXIT_BROKEN: u8 = 124;
/// Exit code: a signal ended the command; this, and the signal's number on top, as shells have it.
pub const EXIT_SIGNAL: u8 = 128;

/// What a Worker's supervisor has to prove, and to run.
///
/// Out of bounds is refused, as is an unknown field: `run.input` and `run.result` must be absent and
/// `run.time.limitMs` `null`, for a Worker is given nothing, answers nothing, and ends when asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkConfig {
    /// [`WORK_VERSION`] of the writer.
    pub version: u32,
    /// What to look at. The addresses of canary and decoy may be `name:port`: the name is resolved
    /// anew for every look, so that a pod outlives theirs. It has to be of a headless Service, whose
    /// addresses are those of ready pods; one that has none leads to doubt, never to a proof.
    pub probe: ProbeRequest,
    /// How its own process must be confined.
    pub wanted: Wanted,
    /// What to run, and in which jail. Of `wanted.processes` the command is left at least 128 less, so
    /// that it cannot keep the supervisor from looking. `time.graceMs` is what a SIGTERM gives it, and has to be less
    /// than the pod's `terminationGracePeriodSeconds`.
    pub run: RunContract,
    /// Milliseconds between two looks, 1,000 to 600,000; each pause is up to a tenth longer or
    /// shorter, so that replicas do not look at once.
    pub probe_interval_ms: u32,
    /// Milliseconds for which a proof is good, twice the interval to 3,600,000: without a newer one it
    /// is not ready any more.
    pub proof_limit_ms: u32,
    /// Milliseconds from its start for which an open way counts as a policy that is late, 0 to
    /// 120,000. Nothing runs meanwhile.
    pub settle_ms: u32,
}

/// A configuration that does not fit into an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "command, arguments and environment are too long: all that a Worker is told has {0} bytes, and \
     {MAX_ARGUMENT_BYTES} is the most"
)]
pub struct TooLong(pub usize);

impl WorkConfig {
    /// As the argument after `--config`, safe from the kubelet: it replaces `$(NAME)` and shortens
    /// `$$` in every argument, so a `$` of the user's is written as JSON's `\u0024`. Only
    /// [`HOST_ADDRESS`] in a target is left for it.
    ///
    /// # Errors
    /// [`TooLong`] beyond [`MAX_ARGUMENT_BYTES`].
    pub fn argument(&self) -> Result<String, TooLong> {
        let mut shielded = self.clone();
        let targets = std::mem::take(&mut shielded.probe.targets);
        // Plain data; were it ever not to be written, the supervisor would refuse the empty text.
        let written = |text: serde_json::Result<String>| text.unwrap_or_default();
        let shield = |text: String| text.replace('$', r"\u0024");
        let rest = shield(written(serde_json::to_string(&shielded)));
        let targets = shield(written(serde_json::to_string(&targets)));
        let filled_in = targets.replace(&shield(HOST_ADDRESS.to_owned()), HOST_ADDRESS);
        // `probe` comes before all that a user writes, so the first is its.
        let text = rest.replacen(r#""targets":[]"#, &format!(r#""targets":{filled_in}"#), 1);
        if text.len() > MAX_ARGUMENT_BYTES {
            return Err(TooLong(text.len()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Check, Expect, SeenRuntime, Target, VERSION,
        run::{Limits, OutputBounds, Profile, RUN_VERSION, Time},
    };

    fn config(argument: &str) -> WorkConfig {
        WorkConfig {
            version: WORK_VERSION,
            probe: ProbeRequest {
                version: VERSION,
                timeout_ms: 1000,
                targets: vec![Target {
                    check: Check::Kubelet,
                    address: format!("{HOST_ADDRESS}:10250"),
                    expect: Expect::Blocked,
                }],
                places: vec![],
            },
            wanted: Wanted {
                runtime: SeenRuntime::Host,
                user_namespace: true,
                memory: Some(1),
                processes: None,
            },
            run: RunContract {
                version: RUN_VERSION,
                profile: Profile::GVisor,
                command: "agent".to_owned(),
                arguments: vec![argument.to_owned()],
                environment: [("A$$B".to_owned(), argument.to_owned())].into(),
                directory: "/work".to_owned(),
                writable: vec![],
                hidden: vec![],
                input: None,
                result: None,
                time: Time {
                    limit_ms: None,
                    grace_ms: 1,
                },
                limits: Limits {
                    files: 16,
                    processes: None,
                    file_bytes: 1,
                    address_space_bytes: None,
                },
                output: OutputBounds {
                    line_bytes: 64,
                    total_bytes: 0,
                },
            },
            probe_interval_ms: 30_000,
            proof_limit_ms: 90_000,
            settle_ms: 10_000,
        }
    }

    #[test]
    fn the_kubelet_finds_the_nodes_address_to_fill_in_and_nothing_of_the_users() {
        let hostile = r#"$(HOST_ADDRESS) $$(X) $$ "targets":[] \u0024(HOST_ADDRESS) \"#;
        let config = config(hostile);
        let argument = config.argument().unwrap();
        assert_eq!(argument.matches('$').count(), 1, "{argument}");
        assert!(argument.contains("$(HOST_ADDRESS):10250"));
        let mut filled = config;
        filled.probe.targets[0].address = "192.0.2.1:10250".to_owned();
        let text = argument.replace(HOST_ADDRESS, "192.0.2.1");
        let read: WorkConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(read, filled);
    }

    #[test]
    fn what_does_not_fit_into_an_argument_is_said() {
        assert!(config(&"x".repeat(60_000)).argument().is_ok());
        let long = config(&"$".repeat(60_000)).argument();
        assert!(matches!(long, Err(TooLong(bytes)) if bytes > 2 * 6 * 60_000));
    }

    #[test]
    fn what_is_left_out_or_not_known_is_refused() {
        let whole = serde_json::to_value(config("")).unwrap();
        assert!(serde_json::from_value::<WorkConfig>(whole.clone()).is_ok());
        for field in whole.as_object().unwrap().keys() {
            let mut partial = whole.clone();
            partial.as_object_mut().unwrap().remove(field);
            let read = serde_json::from_value::<WorkConfig>(partial);
            assert!(read.is_err(), "{field}");
        }
        let mut more = whole.clone();
        more["more"] = 1.into();
        assert!(serde_json::from_value::<WorkConfig>(more).is_err());
        let mut untimed = whole;
        untimed["run"]["time"] = serde_json::json!({"graceMs": 1});
        assert!(serde_json::from_value::<WorkConfig>(untimed).is_err());
    }
}
