//! Lines, numbers and bounds, whatever the chunks.

use super::*;

#[derive(Default)]
struct Kept {
    lines: Vec<(u64, Vec<u8>, bool, bool)>,
    flushes: usize,
    broken: bool,
}

impl Sink for Kept {
    fn line(&mut self, line: &Line<'_>) {
        let Line {
            number,
            stream: _,
            bytes,
            ended,
            cut,
        } = *line;
        self.lines.push((number, bytes.to_vec(), ended, cut));
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

/// Gives its bytes in chunks of one size.
struct Chunks<'a>(&'a [u8], usize);

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (now, later) = self.0.split_at(self.1.min(self.0.len()).min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(now.len())
    }
}

fn pass(said: &[u8], chunk: usize, line_bytes: u32, total_bytes: u64) -> (Kept, OutputCount) {
    let bounds = OutputBounds {
        line_bytes,
        total_bytes,
    };
    let (ledger, mut kept) = (Ledger::default(), Kept::default());
    let mut reader = Chunks(said, chunk);
    assert!(pass_on(
        &mut reader,
        Stream::Stdout,
        bounds,
        &ledger,
        &mut kept
    ));
    let counts = lock(&ledger).counts;
    (kept, counts)
}

#[test]
fn lines_are_numbered_and_whole_whatever_the_chunks() {
    for chunk in 1..20 {
        let (kept, counts) = pass(b"one\n\ntwo\xff\nrest", chunk, 64, 1000);
        assert_eq!(
            kept.lines,
            [
                (1, b"one".to_vec(), true, false),
                (2, vec![], true, false),
                (3, b"two\xff".to_vec(), true, false),
                (4, b"rest".to_vec(), false, false),
            ]
        );
        assert_eq!(
            (counts.lines, counts.stdout_bytes, counts.dropped_bytes),
            (4, 14, 0)
        );
    }
}

#[test]
fn a_long_line_is_cut_and_its_rest_counted() {
    for chunk in [1, 3, 7, 500] {
        let said = [vec![b'x'; 100], b"\nafter\n".to_vec()].concat();
        let (kept, counts) = pass(&said, chunk, 64, 1000);
        assert_eq!(kept.lines[0], (1, vec![b'x'; 64], true, true));
        assert_eq!(kept.lines[1], (2, b"after".to_vec(), true, false));
        assert_eq!(
            (counts.cut_lines, counts.dropped_bytes, counts.dropped_lines),
            (1, 36, 0)
        );
    }
}

#[test]
fn every_byte_is_either_kept_or_counted_as_dropped() {
    let said = b"a\nbb\nccc\n\n\ndddd\neeeee".repeat(7);
    for chunk in [1, 2, 5, 13, 1000] {
        for total in [0, 1, 10, 30, 1000] {
            let (kept, counts) = pass(&said, chunk, 64, total);
            let passed: usize = kept
                .lines
                .iter()
                .map(|(_, bytes, ended, _)| bytes.len() + usize::from(*ended))
                .sum();
            let context = format!("chunk {chunk}, total {total}");
            assert_eq!(
                passed as u64 + counts.dropped_bytes,
                said.len() as u64,
                "{context}"
            );
            assert_eq!(kept.lines.len() as u64 + counts.dropped_lines, counts.lines);
            let ends = memchr::memchr_iter(b'\n', &said).count() as u64;
            assert_eq!(counts.lines, ends + 1, "{context}");
            // A line that begins below the bound is whole; numbers have no gap before it.
            let numbers: Vec<u64> = kept.lines.iter().map(|line| line.0).collect();
            assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
        }
    }
}

#[test]
fn two_streams_share_numbers_and_bounds() {
    let bounds = OutputBounds {
        line_bytes: 64,
        total_bytes: 8,
    };
    let (ledger, mut kept) = (Ledger::default(), Kept::default());
    for (stream, said) in [(Stream::Stdout, b"one\n"), (Stream::Stderr, b"two\n")] {
        pass_on(&mut Chunks(said, 9), stream, bounds, &ledger, &mut kept);
    }
    pass_on(
        &mut Chunks(b"three\n", 9),
        Stream::Stdout,
        bounds,
        &ledger,
        &mut kept,
    );
    let numbers: Vec<u64> = kept.lines.iter().map(|line| line.0).collect();
    assert_eq!(numbers, [1, 2]);
    let counts = lock(&ledger).counts;
    assert_eq!((counts.stdout_bytes, counts.stderr_bytes), (10, 4));
    assert_eq!((counts.lines, counts.dropped_lines), (3, 1));
}

#[test]
fn a_broken_sink_is_told_and_the_rest_still_read() {
    let bounds = OutputBounds {
        line_bytes: 64,
        total_bytes: 1000,
    };
    let ledger = Ledger::default();
    let mut kept = Kept {
        broken: true,
        ..Kept::default()
    };
    let said = b"line\n".repeat(10);
    let delivered = pass_on(
        &mut Chunks(&said, 5),
        Stream::Stderr,
        bounds,
        &ledger,
        &mut kept,
    );
    assert!(!delivered);
    assert_eq!(lock(&ledger).counts.stderr_bytes, 50);
}

#[test]
fn a_command_that_never_was_has_said_nothing() {
    let bounds = OutputBounds {
        line_bytes: 64,
        total_bytes: 1000,
    };
    let (relay, pipes) = relay(bounds, None).unwrap();
    drop(pipes);
    let expected = OutputCount {
        delivered: true,
        ..OutputCount::default()
    };
    assert_eq!(relay.finish(), expected);
}

/// What a command that says this is heard to say by the operator, to whom this token is shown.
fn copied(said: &[u8], token: &str, total_bytes: u64) -> Vec<u8> {
    let bounds = OutputBounds {
        line_bytes: 64,
        total_bytes,
    };
    let file = format!("cloister-copy-{}-{token}", std::process::id());
    let file = std::env::temp_dir().join(file);
    std::fs::write(&file, token).unwrap();
    let outlet = Outlet::default();
    let session = Session {
        outlet: &outlet,
        token: &file,
    };
    let (relay, pipes) = relay(bounds, Some(session)).unwrap();
    io::Write::write_all(&mut File::from(pipes.stderr), said).unwrap();
    drop(pipes.stdout);
    relay.finish();
    std::fs::remove_file(file).unwrap();
    let rest = outlet.with(spool::Spool::rest);
    rest.into_iter().flat_map(|piece| piece.text).collect()
}

#[test]
fn the_operators_copy_is_all_of_it_whatever_the_log_is_given() {
    let said = b"one\ntwo\nthree\n";
    assert_eq!(copied(said, "the-token-all", 8), said);
    assert_eq!(copied(said, "the-token-none", 0), b"");
}

#[test]
fn the_operators_copy_does_not_show_its_token() {
    let said = b"one the-token-shown\n";
    assert_eq!(copied(said, "the-token-shown", 100), b"one [redacted]\n");
}
