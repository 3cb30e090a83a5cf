//! What the command says is told to the operator, too: in order, once, without holding it up,
//! and before its end.

use std::fs;
use std::io::Read as _;
use std::time::Duration;

use contract::dispatch::{Heard, Output, Run as Which, Stream, order, report};
use contract::run::{Ending, Exit, Outcome, RunReport};
use contract::serve::MAX_OUTPUT_BYTES;
use serde_json::json;

use crate::harness::Run;
use crate::operator::{Authority, Operator, Session};
use crate::serve::{Sandbox, hear_started, hello, welcome, which};

/// What an operator has put together of it.
#[derive(Default)]
struct Copy {
    text: [Vec<u8>; 2],
    /// Where the next piece begins, if it follows on.
    places: [u64; 2],
    pieces: usize,
    /// Bytes that never came.
    missing: u64,
}

impl Copy {
    fn take(&mut self, output: &Output) {
        assert!(output.text.len() <= MAX_OUTPUT_BYTES);
        let stream = usize::from(output.stream() == Stream::Stderr);
        assert!(output.place >= self.places[stream], "said again");
        self.missing += output.place - self.places[stream];
        self.places[stream] = output.place + output.text.len() as u64;
        self.text[stream].extend_from_slice(&output.text);
        self.pieces += 1;
    }

    /// Until the command has ended; says each time what was heard, if it is to.
    fn until_the_end(&mut self, session: &Session, run: &Which, acknowledge: bool) -> Ending {
        loop {
            match session.hear() {
                report::Kind::Output(output) => {
                    self.take(&output);
                    if acknowledge {
                        session.say(order::Kind::Heard(self.heard(run)));
                    }
                }
                report::Kind::Ended(ended) => {
                    let report: RunReport = serde_json::from_slice(&ended.report).unwrap();
                    match report.outcome {
                        Outcome::Ended(ending) => return ending,
                        Outcome::Refused(refusal) => panic!("refused: {refusal:?}"),
                    }
                }
                report::Kind::Proof(_) | report::Kind::Started(_) => {}
                report::Kind::Hello(hello) => panic!("{hello:?}"),
            }
        }
    }

    fn heard(&self, run: &Which) -> Heard {
        let [stdout, stderr] = self.places;
        let run = Some(run.clone());
        Heard {
            run,
            stdout,
            stderr,
        }
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.text[0]).into_owned()
    }
}

/// A run that was begun, over its first session.
fn begin(run: Run) -> (Authority, Operator, Sandbox, Session) {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let contract = run.contract.to_string();
    let sandbox = Sandbox::start(run, &operator, &authority);
    let session = welcome(&operator);
    session.assign(&which("a"), &contract);
    hear_started(&session, &which("a"));
    (authority, operator, sandbox, session)
}

#[test]
fn what_a_short_run_says_comes_before_its_end() {
    let run = Run::shell("echo one; printf 'why\\0' >&2; exit 3");
    let (_authority, _operator, sandbox, session) = begin(run);
    let mut copy = Copy::default();
    let ending = copy.until_the_end(&session, &which("a"), false);
    assert_eq!(ending.exit, Exit::Code(3));
    assert_eq!(copy.text, [b"one\n".to_vec(), b"why\0".to_vec()]);
    assert_eq!((copy.pieces, copy.missing), (2, 0));
    assert!(ending.wall_ms < 200, "{} ms", ending.wall_ms);
    sandbox.terminate();
    let (_, stdout, _) = sandbox.end();
    assert_eq!(stdout, "one\n", "and it is in the log");
}

#[test]
fn nobody_is_told_the_token() {
    let run = Run::shell("echo a the-token; printf 'the-to' >&2; sleep 0.1; echo ken b >&2");
    let (_authority, _operator, sandbox, session) = begin(run);
    let mut copy = Copy::default();
    copy.until_the_end(&session, &which("a"), false);
    let clean = ["a [redacted]\n", "[redacted] b\n"];
    assert_eq!(copy.text, clean.map(|text| text.as_bytes().to_vec()));
    sandbox.terminate();
    let (_, stdout, stderr) = sandbox.end();
    assert_eq!([&*stdout, &*stderr], clean, "nor is it in the log");
}

#[test]
fn what_a_long_run_says_comes_while_it_runs() {
    let run = Run::shell("echo begun; while [ ! -e go ]; do sleep 0.01; done; echo over");
    let go = run.directory.join("work/go");
    let (_authority, _operator, _sandbox, session) = begin(run);
    let mut copy = Copy::default();
    match session.hear() {
        report::Kind::Output(output) => copy.take(&output),
        other => panic!("not output: {other:?}"),
    }
    assert_eq!(copy.stdout(), "begun\n");
    fs::write(go, "").unwrap();
    copy.until_the_end(&session, &which("a"), false);
    assert_eq!(copy.stdout(), "begun\nover\n");
}

