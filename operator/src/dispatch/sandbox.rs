//! A sandbox pod as the dispatcher sees it, and what it has proven.

use std::time::Duration;

use contract::dispatch::Order;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

pub use self::facts::Facts;
use crate::world::facts::Uid;

mod facts;

/// Annotation of a sandbox: fingerprint of what it was made from.
pub const MOLD_ANNOTATION: &str = "cloister.dev/mold";

/// A sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// What the API server says of it.
    pub pod: Facts,
    /// What it says itself.
    pub seat: Option<Seat>,
    /// The run that it has said it was given, in whichever session: Execution and attempt.
    pub given: Option<(Uid, u32)>,
    /// What it has last seen from inside.
    pub proof: Proof,
    /// What it saw and when, while it is not known yet what it was asked.
    pub unjudged: Option<(String, Timestamp)>,
    /// When it had its last session, or was first seen.
    pub heard: Timestamp,
    /// The Execution that has it, from the moment it is chosen. Given back only while nothing
    /// has been sent to it.
    pub claimed: Option<Uid>,
    /// Its removal is under way.
    pub removing: bool,
    /// Its removal failed: until when it is not tried again, and how long that pause is.
    pub kept: Option<(Timestamp, Duration)>,
    /// Since when it could not tell whether it is as it must be.
    pub doubt: Option<Timestamp>,
    /// It had a session before: the next one has to show what that was told.
    pub welcomed: bool,
    /// When what had held it up was over, if that was seen: a node was found, its image was there.
    pub mended: Option<Timestamp>,
}

/// Its session.
#[derive(Debug)]
pub struct Seat {
    /// Number of the session.
    pub session: u64,
    /// When it was opened.
    pub since: Timestamp,
    /// What is sent there, it is told.
    pub orders: UnboundedSender<Order>,
    /// The run that it says in this session it has been given: Execution and attempt.
    pub given: Option<(Uid, u32)>,
    /// When it was told in this session what to run.
    pub assigned: Option<Timestamp>,
    /// It has been told in this session to end that.
    pub canceled: bool,
}

impl Seat {
    /// Whether it knows, or is about to, what to run.
    pub fn is_told(&self) -> bool {
        self.given.is_some() || self.assigned.is_some()
    }
}

/// What a sandbox has last seen from inside.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Proof {
    /// Nothing yet.
    #[default]
    Pending,
    /// All is as it must be.
    Proven {
        /// When it looked.
        at: Timestamp,
        /// How many things.
        passed: usize,
    },
    /// It could not tell; the first thing that it could not.
    Doubtful {
        /// What.
        fault: String,
    },
    /// It is not what it must be.
    Broken {
        /// What: check, target, expected and seen.
        fault: String,
    },
}

impl Sandbox {
    /// It ends its command when it is cut off.
    pub fn is_fenced(&self) -> bool {
        self.pod.is_fenced()
    }

    /// One that has just been seen.
    pub fn new(pod: Facts, now: Timestamp) -> Self {
        Self {
            pod,
            seat: None,
            given: None,
            proof: Proof::Pending,
            unjudged: None,
            heard: now,
            claimed: None,
            removing: false,
            kept: None,
            doubt: None,
            welcomed: false,
            mended: None,
        }
    }

    /// From when on it could have dialled.
    pub fn begun(&self) -> Timestamp {
        let created = self.pod.created;
        let mended = self.mended.unwrap_or(created);
        mended.max(self.pod.running.unwrap_or(created)).max(created)
    }

    /// What the API server says of it now.
    pub fn update(&mut self, pod: Facts, now: Timestamp) {
        if self.pod.is_held_up() && !pod.is_held_up() {
            self.mended = Some(now);
        }
        self.pod = pod;
    }

    /// Whether it has been sent nothing to run, as far as this leader knows.
    pub fn is_untold(&self) -> bool {
        !self.seat.as_ref().is_some_and(Seat::is_told)
    }

    /// Whether nobody has it, and nothing says that it is going.
    pub fn is_free(&self) -> bool {
        self.claimed.is_none()
            && self.given.is_none()
            && !self.removing
            && !self.pod.deleting
            && self.pod.end.is_none()
    }

    /// When it last proved itself, if that counts still.
    pub fn proven(&self, oldest: Timestamp) -> Option<Timestamp> {
        match self.proof {
            Proof::Proven { at, .. } if at >= oldest => Some(at),
            Proof::Proven { .. }
            | Proof::Pending
            | Proof::Doubtful { .. }
            | Proof::Broken { .. } => None,
        }
    }

    /// When it last proved itself, if an Execution may be given to it now.
    pub fn ready(&self, oldest: Timestamp) -> Option<Timestamp> {
        self.proven(oldest)
            .filter(|_| self.is_free() && self.seat.is_some())
    }
}
