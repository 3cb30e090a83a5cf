//! What one thread rings and another waits for, together with signals (`eventfd(2)`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// The bell. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(eventfd(0, flags)?)))
    }

    /// Rings until it is heard.
    pub fn ring(&self) {
        // Refused only where it has been rung 2^64 - 2 times unheard: it rings.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Whether it has been rung since it was last heard. Never waits.
    pub fn heard(&self) -> bool {
        rustix::io::read(&*self.0, &mut [0_u8; size_of::<u64>()]).is_ok()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_heard_once_however_often_it_was_rung() {
        let bell = Bell::new().unwrap();
        assert!(!bell.heard());
        let same = bell.clone();
        std::thread::spawn(move || (0..3).for_each(|_| same.ring()))
            .join()
            .unwrap();
        assert!(bell.heard());
        assert!(!bell.heard());
    }
}
