//! What the kernel says of limits → [`Limit`]. Pure.

use contract::{Limit, SeenRuntime};

/// From here on a number of version 1 means none (`PAGE_COUNTER_MAX`, in bytes).
const NONE: u64 = 1 << 62;

/// Bytes of memory. In: the limit of the container's own cgroup, if it is mounted, and
/// `/proc/meminfo`. gVisor's cgroups are its own and hold no limit; its total of memory is the limit of
/// the pod's cgroup (`--total-memory` of its `sandbox.go`).
pub fn memory(cgroup: Option<&str>, meminfo: &str, runtime: SeenRuntime) -> Limit {
    match runtime {
        SeenRuntime::Host => cgroup.map_or(Limit::Hidden, number),
        SeenRuntime::GVisor => total(meminfo).map_or(Limit::Hidden, Limit::At),
    }
}

/// Processes and threads. In: the limit of the container's own cgroup, if it is mounted, and the
/// hard `RLIMIT_NPROC`, if there is one. gVisor takes note of that and does not keep it.
pub fn processes(cgroup: Option<&str>, hard: Option<u64>, runtime: SeenRuntime) -> Limit {
    if runtime == SeenRuntime::GVisor {
        return Limit::Hidden;
    }
    let own = hard.map_or(Limit::Unlimited, Limit::At);
    match (cgroup.map(number), own) {
        (Some(Limit::At(first)), Limit::At(second)) => Limit::At(first.min(second)),
        (Some(Limit::At(limit)), _) | (_, Limit::At(limit)) => Limit::At(limit),
        (Some(Limit::Unlimited) | None, Limit::Unlimited) => Limit::Unlimited,
        (Some(Limit::Hidden), _) | (_, Limit::Hidden) => Limit::Hidden,
    }
}

/// `max` or a number, of either version of cgroups.
fn number(text: &str) -> Limit {
    match text.trim() {
        "max" => Limit::Unlimited,
        text => match text.parse::<u64>() {
            Ok(limit) if limit < NONE => Limit::At(limit),
            Ok(_) => Limit::Unlimited,
            Err(_) => Limit::Hidden,
        },
    }
}

/// `MemTotal: <n> kB`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let value = |line: &str| {
        let value = line.strip_prefix("MemTotal:")?.strip_suffix("kB")?;
        value.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    meminfo.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: SeenRuntime = SeenRuntime::Host;
    const GVISOR: SeenRuntime = SeenRuntime::GVisor;
    const MEMINFO: &str = "MemTotal:         262144 kB\nMemFree:          200000 kB\n";

    #[test]
    fn memory_is_told_by_the_cgroup_and_under_gvisor_by_the_total() {
        let at = Limit::At(256 << 20);
        assert_eq!(memory(Some("268435456\n"), "", HOST), at);
        assert_eq!(memory(None, MEMINFO, GVISOR), at);
        // What the node has is no limit of the sandbox.
        assert_eq!(memory(None, MEMINFO, HOST), Limit::Hidden);
        assert_eq!(memory(Some("268435456\n"), "", GVISOR), Limit::Hidden);
    }

    #[test]
    fn no_limit_is_not_taken_for_one() {
        for none in ["max\n", "9223372036854771712\n"] {
            assert_eq!(memory(Some(none), "", HOST), Limit::Unlimited);
            assert_eq!(processes(Some(none), None, HOST), Limit::Unlimited);
        }
        for unread in ["", "many", "-1"] {
            assert_eq!(memory(Some(unread), "", HOST), Limit::Hidden, "{unread}");
        }
    }

    #[test]
    fn of_two_limits_of_processes_the_smaller_one_holds() {
        for (cgroup, hard, limit) in [
            (Some("max"), Some(512), Limit::At(512)),
            (Some("100"), Some(512), Limit::At(100)),
            (Some("1000"), Some(512), Limit::At(512)),
            (Some("100"), None, Limit::At(100)),
            (None, Some(512), Limit::At(512)),
            (None, None, Limit::Unlimited),
            (Some("many"), None, Limit::Hidden),
            (Some("many"), Some(512), Limit::At(512)),
        ] {
            assert_eq!(processes(cgroup, hard, HOST), limit, "{cgroup:?} {hard:?}");
            assert_eq!(processes(cgroup, hard, GVISOR), Limit::Hidden);
        }
    }
}
