//! What benchmarks print: spreads of times, rates, ratios, writes by kind, and what a process uses.
//!
//! In: times in milliseconds, the API server's own metrics, files of `/proc`. Out: lines. Called by
//! the benchmarks. All is pure but [`Usage::of`], [`now`], [`load`]
//! and [`crowd`].
#![expect(
    clippy::cast_precision_loss,
    reason = "a benchmark's figures have three digits"
)]

pub mod crowd;
pub mod load;
pub mod loss;
pub mod writes;

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// Ticks of a processor's time in a second, as `/proc` counts it (proc(5), `USER_HZ`).
const TICKS: f64 = 100.0;

/// Milliseconds since 1970.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64() * 1000.0
}

/// Times of the same thing, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// One more.
    pub fn add(&mut self, milliseconds: f64) {
        self.0.push(milliseconds);
    }

    /// All of another one, too.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many of a hundred do not exceed; 0 if there is none.
    pub fn at(&self, per_cent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let index = (sorted.len().saturating_sub(1) * per_cent).div_ceil(100);
        sorted.get(index).copied().unwrap_or_default()
    }

    /// Prints it after what it is of.
    pub fn print(&self, what: &str) {
        println!("{what:<58} {self}");
    }

    /// Prints it, and how many times the floor it is.
    pub fn print_beside(&self, what: &str, floor: &Self) {
        println!("{what:<58} {self}  {} of the floor", times(self, floor));
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "p50 {:>8.1} ms  p90 {:>8.1} ms  p99 {:>8.1} ms  of {}",
            self.at(50),
            self.at(90),
            self.at(99),
            self.count()
        )
    }
}

/// How many times the floor's median another one's is; `-` without a floor.
pub fn times(spread: &Spread, floor: &Spread) -> String {
    ratio(spread.at(50), floor.at(50))
}

/// One figure as so many times another; `-` where there is none.
pub fn ratio(one: f64, other: f64) -> String {
    if one > 0.0 && other > 0.0 {
        format!("{:.2} x", one / other)
    } else {
        "-".to_owned()
    }
}

/// So many in so many milliseconds, as so many in a minute.
pub fn per_minute(count: usize, milliseconds: f64) -> f64 {
    if milliseconds > 0.0 {
        count as f64 * 60_000.0 / milliseconds
    } else {
        0.0
    }
}

/// What a process has used and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of a processor, since its start.
    pub cpu: f64,
    /// Bytes in memory now.
    pub resident: f64,
    /// Bytes in memory at most so far.
    pub peak: f64,
}

impl Usage {
    /// Of a process on this machine; nothing if it is gone.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Self::read(&stat, &status)
    }

    /// From the two files (proc(5)): `utime` and `stime` are the 14th and 15th fields of `stat`,
    /// counted behind the name, which may hold anything but ends at the last `)`.
    fn read(stat: &str, status: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        let cpu = (ticks()? + ticks()?) / TICKS;
        let kibibytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        };
        Some(Self {
            cpu,
            resident: kibibytes("VmRSS:")? * 1024.0,
            peak: kibibytes("VmHWM:")? * 1024.0,
        })
    }

    /// What was used since `before`, for each thousand of `count`, and what is held now.
    pub fn since(&self, before: &Self, count: usize) -> String {
        let thousands = count.max(1) as f64 / 1000.0;
        format!(
            "{:.2} s of CPU for 1,000, {:.1} MiB resident (at most {:.1} MiB)",
            (self.cpu - before.cpu) / thousands,
            self.resident / 1_048_576.0,
            self.peak / 1_048_576.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_says_what_so_many_of_a_hundred_do_not_exceed() {
        let spread: Spread = (1..=100).rev().map(f64::from).collect();
        let said = format!("{:?}", [50, 90, 99, 100].map(|n| spread.at(n)));
        assert_eq!(said, "[51.0, 91.0, 100.0, 100.0]");
        assert_eq!(Spread::default().at(50).to_bits(), 0.0_f64.to_bits());
        let one: Spread = [7.0].into_iter().collect();
        let said = format!("{:?}", [0, 50, 99].map(|n| one.at(n)));
        assert_eq!(said, "[7.0, 7.0, 7.0]");
    }

    #[test]
    fn a_ratio_needs_both_figures() {
        assert_eq!(ratio(3.0, 2.0), "1.50 x");
        assert_eq!(ratio(3.0, 0.0), "-");
        assert_eq!(ratio(0.0, 2.0), "-");
        assert!((per_minute(50, 30_000.0) - 100.0).abs() < 1e-9);
        assert!(per_minute(50, 0.0) < 1e-9);
    }

    #[test]
    fn usage_is_read_behind_a_name_of_any_kind() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 4 0 99 1 1";
        let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let usage = Usage::read(stat, status).unwrap();
        assert!((usage.cpu - 2.0).abs() < 1e-9, "{usage:?}");
        assert!((usage.resident - 1_048_576.0).abs() < 1e-9, "{usage:?}");
        assert!((usage.peak - 2_097_152.0).abs() < 1e-9, "{usage:?}");
        assert_eq!(Usage::read("", status), None);
        assert!(Usage::of(i32::try_from(std::process::id()).unwrap()).is_some());
    }
}
