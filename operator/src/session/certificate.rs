//! Certificates: the authority, its successor, and what the operator shows.
//!
//! In: what is there, and the time. Out: PEM to be kept, DER to be shown. Nothing is read or
//! written here; what is random are new keys.
//!
//! A sandbox believes the authorities that there were when its pod was made. When a new one
//! follows, the old one therefore signs it before its key is thrown away: the *cross*
//! certificate, for the new authority's name and key, from the old one. Shown behind the leaf,
//! it leads a sandbox that knows the old authority alone to the leaf, and is passed over by one
//! that knows the new one. So there is one leaf for all, and no old key lies about.

use crds::well_known::{DISPATCH, SYSTEM_NAMESPACE};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

/// How long an authority is good for. Its key is in a Secret, so not for ever.
pub const AUTHORITY: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long a leaf is good for: a leader that cannot renew it has days, not hours.
pub const LEAF: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far the clock of a sandbox's node may be behind the operator's.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// From when to when something is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub until: Timestamp,
}

impl Life {
    fn new(now: Timestamp, length: SignedDuration) -> Self {
        Self {
            from: now - SKEW,
            until: now + length,
        }
    }

    /// Whether less than one part in `parts` of it is left.
    pub fn wanes(self, parts: i32, now: Timestamp) -> bool {
        self.until.duration_since(now) < self.until.duration_since(self.from) / parts
    }
}

/// Why a certificate that was read is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Neither PEM nor X.509.
    #[error("a certificate cannot be read")]
    Certificate,
    /// Not PKCS #8 in PEM, or of no algorithm that is known.
    #[error("a key cannot be read")]
    Key,
    /// Two things that are there belong to different pairs.
    #[error("a certificate is of another key")]
    Strangers,
}

/// An authority and its key. Has no `Debug`, for the key's sake.
#[derive(Clone)]
pub struct Authority {
    /// PEM.
    pub certificate: String,
    /// PKCS #8 in PEM.
    pub key: Zeroizing<String>,
    /// Of the certificate.
    pub life: Life,
}

/// What an authority that has been followed by another one leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its certificate, PEM.
    pub certificate: String,
    /// What it says of its successor, PEM.
    pub cross: String,
    /// Of both.
    pub life: Life,
}

/// What the operator shows. Has no `Debug`, for the key's sake.
pub struct Leaf {
    /// The leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the leaf.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// Of the leaf.
    pub life: Life,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If the provider of cryptography fails.
    pub fn new(now: Timestamp) -> Result<Self, rcgen::Error> {
        let life = Life::new(now, AUTHORITY);
        let key = Zeroizing::new(KeyPair::generate()?);
        let certificate = authority(life, now)?.self_signed(&*key)?.pem();
        Ok(Self {
            certificate,
            key: Zeroizing::new(key.serialize_pem()),
            life,
        })
    }

    /// One that was kept.
    ///
    /// # Errors
    /// If it is not what it should be.
    pub fn read(certificate: &str, key: &str) -> Result<Self, Unusable> {
        let pair = KeyPair::from_pem(key).map_err(|_| Unusable::Key)?;
        let pair = Zeroizing::new(pair);
        let life = inspect(certificate, |read| {
            let same = read.public_key().raw == pair.subject_public_key_info();
            same.then_some(()).ok_or(Unusable::Strangers)
        })?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: Zeroizing::new(key.to_owned()),
            life,
        })
    }

    /// The one that follows this one, and what this one says of it.
    ///
    /// # Errors
    /// If the provider of cryptography fails.
    pub fn succeeded(&self, now: Timestamp) -> Result<(Self, Predecessor), rcgen::Error> {
        let next = Self::new(now)?;
        let key = Zeroizing::new(KeyPair::from_pem(&next.key)?);
        // The new one's name, and never good for longer than who vouches for it.
        let mut says = authority(next.life, now)?;
        says.not_after = date(self.life.until)?;
        // It vouches for this authority, not for further ones below.
        says.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let cross = self.sign(&says, &key)?.pem();
        let left = Predecessor {
            certificate: self.certificate.clone(),
            cross,
            life: self.life,
        };
        Ok((next, left))
    }

    /// What the operator is to show for a while, to those who believe this authority, or the
    /// predecessor alone.
    ///
    /// # Errors
    /// If the provider of cryptography fails.
    pub fn leaf(
        &self,
        predecessor: Option<&Predecessor>,
        now: Timestamp,
    ) -> Result<Leaf, rcgen::Error> {
        let mut life = Life::new(now, LEAF);
        life.until = life.until.min(self.life.until);
        let mut parameters = CertificateParams::new(names())?;
        parameters.distinguished_name = named(DISPATCH);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = date(life.from)?;
        parameters.not_after = date(life.until)?;
        let key = Zeroizing::new(KeyPair::generate()?);
        let mut chain = vec![self.sign(&parameters, &key)?.der().clone()];
        if let Some(predecessor) = predecessor {
            let cross = CertificateDer::from_pem_slice(predecessor.cross.as_bytes());
            chain.push(cross.map_err(|_| rcgen::Error::CouldNotParseCertificate)?);
        }
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Leaf { chain, key, life })
    }

    fn sign(
        &self,
        parameters: &CertificateParams,
        key: &KeyPair,
    ) -> Result<rcgen::Certificate, rcgen::Error> {
        let own = Zeroizing::new(KeyPair::from_pem(&self.key)?);
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &*own)?;
        parameters.signed_by(key, &issuer)
    }
}

