//! What the Secret of the authority holds, and what is to be done about it.
//!
//! In: its entries, and the time. Out: what they mean, what to do, what to write. Pure but
//! for the randomness of what is new.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use zeroize::Zeroizing;

use super::{
    Error,
    certificate::{AUTHORITY, Authority, Predecessor, Unusable},
};

/// The authority's certificate, PEM.
const CERTIFICATE: &str = "ca.crt";
/// Its key, PKCS #8 in PEM.
const KEY: &str = "ca.key";
/// Certificate of the authority before it, PEM.
const PREVIOUS: &str = "previous.crt";
/// What that one says of this one, PEM.
const CROSS: &str = "cross.crt";
/// What the secrets of the pods are made with, raw.
const RESUME: &str = "resume.key";

/// Bytes of [`RESUME`]: as many as the hash puts out.
const RESUME_BYTES: usize = 32;

/// An authority is followed by another one when one part in so many of its life is left.
const PARTS: i32 = 3;

// One predecessor is remembered: it has to have expired when the next one comes to be one.
const _: () = assert!(
    AUTHORITY.as_secs() / (PARTS as i64) < AUTHORITY.as_secs() - AUTHORITY.as_secs() / PARTS as i64
);

/// What the Secret holds. Has no `Debug`, for the keys' sake.
#[derive(Clone)]
pub struct Content {
    /// Who signs what the operator shows.
    pub authority: Authority,
    /// Who did before.
    pub predecessor: Option<Predecessor>,
    /// What the secrets of the pods are made with.
    pub resume: Zeroizing<Vec<u8>>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Everything is to be made anew.
    Make,
    /// A new authority is to follow.
    Rotate,
}

/// What is to be done about what was found.
pub fn step(found: Option<&Content>, now: Timestamp) -> Step {
    match found.map(|content| content.authority.life) {
        // An authority that nobody believes any more has nothing to hand on.
        Some(life) if life.until <= now => Step::Make,
        Some(life) if life.wanes(PARTS, now) => Step::Rotate,
        Some(_) => Step::Keep,
        None => Step::Make,
    }
}

impl Content {
    /// All of it new.
    ///
    /// # Errors
    /// If the provider of cryptography fails.
    pub fn new(now: Timestamp) -> Result<Self, Error> {
        let mut resume = Zeroizing::new(vec![0; RESUME_BYTES]);
        rand::fill(&mut resume).map_err(|_| Error::Random)?;
        Ok(Self {
            authority: Authority::new(now)?,
            predecessor: None,
            resume,
        })
    }

    /// With a new authority. The secrets of the pods stay as they are.
    ///
    /// # Errors
    /// If the provider of cryptography fails.
    pub fn rotated(&self, now: Timestamp) -> Result<Self, Error> {
        let (authority, predecessor) = self.authority.succeeded(now)?;
        Ok(Self {
            authority,
            predecessor: Some(predecessor),
            resume: self.resume.clone(),
        })
    }

    /// What `data` means. A predecessor that cannot be made out is forgotten: only sandboxes
    /// made long ago still want it.
    ///
    /// # Errors
    /// If something is missing, or is not what it should be.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, Unusable> {
        let bytes = |entry: &str| data.get(entry).map(|bytes| &*bytes.0).unwrap_or_default();
        let text = |entry: &str| std::str::from_utf8(bytes(entry)).unwrap_or_default();
        let resume = Zeroizing::new(bytes(RESUME).to_vec());
        if resume.len() != RESUME_BYTES {
            return Err(Unusable::Key);
        }
        let authority = Authority::read(text(CERTIFICATE), text(KEY))?;
        let predecessor = Predecessor::read(text(PREVIOUS), text(CROSS), &authority).ok();
        Ok(Self {
            authority,
            predecessor,
            resume,
        })
    }

    /// The entries that [`Content::read`] makes this of.
    pub fn entries(&self) -> BTreeMap<String, ByteString> {
        let Self {
            authority,
            predecessor,
            resume,
        } = self;
        let mut entries = vec![
            (CERTIFICATE, authority.certificate.as_bytes()),
            (KEY, authority.key.as_bytes()),
            (RESUME, resume),
        ];
        if let Some(previous) = predecessor {
            entries.push((PREVIOUS, previous.certificate.as_bytes()));
            entries.push((CROSS, previous.cross.as_bytes()));
        }
        let owned = |(entry, bytes): (&str, &[u8])| (entry.to_owned(), ByteString(bytes.to_vec()));
        entries.into_iter().map(owned).collect()
    }

    /// The predecessor, while anybody can believe it.
    pub fn predecessor(&self, now: Timestamp) -> Option<&Predecessor> {
        let left = self.predecessor.as_ref();
        left.filter(|left| now < left.life.until)
    }

    /// Certificates of all that a sandbox may believe, PEM.
    pub fn bundle(&self, now: Timestamp) -> String {
        let left = self.predecessor(now).map(|left| left.certificate.as_str());
        [self.authority.certificate.as_str()]
            .into_iter()
            .chain(left)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::recording::now;

    fn days(days: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * days)
    }

    #[test]
    fn a_new_authority_follows_when_a_third_is_left_and_nothing_follows_an_expired_one() {
        assert_eq!(step(None, now()), Step::Make);
        let content = Content::new(now()).unwrap();
        for (age, expected) in [
            (0, Step::Keep),
            (243, Step::Keep),
            (244, Step::Rotate),
            (364, Step::Rotate),
            (365, Step::Make),
        ] {
            let then = now() + days(age);
            assert_eq!(step(Some(&content), then), expected, "{age} days");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let one = Content::new(now()).unwrap();
        let two = one.rotated(now() + days(250)).unwrap();
        assert_eq!(two.resume, one.resume);
        for content in [&one, &two] {
            let entries = content.entries();
            let read = Content::read(&entries).unwrap();
            assert_eq!(read.entries(), entries);
        }
        assert_eq!(one.entries().len(), 3);
        assert_eq!(two.entries().len(), 5);
    }

    #[test]
    fn what_is_missing_or_broken_is_no_authority_and_a_broken_predecessor_is_none() {
        let content = Content::new(now()).unwrap().rotated(now()).unwrap();
        for entry in [CERTIFICATE, KEY, RESUME] {
            let mut entries = content.entries();
            entries.insert(entry.to_owned(), ByteString(b"broken".to_vec()));
            assert!(Content::read(&entries).is_err(), "{entry}");
            entries.remove(entry);
            assert!(Content::read(&entries).is_err(), "{entry}");
        }
        for entry in [PREVIOUS, CROSS] {
            let mut entries = content.entries();
            entries.remove(entry);
            let read = Content::read(&entries).unwrap();
            assert_eq!(read.predecessor, None, "{entry}");
        }
        assert!(Content::read(&BTreeMap::new()).is_err());
    }

    #[test]
    fn the_old_authority_is_believed_until_it_expires() {
        let old = Content::new(now()).unwrap();
        let content = old.rotated(now() + days(250)).unwrap();
        let certificates = |age| {
            let bundle = content.bundle(now() + days(age));
            assert!(bundle.contains(&content.authority.certificate));
            let believed = bundle.contains(&old.authority.certificate);
            (bundle.matches("BEGIN CERTIFICATE").count(), believed)
        };
        assert_eq!(certificates(251), (2, true));
        assert_eq!(certificates(364), (2, true));
        assert_eq!(certificates(365), (1, false));
    }
}
