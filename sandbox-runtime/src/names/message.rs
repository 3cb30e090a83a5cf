//! A question to a DNS server, and what is understood of an answer (RFC 1035, 4). Pure.
//!
//! The answer comes from elsewhere: nothing in it is believed to be as long as it says, and it is read
//! once from the beginning to the end, so that no pointer leads round.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest answer that is taken; a server that has more to say cuts it at 512 bytes, for nothing else
/// was asked for (RFC 1035, 4.2.1).
pub const MAX_MESSAGE: usize = 1232;

const HEADER: usize = 12;
const INTERNET: u16 = 1;
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// First bits of a byte that is no label's length but a pointer (RFC 1035, 4.1.4).
const POINTER: u8 = 0xc0;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `A`.
    V4,
    /// `AAAA` (RFC 3596).
    V6,
}

impl Family {
    const fn kind(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These, or none.
    Addresses(Vec<IpAddr>),
    /// There is none.
    NoSuchName,
    /// The server's own trouble: a code of RFC 1035, or 255 for an answer that is broken or cut
    /// before the first address.
    Error(u8),
}

const BROKEN: Answer = Answer::Error(u8::MAX);

/// Whether DNS can have such a name.
pub fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(known)
    };
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

/// The question, under this number, for a name that [`is_name`].
pub fn question(id: u16, name: &str, family: Family) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    message.extend(id.to_be_bytes());
    // Recursion desired; one question and nothing else.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(asked(name, family));
    message
}

fn asked(name: &str, family: Family) -> Vec<u8> {
    let mut question = Vec::with_capacity(name.len() + 6);
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap_or_default());
        question.extend(label.bytes());
    }
    question.push(0);
    question.extend(family.kind().to_be_bytes());
    question.extend(INTERNET.to_be_bytes());
    question
}

/// Whether this is an answer to that question: its number, and the question itself.
pub fn answers(message: &[u8], id: u16, name: &str, family: Family) -> bool {
    let is_answer = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let asked = asked(name, family);
    let repeated = message.get(HEADER..HEADER + asked.len());
    is_answer
        && message.get(..2) == Some(&id.to_be_bytes())
        && message.get(4..6) == Some(&[0, 1])
        && repeated.is_some_and(|repeated| repeated.eq_ignore_ascii_case(&asked))
}

/// What an answer says, once it is known to be one.
pub fn answer(message: &[u8], family: Family) -> Answer {
    let (Some(&flags), Some(&code)) = (message.get(2), message.get(3)) else {
        return BROKEN;
    };
    let is_cut = flags & 2 != 0;
    match code & 0xf {
        0 => {}
        3 => return Answer::NoSuchName,
        code => return Answer::Error(code),
    }
    match records(message, family) {
        // Cut at an end of a record, or within one: what came before is true.
        Some(found) if found.is_empty() && is_cut => BROKEN,
        Some(found) => Answer::Addresses(found),
        None => BROKEN,
    }
}

/// The addresses among the answers. A name that stands for another has that one's behind it.
fn records(message: &[u8], family: Family) -> Option<Vec<IpAddr>> {
    let is_cut = message.get(2)? & 2 != 0;
    let count = number(message, 6)?;
    // One question: a name, a kind, a class.
    let mut at = after_name(message, HEADER)? + 4;
    let mut found = Vec::new();
    for _ in 0..count {
        let Some((record, next)) = record(message, at) else {
            return is_cut.then_some(found);
        };
        at = next;
        if record.kind == family.kind() && record.class == INTERNET {
            found.push(record.address()?);
        }
    }
    Some(found)
}

struct Record<'a> {
    kind: u16,
    class: u16,
    data: &'a [u8],
}

impl Record<'_> {
    fn address(&self) -> Option<IpAddr> {
        let four: Result<[u8; 4], _> = self.data.try_into();
        let sixteen: Result<[u8; 16], _> = self.data.try_into();
        let four = four.map(|bytes| Ipv4Addr::from(bytes).into());
        four.or_else(|_| sixteen.map(|bytes| Ipv6Addr::from(bytes).into()))
            .ok()
    }
}

