//! How often the kernel killed for want of memory, by this container's own cgroup.

use std::fs;

/// Where it counts: cgroup v2, and v1. Both have a line `oom_kill <n>`; v2 counts the groups
/// below, too (`cgroup-v2.rst`, `memory.events`).
const COUNTERS: [&str; 2] = [
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
];

/// Kills since the container began; `None` where no cgroup is mounted, as in gVisor.
pub(super) fn oom_kills() -> Option<u64> {
    let text = COUNTERS
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())?;
    parse(&text)
}

fn parse(text: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let second = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(parse(second), Some(2));
        let first = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n";
        assert_eq!(parse(first), Some(7));
    }

    #[test]
    fn a_kernel_that_does_not_count_is_not_taken_for_zero() {
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(parse(""), None);
    }
}
