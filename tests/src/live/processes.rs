//! Processes of pods, as the machine sees them that all nodes are on: whatever the API says.
//!
//! Only where the nodes are ours. Out: who runs a command, and in which pod.

use std::fs;

/// Characters of a UID.
const UID: usize = 36;

/// One process in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// As this machine counts them.
    pub pid: i32,
    /// UID of its pod.
    pub pod: String,
    /// Whether it was told to stand still, as those of a frozen node are.
    pub halted: bool,
}

/// Everybody who runs this very command in a pod.
pub fn running(command: &[String]) -> Vec<Process> {
    let wanted: Vec<u8> = command
        .iter()
        .flat_map(|word| word.bytes().chain([0]))
        .collect();
    let found = pids().filter(|pid| read(*pid, "cmdline") == wanted);
    found.filter_map(of).collect()
}

/// Everybody in a pod.
pub fn of_pod(uid: &str) -> Vec<Process> {
    pids().filter_map(of).filter(|one| one.pod == uid).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A file of a process; empty if it is gone.
fn read(pid: i32, file: &str) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn of(pid: i32) -> Option<Process> {
    let pod = pod_of(&String::from_utf8_lossy(&read(pid, "cgroup")))?;
    let state = state_of(&String::from_utf8_lossy(&read(pid, "stat")))?;
    // It has ended, and its parent has not asked yet.
    let gone = matches!(state, 'Z' | 'X');
    let halted = state == 'T';
    (!gone).then_some(Process { pid, pod, halted })
}

/// The UID in the path of a pod's cgroup, as kubelets name it: `/kubepods/burstable/podUID/…`.
fn pod_of(cgroups: &str) -> Option<String> {
    let parts = cgroups.split(['/', '\n']);
    let mut uids = parts.filter_map(|part| part.strip_prefix("pod"));
    uids.find(|uid| uid.len() == UID).map(str::to_owned)
}

/// The state in `/proc/PID/stat`, which comes behind a name that may hold anything (proc(5)).
fn state_of(stat: &str) -> Option<char> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_by_the_path_of_its_cgroup() {
        let uid = "0f8b6a1e-6c5d-4b7a-9c3e-1a2b3c4d5e6f";
        let path = format!("4:memory:/node-a/kubepods/burstable/pod{uid}/abc\n0::/x\n");
        assert_eq!(pod_of(&path).as_deref(), Some(uid));
        assert_eq!(pod_of("4:memory:/node-a/daemons\n"), None);
        assert_eq!(pod_of("4:memory:/kubepods/podx/abc\n"), None);
    }

    #[test]
    fn a_state_stands_behind_any_name() {
        assert_eq!(state_of("7 (a) Z (b) T 1 7"), Some('T'));
        assert_eq!(state_of(""), None);
    }

    #[test]
    fn who_is_in_no_pod_is_not_found() {
        let own = std::process::id().to_string();
        let command = fs::read_to_string(format!("/proc/{own}/cmdline"));
        let command = command.unwrap();
        let words: Vec<String> = command.split_terminator('\0').map(str::to_owned).collect();
        assert_eq!(running(&words), []);
    }
}