/// The record there, and where the next one is.
fn record(message: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let at = after_name(message, at)?;
    let length = usize::from(number(message, at + 8)?);
    let data = message.get(at + 10..at + 10 + length)?;
    let record = Record {
        kind: number(message, at)?,
        class: number(message, at + 2)?,
        data,
    };
    Some((record, at + 10 + length))
}

/// Where a name ends; a pointer ends it.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & POINTER == POINTER => return Some(at + 2),
            length if length & POINTER == 0 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "canary.svc";

    /// An answer to a question of this family, with these records: kind and data.
    fn said(family: Family, flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question(7, NAME, family);
        message[2] = 0x80 | flags[0];
        message[3] = flags[1];
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 5]);
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        message
    }

    fn four(last: u8) -> [u8; 4] {
        [192, 0, 2, last]
    }

    #[test]
    fn a_question_is_as_the_rfc_has_it() {
        let expected = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06canary\x03svc\x00\x00\x01\x00\x01";
        assert_eq!(question(7, NAME, Family::V4), expected);
    }

    #[test]
    fn addresses_are_read_through_another_name_and_those_of_the_other_family_are_not() {
        let alias: &[u8] = b"\x01x\xc0\x0c";
        let records: [(u16, &[u8]); 4] = [(5, alias), (1, &four(1)), (1, &four(2)), (28, &[0; 16])];
        let message = said(Family::V4, [0, 0], &records);
        assert!(answers(&message, 7, NAME, Family::V4));
        let both = vec![IpAddr::from(four(1)), IpAddr::from(four(2))];
        assert_eq!(answer(&message, Family::V4), Answer::Addresses(both));
        let message = said(Family::V6, [0, 0], &records);
        let one = vec![IpAddr::from([0_u8; 16])];
        assert_eq!(answer(&message, Family::V6), Answer::Addresses(one));
    }

    #[test]
    fn what_answers_another_question_is_no_answer() {
        let message = said(Family::V4, [0, 0], &[]);
        assert!(answers(&message, 7, "CANARY.svc", Family::V4));
        assert!(!answers(&message, 8, NAME, Family::V4));
        assert!(!answers(&message, 7, "canary.svd", Family::V4));
        assert!(!answers(&message, 7, NAME, Family::V6));
        assert!(!answers(
            &question(7, NAME, Family::V4),
            7,
            NAME,
            Family::V4
        ));
        assert!(!answers(&[], 7, NAME, Family::V4));
    }

    #[test]
    fn no_such_name_is_not_the_servers_own_trouble() {
        let code = |code| answer(&said(Family::V4, [0, code], &[]), Family::V4);
        assert_eq!(code(3), Answer::NoSuchName);
        assert_eq!(code(2), Answer::Error(2));
        assert_eq!(code(0), Answer::Addresses(vec![]));
    }

    #[test]
    fn a_cut_answer_is_true_as_far_as_it_goes() {
        let mut message = said(Family::V4, [2, 0], &[(1, &four(1)), (1, &four(2))]);
        message.truncate(message.len() - 3);
        let one = vec![IpAddr::from(four(1))];
        assert_eq!(answer(&message, Family::V4), Answer::Addresses(one));
        message[2] = 0x80;
        assert_eq!(
            answer(&message, Family::V4),
            BROKEN,
            "it is not said to be cut"
        );
        assert_eq!(answer(&said(Family::V4, [2, 0], &[]), Family::V4), BROKEN);
    }

    #[test]
    fn no_bytes_at_all_do_harm() {
        let whole = said(Family::V4, [0, 0], &[(1, &four(1)), (5, b"\xc0\x0c")]);
        for length in 0..whole.len() {
            let _ = answer(&whole[..length], Family::V4);
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                let mut spoilt = whole.clone();
                spoilt[at] = byte;
                let _ = answer(&spoilt, Family::V4);
                let _ = answers(&spoilt, 7, NAME, Family::V4);
            }
        }
    }

    #[test]
    fn only_what_dns_can_have_is_a_name() {
        for name in ["a", "a.b-c.svc", "_x.y", "a.", &"x".repeat(63)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "a..b",
            "a b",
            "a/b",
            "é",
            &"x".repeat(64),
            &"a.".repeat(128),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
