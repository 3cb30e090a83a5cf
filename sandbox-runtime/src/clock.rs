//! A clock that nobody sets, and that goes on while the node sleeps.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the node's start, with its sleep: the same for every process of a container.
pub fn since_start() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_clock_is_the_nodes() {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((since_start().as_secs_f64() - uptime).abs() < 5.0);
    }
}
