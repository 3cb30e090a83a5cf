//! What the stand-in for a sandbox says: a proof that is as good as it can be or has one fault, and how
//! a run ended. Pure, and made up: nothing was looked at, and nothing ran.

use contract::{
    ProbeReport, ProbeRequest,
    judge::{sound, sound_answer},
    run::{Cause, Ending, Exit, OutputCount, RUN_VERSION, RunReport, RunResult, Usage},
    serve::ServeConfig,
};
use serde_json::Value;

/// What stands for the node's address in the arguments of a sandbox.
const HOST_ADDRESS: &str = "$(HOST_ADDRESS)";

/// What a sandbox was told, with its node's address filled in as a kubelet does.
pub fn told(pod: &Value, host: &str) -> Option<ServeConfig> {
    let arguments = pod.pointer("/spec/containers/0/args")?.as_array()?;
    let option = arguments.iter().position(|one| one == "--config")?;
    let text = arguments.get(option + 1)?.as_str()?;
    serde_json::from_str(&text.replace(HOST_ADDRESS, host)).ok()
}

/// What a probe was asked.
pub fn asked(pod: &Value) -> Option<ProbeRequest> {
    let text = pod.pointer("/spec/containers/0/args/2")?.as_str()?;
    serde_json::from_str(text).ok()
}

/// The answer that proves it: all that must answer did, and nothing else.
pub fn proof(request: &ProbeRequest) -> ProbeReport {
    sound_answer(request, sound())
}

/// The same of a sandbox that can write to its root.
pub fn unsound(request: &ProbeRequest) -> ProbeReport {
    let mut inside = sound();
    inside.root_read_only = false;
    sound_answer(request, inside)
}

/// A run that ended so, with nothing said.
pub fn ended(cause: Cause, exit: Exit) -> RunReport {
    RunReport {
        version: RUN_VERSION,
        outcome: contract::run::Outcome::Ended(Ending {
            exit,
            cause,
            oom_kills: Some(0),
            wall_ms: 1,
            usage: Usage::default(),
            output: OutputCount {
                delivered: true,
                ..OutputCount::default()
            },
            result: RunResult::None,
            left_behind: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use contract::{Check, Expect, Target, VERSION};
    use serde_json::json;

    use super::*;

    fn request() -> ProbeRequest {
        let target = |check, address: &str, expect| Target {
            check,
            address: address.to_owned(),
            expect,
        };
        ProbeRequest {
            version: VERSION,
            timeout_ms: 1,
            targets: vec![
                target(Check::Dns, "kubernetes.default.svc", Expect::Reachable),
                target(Check::Kubelet, "$(HOST_ADDRESS):10250", Expect::Blocked),
            ],
            places: vec![],
        }
    }

    #[test]
    fn a_proof_answers_each_target_as_it_must_be() {
        let asked = request();
        let proof = proof(&asked);
        assert_eq!(proof.checks.len(), asked.targets.len());
        for (one, target) in proof.checks.iter().zip(&asked.targets) {
            assert_eq!((one.check, &one.address), (target.check, &target.address));
            assert!(one.saw.satisfies(one.expect));
        }
    }

    #[test]
    fn a_sandbox_is_told_its_nodes_address() {
        let config = ServeConfig {
            version: contract::serve::SERVE_VERSION,
            dispatch: "operator:7443".to_owned(),
            authorities: String::new(),
            token: "/token".to_owned(),
            probe: request(),
            probe_interval_ms: 30_000,
            processes: None,
            fence_ms: None,
        };
        let text = serde_json::to_string(&config).unwrap();
        let pod = json!({"spec": {"containers": [{"args": ["serve", "--config", text]}]}});
        let told = told(&pod, "192.0.2.9").unwrap();
        assert_eq!(told.probe.targets[1].address, "192.0.2.9:10250");
        let text = serde_json::to_string(&request()).unwrap();
        let pod = json!({"spec": {"containers": [{"args": ["probe", "--request", text]}]}});
        assert_eq!(asked(&pod), Some(request()));
    }
}
