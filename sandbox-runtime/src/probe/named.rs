//! `name:port` → what was seen at every address of that name, in one word.
//!
//! A pod that lives for weeks outlives the canary's and the decoy's pods, so it is told their names.
//! A headless Service has the addresses of ready pods alone: who is asked for is there, as far as the
//! cluster knows. A name without an address is an error, never silence.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use contract::{Check, Saw};

use super::STACK;
use super::dial::{self, Seen};

/// So many addresses of a name are dialled, the lowest, so that two checks of one name dial the same.
const MOST: usize = 4;
/// A name is resolved within that, or not: a resolver that tries every domain of a pod's list, with a
/// tenth of a processor, takes a good part of it.
const RESOLVE: Duration = Duration::from_secs(1);

/// How long it may take to see whether names are resolved at all: some of the servers may be lost.
pub const WHOLE: Duration = Duration::from_secs(2);

/// How long names take beyond the dials themselves: before, and for the decoy after; or where a
/// name is all that is asked for.
pub fn patience(addresses: impl IntoIterator<Item = impl AsRef<str>>) -> Duration {
    let mut addresses = addresses.into_iter();
    if addresses.any(|address| address.as_ref().parse::<SocketAddr>().is_err()) {
        WHOLE.max(2 * RESOLVE)
    } else {
        Duration::ZERO
    }
}

/// A name and a port; nothing where the text is an address, or neither.
pub fn parse(address: &str) -> Option<(&str, u16)> {
    let (name, port) = address.rsplit_once(':')?;
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    let is_address = name.parse::<IpAddr>().is_ok();
    (is_name && !is_address).then_some((name, port.parse().ok()?))
}

/// Dials every address of the name at once, each by `dial`. The silence of a decoy counts only if its
/// addresses are all among those that the name has afterwards, too: who went away meanwhile may have
/// been away.
pub fn dial(
    check: Check,
    (name, port): (&str, u16),
    dial: impl Fn(SocketAddr) -> Seen + Sync,
) -> Seen {
    found(check, port, || dial::lookup(name, RESOLVE), dial)
}

fn found(
    check: Check,
    port: u16,
    lookup: impl Fn() -> Result<Vec<IpAddr>, Seen>,
    dial: impl Fn(SocketAddr) -> Seen + Sync,
) -> Seen {
    let before = match lookup() {
        Ok(found) => chosen(found),
        Err(seen) => return as_error(&seen),
    };
    let seen = all(&before, port, dial);
    let is_silent = matches!(seen.saw, Saw::Silence | Saw::Unroutable);
    if check != Check::OtherTenant || !is_silent {
        return seen;
    }
    match lookup() {
        Ok(after) if before.iter().all(|address| after.contains(address)) => seen,
        Ok(_) => Seen::error("its addresses changed during the look".to_owned()),
        Err(seen) => as_error(&seen),
    }
}

/// Nothing is known of a target that has no address, whatever the resolver did not say.
fn as_error(seen: &Seen) -> Seen {
    Seen::error(format!("its name was not resolved: {}", seen.why))
}

fn chosen(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST);
    found
}

fn all(addresses: &[IpAddr], port: u16, dial: impl Fn(SocketAddr) -> Seen + Sync) -> Seen {
    let dial = &dial;
    let seen = thread::scope(|scope| {
        let started = addresses.iter().map(|address| {
            let address = SocketAddr::new(*address, port);
            let thread = thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, move || dial(address))
        });
        let started: Vec<_> = started.collect();
        let seen = started.into_iter().map(|thread| match thread {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|_| Seen::error("a thread died".to_owned())),
            Err(error) => Seen::error(format!("failed to start a thread: {error}")),
        });
        seen.collect::<Vec<_>>()
    });
    seen.into_iter()
        .min_by_key(|seen| weight(seen.saw))
        .unwrap_or_else(|| Seen::error("resolved to no address".to_owned()))
}