impl Predecessor {
    /// One that was kept, of this `successor`.
    ///
    /// # Errors
    /// If it is not what it should be: a cross certificate that leads nowhere is not shown.
    pub fn read(certificate: &str, cross: &str, successor: &Authority) -> Result<Self, Unusable> {
        let same = |says: &X509Certificate| {
            inspect(&successor.certificate, |read| {
                let same = says.public_key().raw == read.public_key().raw
                    && says.subject().as_raw() == read.subject().as_raw();
                same.then_some(()).ok_or(Unusable::Strangers)
            })
        };
        let life = inspect(certificate, |read| {
            inspect(cross, |says| {
                let signed = says.verify_signature(Some(read.public_key()));
                signed.map_err(|_| Unusable::Strangers)?;
                same(says).map(|_| ())
            })
            .map(|_| ())
        })?;
        Ok(Self {
            certificate: certificate.to_owned(),
            cross: cross.to_owned(),
            life,
        })
    }
}

/// Names by which a sandbox may dial.
pub fn names() -> Vec<String> {
    ["", ".svc", ".svc.cluster.local"]
        .map(|rest| format!("{DISPATCH}.{SYSTEM_NAMESPACE}{rest}"))
        .into()
}

/// An authority's certificate. The date in its name tells it from the one before: who looks
/// for the issuer of a leaf looks by name.
fn authority(life: Life, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(&format!("{DISPATCH} {now}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters.not_before = date(life.from)?;
    parameters.not_after = date(life.until)?;
    Ok(parameters)
}

fn named(name: &str) -> rcgen::DistinguishedName {
    let mut distinguished = rcgen::DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn date(at: Timestamp) -> Result<OffsetDateTime, rcgen::Error> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| rcgen::Error::Time)
}

/// Reads a certificate, has it judged, and says how long it is good for.
fn inspect(
    pem: &str,
    judge: impl FnOnce(&X509Certificate) -> Result<(), Unusable>,
) -> Result<Life, Unusable> {
    let unreadable = Unusable::Certificate;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| unreadable)?;
    let (_, read) = x509_parser::parse_x509_certificate(&der).map_err(|_| unreadable)?;
    judge(&read)?;
    let instant = |date: x509_parser::time::ASN1Time| {
        Timestamp::from_second(date.timestamp()).map_err(|_| unreadable)
    };
    let validity = read.validity();
    Ok(Life {
        from: instant(validity.not_before)?,
        until: instant(validity.not_after)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::now;

    #[test]
    fn what_is_kept_is_what_was_made() {
        let made = Authority::new(now()).unwrap();
        let read = Authority::read(&made.certificate, &made.key).unwrap();
        assert_eq!(read.life, made.life);
        let (next, left) = made.succeeded(now()).unwrap();
        let read = Predecessor::read(&left.certificate, &left.cross, &next);
        assert_eq!(read, Ok(left));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let [one, other] = [now(), now()].map(|now| Authority::new(now).unwrap());
        let read = |certificate: &str, key: &str| Authority::read(certificate, key).err();
        assert_eq!(
            read(&one.certificate, &other.key),
            Some(Unusable::Strangers)
        );
        assert_eq!(read(&one.certificate, "no key"), Some(Unusable::Key));
        assert_eq!(
            read("no certificate", &one.key),
            Some(Unusable::Certificate)
        );
        let (next, left) = one.succeeded(now()).unwrap();
        let read = |certificate, successor| Predecessor::read(certificate, &left.cross, successor);
        assert_eq!(read(&other.certificate, &next), Err(Unusable::Strangers));
        assert_eq!(read(&left.certificate, &other), Err(Unusable::Strangers));
    }

    #[test]
    fn a_leaf_does_not_outlive_who_signed_it() {
        let authority = Authority::new(now()).unwrap();
        let leaf = authority.leaf(None, now()).unwrap();
        assert_eq!(leaf.life.until, now() + LEAF);
        let late = authority.life.until - SignedDuration::from_hours(1);
        let leaf = authority.leaf(None, late).unwrap();
        assert_eq!(leaf.life.until, authority.life.until);
    }
}
