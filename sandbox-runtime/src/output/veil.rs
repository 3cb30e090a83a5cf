//! What a command says, without the secret that lies in a file.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::redact::Redactor;
use crate::token;

/// Kubernetes renews a token long before it is good for nothing, so that both are kept secret.
const LOOK: Duration = Duration::from_secs(1);

/// A stream, as [`Redactor`] leaves it.
#[derive(Debug)]
pub(super) struct Veil<R> {
    reader: R,
    secret: PathBuf,
    looked: Instant,
    redactor: Redactor,
    /// What may be passed on, and how much of that has been.
    clean: Vec<u8>,
    given: usize,
    has_ended: bool,
}

impl<R> Veil<R> {
    /// Fails if the secret is not known: then nothing is sure to be without it.
    pub(super) fn new(reader: R, secret: PathBuf) -> io::Result<Self> {
        let mut redactor = Redactor::new();
        redactor.learn(token::read(&secret)?.as_bytes());
        Ok(Self {
            reader,
            secret,
            looked: Instant::now(),
            redactor,
            clean: Vec::new(),
            given: 0,
            has_ended: false,
        })
    }

    /// A new one was there before the command could read it.
    fn look_again(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        // While it is being replaced, there may be none.
        if let Ok(secret) = token::read(&self.secret) {
            self.redactor.learn(secret.as_bytes());
        }
    }
}

impl<R: Read> Read for Veil<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut left = &self.clean[self.given..];
            if self.has_ended || !left.is_empty() {
                let read = left.read(buffer)?;
                self.given += read;
                return Ok(read);
            }
            (self.given, self.has_ended) = (0, false);
            self.clean.clear();
            match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                // A pipe that cannot be read has nothing more to say.
                Ok(0) | Err(_) => {
                    self.has_ended = true;
                    self.redactor.end(&mut self.clean);
                }
                Ok(read) => {
                    self.look_again();
                    self.redactor.feed(&buffer[..read], &mut self.clean);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_gives_everything_but_the_secret_whatever_there_is_room_for() {
        let name = format!("cloister-veil-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        assert!(Veil::new(&b""[..], path.clone()).is_err(), "not known");
        fs::write(&path, "the-secret-of-it\n").unwrap();
        let said = b"a the-secret-of-it and the-secret-of";
        for room in 1..said.len() {
            let mut veil = Veil::new(&said[..], path.clone()).unwrap();
            let (mut buffer, mut all) = (vec![0; room], Vec::new());
            loop {
                let read = veil.read(&mut buffer).unwrap();
                all.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
            let all = String::from_utf8(all).unwrap();
            let (before, after) = all.split_once("[redacted]").unwrap();
            assert!(before.len() < 10, "{room}: {all}");
            assert_eq!(after, " and the-secret-of", "{room}");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn it_learns_of_a_new_one() {
        let name = format!("cloister-veil-new-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "the-old-one").unwrap();
        let mut veil = Veil::new(&b"the-old-one the-new-one"[..], path.clone()).unwrap();
        fs::write(&path, "the-new-one").unwrap();
        veil.looked = Instant::now().checked_sub(LOOK).unwrap();
        let mut all = String::new();
        veil.read_to_string(&mut all).unwrap();
        assert_eq!(all, "[redacted] [redacted]");
        fs::remove_file(&path).unwrap();
    }
}
