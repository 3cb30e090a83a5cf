//! The command's output on its way to the operator: the newest of each stream, how far it has
//! been said, and how far heard. Pure.
//!
//! In: bytes as they are read. Out: [`Piece`]s, each with its place in its stream. Nothing here
//! ever waits: what there is no room for goes, the oldest first, and is a gap between the places
//! of two pieces. Memory is [`KEPT`] a stream. What was heard is kept as well, as long as there is
//! room, for an operator that comes later and has heard nothing.

use contract::serve::MAX_OUTPUT_BYTES;
use memchr::{memchr, memchr_iter, memrchr};

use super::sink::Stream;

/// Bytes that are kept of a stream, so that neither drives out the other. Both together fit into
/// what may be under way to the operator before it has read any (64 KiB): the last words of a run
/// wait for nothing.
pub const KEPT: usize = 2 * MAX_OUTPUT_BYTES;
/// Bytes of both streams that may be said and not heard yet, gaps among them.
const WINDOW: u64 = 4 * MAX_OUTPUT_BYTES as u64;
/// How much more is let go where a line is cut, so that what is kept begins with one.
const SPARE: usize = 1024;

/// Part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which.
    pub stream: Stream,
    /// Bytes of the stream before it.
    pub place: u64,
    /// Line ends of the stream before it.
    pub lines: u64,
    /// At most [`MAX_OUTPUT_BYTES`]; up to a line's end, where there is one.
    pub text: Vec<u8>,
}

/// How far each stream has been heard: stdout, stderr.
pub type Places = [u64; 2];

/// Both streams.
#[derive(Debug, Default)]
pub struct Spool {
    tapes: [Tape; 2],
    /// Whose turn it is, if both have something to say.
    turn: usize,
}

impl Spool {
    /// Takes what was said. Gives whether that is news: before it, everything had been said.
    pub fn put(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        let is_news = self.tapes.iter().all(Tape::is_said);
        self.tapes[stream as usize].put(bytes);
        is_news
    }

    /// Whether there is something that may be said now.
    pub fn waits(&self) -> bool {
        let under_way: u64 = self.tapes.iter().map(Tape::under_way).sum();
        under_way < WINDOW && !self.tapes.iter().all(Tape::is_said)
    }

    /// What is to be said next, if it may be.
    pub fn piece(&mut self) -> Option<Piece> {
        if self.waits() { self.say() } else { None }
    }

    /// All that has not been said, whether it was heard how much was.
    pub fn rest(&mut self) -> Vec<Piece> {
        std::iter::from_fn(|| self.say()).collect()
    }

    /// Everything up to here has been heard.
    pub fn heard(&mut self, places: Places) {
        for (tape, place) in self.tapes.iter_mut().zip(places) {
            tape.heard = tape.heard.max(place.min(tape.said));
        }
    }

    /// A new session, in which everything up to here need not be said again.
    pub fn resume(&mut self, places: Places) {
        for (tape, place) in self.tapes.iter_mut().zip(places) {
            tape.said = place.min(tape.end());
            tape.heard = tape.said;
        }
    }

    fn say(&mut self) -> Option<Piece> {
        let order = [self.turn, 1 - self.turn];
        let stream = order.into_iter().find(|&one| !self.tapes[one].is_said())?;
        self.turn = 1 - stream;
        let (place, lines, text) = self.tapes[stream].say();
        Some(Piece {
            stream: [Stream::Stdout, Stream::Stderr][stream],
            place,
            lines,
            text,
        })
    }
}

/// One stream.
#[derive(Debug, Default)]
struct Tape {
    /// The newest of it.
    kept: Vec<u8>,
    /// Bytes and line ends that came before that.
    place: u64,
    lines: u64,
    /// Up to here it has been said, and heard.
    said: u64,
    heard: u64,
}

impl Tape {
    fn end(&self) -> u64 {
        self.place + length(&self.kept)
    }

