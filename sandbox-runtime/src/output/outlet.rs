//! Where the threads that read the command's output leave it, and the session takes it from.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::sink::Stream;
use super::spool::Spool;

/// A [`Spool`] for two sides. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Outlet(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    spool: Mutex<Spool>,
    news: Notify,
}

impl Outlet {
    /// Leaves what was said. Never waits for who takes it.
    pub fn put(&self, stream: Stream, bytes: &[u8]) {
        if self.with(|spool| spool.put(stream, bytes)) {
            self.0.news.notify_one();
        }
    }

    /// Looks at it, or takes from it.
    pub fn with<T>(&self, deed: impl FnOnce(&mut Spool) -> T) -> T {
        // It is whole at every moment, so a thread that died with it harms nothing.
        let mut spool = self.0.spool.lock().unwrap_or_else(PoisonError::into_inner);
        deed(&mut spool)
    }

    /// Waits until something is left where everything had been taken, once for each time.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }
}

/// A stream, of which a copy goes to an [`Outlet`], if there is one, before it goes further.
#[derive(Debug)]
pub struct Tap<R> {
    /// The stream.
    pub reader: R,
    /// Which.
    pub stream: Stream,
    /// Where the copy goes.
    pub outlet: Option<Outlet>,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if let Some(outlet) = &self.outlet {
            outlet.put(self.stream, &buffer[..read]);
        }
        Ok(read)
    }
}
