//! Whether the decoy lived while a sandbox looked: only then is its silence a proof. Pure.
//!
//! A sandbox looks for as long as it waits, at the decoy that was there when it was made. So two
//! things count: that this one is ready still, and that nothing of the decoy's endpoints has
//! changed from before the look until it is judged.

use std::net::{IpAddr, SocketAddr};

use contract::{Check, ProbeRequest};
use jiff::Timestamp;

use crate::world::facts::Cluster;

/// What is said where the decoy may have been away during a look.
pub const CHANGED: &str = "OtherTenant: the decoy's endpoints changed during the look; it may have \
                           been away, so its silence does not count as Blocked";

/// The decoy's endpoints, and since when they have been as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoys {
    version: u64,
    ready: Vec<IpAddr>,
    since: Timestamp,
}

impl Decoys {
    /// Takes note of what is known now. A change counts from when it is noticed, which is late
    /// rather than early.
    pub fn sees(&mut self, cluster: &Cluster, now: Timestamp) {
        if self.version != cluster.decoys_version || self.ready != cluster.decoys {
            *self = Self {
                version: cluster.decoys_version,
                ready: cluster.decoys.clone(),
                since: now,
            };
        }
    }

    /// Why the decoy's silence counts for nothing, if so, in a look that began `at` that time.
    pub fn doubt(&self, asked: &ProbeRequest, at: Timestamp) -> Option<String> {
        if let Some(gone) = addresses(asked).find(|address| !self.is_ready(address)) {
            return Some(format!(
                "OtherTenant {gone}: the decoy that was dialled is not among its ready pods, so its \
                 silence does not count as Blocked"
            ));
        }
        self.is_newer(at).then(|| CHANGED.to_owned())
    }

    /// Whether nothing is known of the time in which a look began, so that another one, now, can
    /// prove what that could not.
    pub fn is_newer(&self, at: Timestamp) -> bool {
        self.since > at
    }

    /// Whether who was asked this can prove nothing any more, and another one could: its decoy is
    /// gone, and there is another.
    pub fn has_left(&self, asked: &ProbeRequest) -> bool {
        !self.ready.is_empty() && addresses(asked).any(|address| !self.is_ready(address))
    }

    fn is_ready(&self, address: &str) -> bool {
        let address: Result<SocketAddr, _> = address.parse();
        address.is_ok_and(|address| self.ready.contains(&address.ip()))
    }
}

fn addresses(asked: &ProbeRequest) -> impl Iterator<Item = &str> {
    let decoys = asked.targets.iter();
    let decoys = decoys.filter(|target| target.check == Check::OtherTenant);
    decoys.map(|target| target.address.as_str())
}

#[cfg(test)]
mod tests {
    use contract::{Expect, Target, VERSION};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seen(version: u64, ready: &[&str]) -> Cluster {
        Cluster {
            decoys: ready.iter().map(|text| text.parse().unwrap()).collect(),
            decoys_version: version,
            ..Cluster::default()
        }
    }

    fn asked() -> ProbeRequest {
        ProbeRequest {
            version: VERSION,
            timeout_ms: 1,
            targets: vec![Target {
                check: Check::OtherTenant,
                address: "10.0.0.3:7003".to_owned(),
                expect: Expect::Blocked,
            }],
            places: vec![],
        }
    }

    #[test]
    fn counts_while_nothing_changes() {
        let mut decoys = Decoys::default();
        for second in [100, 101, 160] {
            decoys.sees(&seen(5, &["10.0.0.3"]), at(second));
        }
        assert_eq!(decoys.doubt(&asked(), at(100)), None);
        assert!(!decoys.has_left(&asked()));
    }

    #[test]
    fn a_change_voids_every_look_that_began_before_it() {
        let mut decoys = Decoys::default();
        decoys.sees(&seen(5, &["10.0.0.3"]), at(100));
        decoys.sees(&seen(6, &["10.0.0.3"]), at(120));
        assert_eq!(decoys.doubt(&asked(), at(119)), Some(CHANGED.to_owned()));
        assert_eq!(decoys.doubt(&asked(), at(120)), None);
        assert!(!decoys.has_left(&asked()), "the next look may prove");
    }

    #[test]
    fn a_decoy_that_is_gone_counts_for_nothing_and_is_waited_for_if_there_is_no_other() {
        let mut decoys = Decoys::default();
        assert!(
            decoys.doubt(&asked(), at(1)).is_some(),
            "nobody has seen one"
        );
        decoys.sees(&seen(7, &[]), at(100));
        assert!(decoys.doubt(&asked(), at(200)).is_some());
        assert!(!decoys.has_left(&asked()));
        decoys.sees(&seen(8, &["10.0.0.4"]), at(100));
        assert!(decoys.doubt(&asked(), at(200)).is_some());
        assert!(decoys.has_left(&asked()));
    }
}
