//! What a command says, without the secret that lies in a file.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::redact::Redactor;
use crate::token;

/// Tells one file from another of the same name: device, number, and when it was changed, in seconds
/// and nanoseconds since 1970.
type Stamp = (u64, u64, i64, i64);

/// A stream, as [`Redactor`] leaves it.
#[derive(Debug)]
pub(super) struct Veil<R> {
    reader: R,
    secret: PathBuf,
    /// Of the file as it was read.
    stamp: Option<Stamp>,
    redactor: Redactor,
    /// What may be passed on, and how much of that has been.
    clean: Vec<u8>,
    given: usize,
    has_ended: bool,
}

impl<R> Veil<R> {
    /// Fails if the secret is not known: then nothing is sure to be without it.
    pub(super) fn new(reader: R, secret: PathBuf) -> io::Result<Self> {
        let (stamp, mut redactor) = (stamp(&secret), Redactor::new());
        if !redactor.learn(token::read(&secret)?.as_bytes()) {
            let message = "the token is too short for one";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Self {
            reader,
            secret,
            stamp,
            redactor,
            clean: Vec::new(),
            given: 0,
            has_ended: false,
        })
    }

    /// To be called after each read: a new secret was there before the command could say it.
    fn look_again(&mut self) {
        let now = stamp(&self.secret);
        if now.is_some() && now == self.stamp {
            return;
        }
        // Where there is none, the command has none either.
        if let Ok(secret) = token::read(&self.secret) {
            self.stamp = now;
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
            self.clean.clear();
            self.given = 0;
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

fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some((about.dev(), about.ino(), about.mtime(), about.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_everything_but_the_secret_whatever_there_is_room_for() {
        let name = format!("cloister-veil-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        assert!(Veil::new(&b""[..], path.clone()).is_err(), "not known");
        for none in ["", "\n", "short"] {
            fs::write(&path, none).unwrap();
            assert!(Veil::new(&b""[..], path.clone()).is_err(), "{none:?}");
        }
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
            assert!(before.len() < 2 + 4, "{room}: {all}");
            assert_eq!(after, " and the-secret-of", "{room}");
        }
        fs::remove_file(&path).unwrap();
    }

    /// Says each of these, as if it had just read it from the file.
    struct Reads<'a> {
        path: &'a Path,
        all: std::vec::IntoIter<&'static str>,
    }

    impl Read for Reads<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(next) = self.all.next() else {
                return Ok(0);
            };
            // As the kubelet does: another file, under the same name.
            let beside = self.path.with_extension("next");
            fs::write(&beside, next)?;
            fs::rename(beside, self.path)?;
            next.as_bytes().read(buffer)
        }
    }

    #[test]
    fn what_was_renewed_this_moment_is_not_shown_either() {
        let name = format!("cloister-veil-new-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "the-very-old-one").unwrap();
        let all = vec!["the-old-one", "the-new-one", "the-newest-one"].into_iter();
        let mut veil = Veil::new(Reads { path: &path, all }, path.clone()).unwrap();
        let mut all = String::new();
        veil.read_to_string(&mut all).unwrap();
        assert_eq!(all, "[redacted]".repeat(3));
        fs::remove_file(&path).unwrap();
    }
}