    fn is_said(&self) -> bool {
        self.said >= self.end()
    }

    const fn under_way(&self) -> u64 {
        self.said.saturating_sub(self.heard)
    }

    fn put(&mut self, bytes: &[u8]) {
        let (over, newest) = bytes.split_at(bytes.len().saturating_sub(KEPT));
        let room = KEPT - newest.len();
        self.forget(self.kept.len().saturating_sub(room));
        // Something was over only where that left nothing.
        self.place += length(over);
        self.lines += ends(over);
        self.kept.reserve_exact(KEPT - self.kept.len());
        self.kept.extend_from_slice(newest);
    }

    /// Lets the oldest go: so much, or up to the next line if that is near.
    fn forget(&mut self, least: usize) {
        let is_cut = least > 0 && self.kept.get(least - 1) != Some(&b'\n');
        let near = &self.kept[least..self.kept.len().min(least + SPARE)];
        let more = memchr(b'\n', near).filter(|_| is_cut);
        let end = least + more.map_or(0, |at| at + 1);
        self.place += end as u64;
        self.lines += ends(&self.kept[..end]);
        self.kept.drain(..end);
    }

    /// The next piece: its place, the lines before it, and the text. Something is left to say.
    fn say(&mut self) -> (u64, u64, Vec<u8>) {
        let from = self.said.max(self.place);
        // Within what is kept, which fits into memory.
        let skip = usize::try_from(from - self.place).unwrap_or(self.kept.len());
        let (before, rest) = self.kept.split_at(skip);
        let most = &rest[..rest.len().min(MAX_OUTPUT_BYTES)];
        let whole = memrchr(b'\n', most).filter(|_| most.len() < rest.len());
        let text = whole.map_or(most, |end| &most[..=end]).to_vec();
        let lines = self.lines + ends(before);
        self.said = from + length(&text);
        (from, lines, text)
    }
}

