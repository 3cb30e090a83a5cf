//! Who of those that have shown no good token yet is let in, so that nobody shuts out the others.
//!
//! In: an address, and the tenant whose pod has it, if one has. Out: a place, or none. What one
//! tenant holds may never be more than what is left, and what one of its addresses holds never
//! more than what its tenant has left of that. So one that wants all gets half, two get a third
//! each, and as much is left for whoever comes next; and within a tenant it is the same again.
//! Who has no tenant shares what one has: pods whose address the watch has not brought yet, and
//! all where the network hides pods behind their node.

use std::net::IpAddr;

use super::places::{Place, Places};

/// Connections at once of all who have shown no good token. Who has shown one takes none of
/// these places, and is as bounded as the pods are: each has a session, or two.
const STRANGERS: usize = 1024;
/// The most of them from one address. Where the network hides pods behind their node, that is as
/// many as come back at once after a change of leader: a node has 110 pods unless told otherwise.
const NEWCOMERS: usize = 128;

/// A tenant by its name, or all who have none.
type Group = Option<Box<str>>;

/// The places.
pub struct Door {
    all: Places<()>,
    groups: Places<Group>,
    addresses: Places<IpAddr>,
}

/// A place of each kind that is taken until this is dropped.
pub struct Newcomer {
    _held: (Place<()>, Place<Group>, Place<IpAddr>),
}

impl Door {
    /// With nobody at it.
    pub fn new() -> Self {
        Self {
            all: Places::new(STRANGERS),
            groups: Places::new(STRANGERS),
            addresses: Places::new(NEWCOMERS),
        }
    }

    /// A place for one more of this address and this tenant, if there is one left for them.
    pub fn admit(&self, from: IpAddr, tenant: Group) -> Option<Newcomer> {
        let free = STRANGERS - self.all.taken(&());
        let left = free.saturating_sub(self.groups.taken(&tenant));
        let place = self.addresses.take_of(left, from)?;
        let held = (self.all.take(())?, self.groups.take(tenant)?, place);
        Some(Newcomer { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Takes all that pods of this tenant get, by so many addresses.
    fn crowd(door: &Door, tenant: Option<&str>, addresses: u8) -> Vec<Newcomer> {
        let net = tenant.map_or(0, |name| name.as_bytes()[0]);
        let mut held = Vec::new();
        loop {
            let before = held.len();
            let each = (0..addresses).filter_map(|pod| {
                let from = IpAddr::V4(Ipv4Addr::new(10, 0, net, pod));
                door.admit(from, tenant.map(Into::into))
            });
            held.extend(each);
            if held.len() == before {
                return held;
            }
        }
    }

    fn lets_in(door: &Door, tenant: Option<&str>) -> bool {
        let from = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));
        door.admit(from, tenant.map(Into::into)).is_some()
    }

    #[test]
    fn two_tenants_with_as_many_pods_as_they_like_shut_nobody_out() {
        let door = Door::new();
        let one = crowd(&door, Some("a"), 200);
        assert!(one.len() <= STRANGERS / 2, "{}", one.len());
        let other = crowd(&door, Some("b"), 200);
        assert!(other.len() > STRANGERS / 5, "{}", other.len());
        for next in [Some("c"), None] {
            let third = crowd(&door, next, 200);
            assert!(third.len() > STRANGERS / 10, "{next:?}: {}", third.len());
            drop(third);
        }
        drop((one, other));
        assert_eq!(door.all.taken(&()), 0, "who left holds nothing");
    }

    #[test]
    fn addresses_of_one_tenant_and_of_none_leave_something_to_their_next() {
        for tenant in [Some("a"), None] {
            for addresses in [1, 4, 64, 200] {
                let door = Door::new();
                let held = crowd(&door, tenant, addresses);
                assert!(held.len() >= NEWCOMERS, "{}", held.len());
                let next = lets_in(&door, tenant);
                assert!(next, "{tenant:?}, {addresses} addresses");
            }
        }
    }

    #[test]
    fn an_address_has_places_for_a_node_and_no_more() {
        let door = Door::new();
        assert_eq!(crowd(&door, None, 1).len(), NEWCOMERS);
    }
}
