//! The authority as the leader has it in memory: what it shows, and what new pods are told.
//!
//! In: the content of the Secret, looked at now and then. Out: a certificate for every
//! handshake, renewed without a restart. The authority's own key is in memory only while it
//! signs.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use kube::Client;
use rustls::{
    crypto,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::{MissedTickBehavior, interval};

use super::{Error, certificate::Life, content::Content, store};
use crate::world::facts::Uid;

/// How often the Secret is looked at, and what is due is done.
const LOOK: Duration = Duration::from_hours(1);

/// A leaf is renewed when half of its life is left.
const PARTS: i32 = 2;

/// What the operator shows, what sandboxes are to believe, and what they show in turn.
pub struct Authority {
    held: RwLock<Arc<Held>>,
    now: fn() -> Timestamp,
}

struct Held {
    bundle: String,
    resume: hmac::Key,
    shown: Arc<CertifiedKey>,
    life: Life,
}

impl Authority {
    /// Reads it from the Secret, or makes it.
    ///
    /// # Errors
    /// If the server refuses, or the provider of cryptography fails.
    pub async fn load(client: &Client, now: fn() -> Timestamp) -> Result<Self, Error> {
        let content = store::settle(client, now()).await?;
        let held = RwLock::new(Arc::new(Held::new(&content, now())?));
        Ok(Self { held, now })
    }

    /// Certificates of all authorities that a new sandbox is to believe, PEM.
    pub fn bundle(&self) -> String {
        self.held().bundle.clone()
    }

    /// The secret of a pod: what a supervisor is told in its first session, so that it can
    /// show in the next one that it is the same.
    pub fn resume(&self, pod: Uid) -> Vec<u8> {
        let tag = hmac::sign(&self.held().resume, pod.to_string().as_bytes());
        tag.as_ref().to_vec()
    }

    /// Whether `shown` is the secret of this pod. Takes as long for a near miss as for a wild one.
    pub(super) fn resumes(&self, pod: Uid, shown: &[u8]) -> bool {
        let held = self.held();
        hmac::verify(&held.resume, pod.to_string().as_bytes(), shown).is_ok()
    }

    /// Looks after it for ever.
    pub(super) async fn keep(&self, client: &Client) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.renew(client).await {
                tracing::warn!(%error, "the authority of sandbox sessions was not looked after");
            }
        }
    }

    /// Does what is due.
    pub(super) async fn renew(&self, client: &Client) -> Result<(), Error> {
        let now = (self.now)();
        let content = store::settle(client, now).await?;
        let held = self.held();
        // The bundle says which authority signs, and whether the old one is still of use.
        let same = held.bundle == content.bundle(now) && held.resumes_with(&content);
        if same && !held.life.wanes(PARTS, now) {
            return Ok(());
        }
        let next = Arc::new(Held::new(&content, now)?);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn held(&self) -> Arc<Held> {
        self.held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Held {
    fn new(content: &Content, now: Timestamp) -> Result<Self, Error> {
        let leaf = content.authority.leaf(content.predecessor(now), now)?;
        let provider = crypto::aws_lc_rs::default_provider();
        let shown = CertifiedKey::from_der(leaf.chain, leaf.key.into(), &provider)?;
        Ok(Self {
            bundle: content.bundle(now),
            resume: resume_key(content),
            shown: Arc::new(shown),
            life: leaf.life,
        })
    }

    /// Whether the secrets of the pods are made with the same key.
    fn resumes_with(&self, content: &Content) -> bool {
        let [held, kept] = [&self.resume, &resume_key(content)].map(|key| hmac::sign(key, b""));
        held.as_ref() == kept.as_ref()
    }
}

fn resume_key(content: &Content) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &content.resume)
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authority")
    }
}

impl ResolvesServerCert for Authority {
    /// There is one certificate for all; the client judges its name.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.held().shown.clone())
    }
}