/// One answer is an answer; and only where nothing went wrong is all the rest silence.
const fn weight(saw: Saw) -> u8 {
    match saw {
        Saw::Connected => 0,
        Saw::Refused => 1,
        Saw::Error => 2,
        Saw::Silence => 3,
        Saw::Unroutable => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_name_and_neither_is_anything_else() {
        assert_eq!(parse("a.b-c.svc:7001"), Some(("a.b-c.svc", 7001)));
        for text in [
            "192.0.2.1:1",
            "[::1]:1",
            "::1",
            "name",
            "name:",
            ":1",
            "name:65536",
            "a b:1",
            "a\n:1",
            "a/b:1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_names_are_waited_for() {
        assert_eq!(patience(["192.0.2.1:1", "[2001:db8::1]:1"]), Duration::ZERO);
        assert_eq!(patience(["192.0.2.1:1", "canary.svc"]), WHOLE);
        assert_eq!(patience(["192.0.2.1:1", "canary.svc:1"]), 2 * RESOLVE);
    }

    fn seen(saws: &'static [Saw]) -> Saw {
        let addresses: Vec<IpAddr> = (0..saws.len())
            .map(|index| IpAddr::from([192, 0, 2, u8::try_from(index).unwrap()]))
            .collect();
        let dial = |address: SocketAddr| {
            let IpAddr::V4(address) = address.ip() else {
                return Seen::error(String::new());
            };
            Seen {
                saw: saws[usize::from(address.octets()[3])],
                why: String::new(),
            }
        };
        all(&addresses, 1, dial).saw
    }

    #[test]
    fn one_answer_of_many_is_an_answer_and_one_error_is_no_silence() {
        assert_eq!(
            seen(&[Saw::Silence, Saw::Connected, Saw::Error]),
            Saw::Connected
        );
        assert_eq!(
            seen(&[Saw::Silence, Saw::Refused, Saw::Error]),
            Saw::Refused
        );
        assert_eq!(seen(&[Saw::Silence, Saw::Error]), Saw::Error);
        assert_eq!(seen(&[Saw::Unroutable, Saw::Silence]), Saw::Silence);
        assert_eq!(seen(&[Saw::Unroutable]), Saw::Unroutable);
        assert_eq!(seen(&[]), Saw::Error);
    }

    #[test]
    fn two_checks_of_one_name_dial_the_same_whatever_the_order_of_the_answer() {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let found = vec![5, 1, 3, 1, 4, 2].into_iter().map(address).collect();
        assert_eq!(chosen(found), [1, 2, 3, 4].map(address));
    }

    #[test]
    fn a_name_without_addresses_is_an_error_and_no_silence() {
        let never = |_: SocketAddr| -> Seen { panic!("dialled") };
        let target = ("no-such-name.invalid", 1);
        let seen = dial(Check::OtherTenant, target, never);
        assert_eq!(seen.saw, Saw::Error, "{}", seen.why);
    }

    #[test]
    fn the_silence_of_a_decoy_that_went_away_meanwhile_does_not_count() {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let looked = |check, saw, then: &[u8], afterwards: Option<&[u8]>| {
            let is_first = std::cell::Cell::new(true);
            let lookup = || match (is_first.replace(false), afterwards) {
                (true, _) => Ok(then.iter().copied().map(address).collect()),
                (false, Some(now)) => Ok(now.iter().copied().map(address).collect()),
                (false, None) => Err(Seen::error("no answer".to_owned())),
            };
            let why = String::new();
            found(check, 1, lookup, |_| Seen {
                saw,
                why: why.clone(),
            })
            .saw
        };
        let decoy = Check::OtherTenant;
        assert_eq!(
            looked(decoy, Saw::Silence, &[1, 2], Some(&[2, 3, 1])),
            Saw::Silence
        );
        assert_eq!(
            looked(decoy, Saw::Silence, &[1, 2], Some(&[2, 3])),
            Saw::Error
        );
        assert_eq!(looked(decoy, Saw::Unroutable, &[1], Some(&[])), Saw::Error);
        assert_eq!(looked(decoy, Saw::Silence, &[1], None), Saw::Error);
        assert_eq!(looked(decoy, Saw::Connected, &[1], None), Saw::Connected);
        assert_eq!(
            looked(Check::ForbiddenCanary, Saw::Silence, &[1], None),
            Saw::Silence
        );
    }

    #[test]
    fn what_a_name_leads_to_is_dialled() {
        let silent = |address: SocketAddr| Seen {
            saw: Saw::Silence,
            why: address.to_string(),
        };
        let seen = dial(Check::OtherTenant, ("localhost", 7003), silent);
        assert_eq!(seen.saw, Saw::Silence, "{}", seen.why);
        assert!(seen.why.ends_with(":7003"));
    }
}