fn ends(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

const fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(spool: &mut Spool, said: &[u8]) {
        spool.put(Stream::Stdout, said);
    }

    fn piece(place: u64, lines: u64, text: &[u8]) -> Piece {
        Piece {
            stream: Stream::Stdout,
            place,
            lines,
            text: text.to_vec(),
        }
    }

    #[test]
    fn what_was_said_is_given_once_with_its_place() {
        let mut spool = Spool::default();
        assert!(!spool.waits());
        assert!(spool.put(Stream::Stdout, b"one\ntw"));
        assert!(!spool.put(Stream::Stdout, b"o\n"), "it waits already");
        assert_eq!(spool.piece(), Some(piece(0, 0, b"one\ntwo\n")));
        assert_eq!(spool.piece(), None);
        assert!(spool.put(Stream::Stdout, b"\0\xff"));
        assert_eq!(spool.piece(), Some(piece(8, 2, b"\0\xff")));
    }

    #[test]
    fn pieces_are_bounded_and_end_with_lines_where_there_are_any() {
        let mut spool = Spool::default();
        let lines = b"123456789\n".repeat(2000);
        put(&mut spool, &lines);
        let rest = spool.rest();
        assert_eq!(rest.len(), 2);
        assert_eq!((rest[0].text.len(), rest[1].lines), (12_280, 1228));
        assert_eq!(rest.concat_text(), lines);
        // Without any, cut at the bound.
        let mut spool = Spool::default();
        put(&mut spool, &vec![b'x'; 20_000]);
        assert_eq!(spool.rest()[0].text.len(), MAX_OUTPUT_BYTES);
    }

    trait ConcatText {
        fn concat_text(&self) -> Vec<u8>;
    }

    impl ConcatText for Vec<Piece> {
        fn concat_text(&self) -> Vec<u8> {
            self.iter().flat_map(|piece| piece.text.clone()).collect()
        }
    }

    #[test]
    fn what_there_is_no_room_for_goes_oldest_first_and_is_counted() {
        for chunk in [1, 7, 4096, 30_000, 65_536] {
            let mut spool = Spool::default();
            let line = b"a line of 25 bytes, so...\n";
            let said = line.repeat(4000);
            for part in said.chunks(chunk) {
                put(&mut spool, part);
                assert!(spool.tapes[0].kept.len() <= KEPT, "{chunk}");
                assert!(spool.tapes[0].kept.capacity() <= KEPT, "{chunk}");
            }
            let rest = spool.rest();
            let first = &rest[0];
            let text = rest.concat_text();
            assert!(
                text.len() > KEPT - SPARE && said.ends_with(&text),
                "{chunk}"
            );
            assert_eq!(first.place + text.len() as u64, said.len() as u64);
            let before = usize::try_from(first.place).unwrap();
            assert_eq!(first.lines, ends(&said[..before]), "{chunk}");
        }
        // And from line to line, unless one chunk is more than all the room there is.
        let mut spool = Spool::default();
        (0..4000).for_each(|_| put(&mut spool, b"a line of 25 bytes, so...\n"));
        assert_eq!(spool.rest()[0].place % 26, 0);
    }

    #[test]
    fn one_stream_does_not_drive_out_the_other() {
        let mut spool = Spool::default();
        spool.put(Stream::Stderr, b"why\n");
        put(&mut spool, &vec![b'x'; 1 << 20]);
        let rest = spool.rest();
        let said = rest.iter().find(|piece| piece.stream == Stream::Stderr);
        assert_eq!(said.unwrap().text, b"why\n");
        assert!(rest.iter().map(|piece| piece.text.len()).sum::<usize>() <= 2 * KEPT);
    }

    #[test]
    fn both_have_their_turn() {
        let mut spool = Spool::default();
        let mut streams = Vec::new();
        for _ in 0..4 {
            for stream in [Stream::Stdout, Stream::Stderr] {
                spool.put(stream, &vec![b'x'; 2 * MAX_OUTPUT_BYTES]);
            }
            streams.extend(spool.piece().map(|piece| piece.stream));
            let said = spool.tapes.each_ref().map(|tape| tape.said);
            spool.heard(said);
        }
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        assert_eq!(streams, [out, err, out, err]);
    }

    #[test]
    fn no_more_is_under_way_than_the_window_and_the_rest_is_told_regardless() {
        let mut spool = Spool::default();
        let mut said: u64 = 0;
        for _ in 0..100 {
            put(&mut spool, &vec![b'x'; MAX_OUTPUT_BYTES]);
            said += spool.piece().map_or(0, |piece| piece.text.len() as u64);
        }
        assert_eq!(said, WINDOW);
        spool.heard([WINDOW, 0]);
        let next = spool.piece().unwrap();
        assert!(next.place > WINDOW, "a gap: {}", next.place);
        assert!(!spool.waits());
        let rest = spool.rest();
        assert_eq!(rest[0].place, next.place + MAX_OUTPUT_BYTES as u64);
        // Older news, and such of what was never said, change nothing.
        spool.heard([1, 1 << 40]);
        assert_eq!(spool.tapes.each_ref().map(|tape| tape.heard), [WINDOW, 0]);
    }

    #[test]
    fn a_new_session_is_told_what_the_last_one_was_not_heard_to_be() {
        let mut spool = Spool::default();
        put(&mut spool, b"one\ntwo\nthree\n");
        spool.rest();
        spool.resume([4, 0]);
        assert_eq!(spool.rest(), [piece(4, 1, b"two\nthree\n")]);
        // An operator that has heard nothing gets all that is there.
        spool.resume([0, 0]);
        assert_eq!(spool.rest(), [piece(0, 0, b"one\ntwo\nthree\n")]);
        // Nobody has heard what was never said.
        spool.resume([1 << 40, 7]);
        assert_eq!(spool.rest(), []);
        put(&mut spool, b"four\n");
        assert_eq!(spool.rest(), [piece(14, 3, b"four\n")]);
    }
}