#[test]
fn every_line_comes_once_and_in_order_whoever_listens() {
    let counting = "i=0; while [ ! -e go ]; do i=$((i+1)); echo $i; sleep 0.005; done";
    let run = Run::shell(counting);
    let go = run.directory.join("work/go");
    let (authority, operator, _sandbox, session) = begin(run);
    let run = which("a");
    let mut copy = Copy::default();
    for _ in 0..2 {
        match session.hear() {
            report::Kind::Output(output) => copy.take(&output),
            other => panic!("not output: {other:?}"),
        }
    }
    // Gone without a word, for longer than a piece takes; the next one knows what it heard.
    let address = operator.address;
    drop((session, operator));
    std::thread::sleep(Duration::from_millis(700));
    let operator = Operator::at(address, &authority);
    let session = operator.session();
    assert_eq!(hello(&session).run.as_ref(), Some(&run));
    session.welcome_back(b"resume-2", Some(copy.heard(&run)));
    let mut before = copy.pieces;
    while copy.pieces < before + 2 {
        match session.hear() {
            report::Kind::Output(output) => copy.take(&output),
            report::Kind::Started(_) => {}
            other => panic!("not output: {other:?}"),
        }
    }
    // One that knows nothing gets all that is there, which here is everything.
    drop(session);
    let session = operator.session();
    assert_eq!(hello(&session).run.as_ref(), Some(&run));
    session.welcome(b"resume-3");
    let mut anew = Copy::default();
    fs::write(go, "").unwrap();
    let ending = anew.until_the_end(&session, &run, true);
    before = usize::try_from(ending.output.lines).unwrap();
    let numbers: Vec<String> = (1..=before).map(|line| line.to_string()).collect();
    let expected = numbers.join("\n") + "\n";
    assert!(expected.len() > copy.stdout().len(), "{before} lines");
    assert_eq!((anew.stdout(), anew.missing), (expected.clone(), 0));
    assert!(expected.starts_with(&copy.stdout()), "{}", copy.stdout());
    assert_eq!(copy.missing, 0);
}

#[test]
fn a_flood_holds_up_neither_the_command_nor_its_end_though_nobody_hears_it() {
    // Nothing is heard for most of it, and the operator here waits 10 s for a word.
    let mut run = Run::shell("yes | head -c 200000000; echo last; echo why >&2");
    run.contract["output"]["totalBytes"] = json!(100_000);
    run.contract["time"]["limitMs"] = json!(60_000);
    let (_authority, _operator, mut sandbox, session) = begin(run);
    let mut stdout = sandbox.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()).unwrap());
    let supervisor = sandbox.supervisor().as_raw_pid();
    let mut copy = Copy::default();
    let ending = copy.until_the_end(&session, &which("a"), false);
    assert_eq!(ending.exit, Exit::Code(0));
    // Four that nobody has heard, or fewer with gaps between them, and the two spools.
    assert!(copy.pieces <= 9, "{} pieces", copy.pieces);
    let said = ending.output.stdout_bytes + ending.output.stderr_bytes;
    let came: usize = copy.text.iter().map(Vec::len).sum();
    assert_eq!(came as u64 + copy.missing, said);
    assert!(copy.stdout().ends_with("y\nlast\n"));
    assert_eq!(copy.text[1], b"why\n");
    let rate = 1000 * 200_000_000 / ending.wall_ms.max(1) / 1_000_000;
    let status = fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    println!(
        "200 MB in {} ms: {rate} MB/s; {peak:?}; {} pieces, {came} bytes",
        ending.wall_ms, copy.pieces
    );
    sandbox.terminate();
    sandbox.child.wait().unwrap();
    assert_eq!(reader.join().unwrap(), 100_000, "what the log was given");
}

#[test]
fn a_flood_that_is_heard_comes_in_a_few_pieces_a_second() {
    let mut run = Run::shell("yes");
    run.contract["output"]["totalBytes"] = json!(1000);
    run.contract["time"] = json!({ "limitMs": 2000, "graceMs": 100 });
    let (_authority, _operator, _sandbox, session) = begin(run);
    let mut copy = Copy::default();
    copy.until_the_end(&session, &which("a"), true);
    // Five a second, and what was left at the end.
    assert!((5..=13).contains(&copy.pieces), "{}", copy.pieces);
    assert!(copy.missing > 1_000_000, "{}", copy.missing);
}

#[test]
fn where_logs_are_off_nothing_is_told() {
    let mut run = Run::shell("echo one; sleep 0.5; echo two >&2");
    run.contract["output"]["totalBytes"] = json!(0);
    let (_authority, _operator, _sandbox, session) = begin(run);
    let mut copy = Copy::default();
    let ending = copy.until_the_end(&session, &which("a"), false);
    assert_eq!((copy.pieces, ending.output.lines), (0, 2));
}

#[test]
fn who_is_ended_by_its_timeout_has_said_what_it_said() {
    let mut run = Run::shell("printf 'waiting for '; exec sleep 60");
    run.contract["time"] = json!({ "limitMs": 500, "graceMs": 100 });
    let (_authority, _operator, _sandbox, session) = begin(run);
    let mut copy = Copy::default();
    let ending = copy.until_the_end(&session, &which("a"), false);
    assert_eq!(ending.cause, contract::run::Cause::TimedOut);
    assert_eq!(copy.stdout(), "waiting for ");
}
