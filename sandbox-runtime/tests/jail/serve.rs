//! A sandbox from its start to its end, against an operator over real TLS: it proves itself, is
//! given a run, says how it ended, and loses neither on the way.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use contract::dispatch::{Hello, Look, Run as Which, order, report};
use contract::run::{Cause, Ending, Exit, Outcome, RefusalReason, RunReport};
use contract::serve::SERVE_VERSION;
use contract::{ProbeReport, Saw, VERSION};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Run, alive, eventually};
use crate::operator::{Authority, Operator, Session};

/// Most processes of its user, from its start on.
const PROCESSES: u64 = 4000;

/// A sandbox that serves, as process 1 of its container. Killed with all in it when dropped.
pub struct Sandbox {
    pub run: Run,
    pub child: Child,
}

impl Sandbox {
    /// For the operator at this address, with a probe of nothing that takes no time.
    pub fn start(run: Run, operator: &Operator, authority: &Authority) -> Self {
        Self::told(run, operator, authority, &json!({}))
    }

    /// The same, with these fields in its configuration.
    pub fn told(run: Run, operator: &Operator, authority: &Authority, fields: &Value) -> Self {
        fs::write(run.directory.join("token"), "the-token\n").unwrap();
        let mut config = json!({
            "version": SERVE_VERSION,
            "dispatch": format!("localhost:{}", operator.address.port()),
            "authorities": authority.pem(),
            "token": run.path("token"),
            "probe": { "version": VERSION, "timeoutMs": 2000, "targets": [], "places": [] },
            "probeIntervalMs": 1000,
            "processes": PROCESSES,
        });
        for (field, value) in fields.as_object().unwrap() {
            config[field] = value.clone();
        }
        let mut command = run.contained();
        command.arg(run.path("bin/cloister-sandbox")).args([
            "serve",
            "--config",
            &config.to_string(),
        ]);
        let child = command.spawn().unwrap();
        Self { run, child }
    }

    pub fn supervisor(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let number = eventually(|| fs::read_to_string(&path).ok()?.trim().parse().ok());
        Pid::from_raw(number).unwrap()
    }

    pub fn terminate(&self) {
        kill_process(self.supervisor(), Signal::TERM).unwrap();
    }

    /// Waits until the command has made this file.
    pub fn wait_for(&self, file: &str) {
        let path = self.run.directory.join("work").join(file);
        eventually(|| path.exists().then_some(()));
    }

    /// The exit code, and what the pod's log holds, once it has ended.
    pub fn end(mut self) -> (Option<i32>, String, String) {
        let status = eventually(|| self.child.try_wait().unwrap());
        assert_eq!(status.signal(), None, "it was not killed");
        let read = |stream: &mut dyn std::io::Read| {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let stdout = read(self.child.stdout.as_mut().unwrap());
        let stderr = read(self.child.stderr.as_mut().unwrap());
        (status.code(), stdout, stderr)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Process 1, which takes all others with it. The kernel forgets that it was to die
        // with its parent when it becomes another user.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.supervisor(), Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

pub fn which(execution: &str) -> Which {
    Which {
        execution: execution.to_owned(),
        attempt: 1,
    }
}

pub fn hello(session: &Session) -> Hello {
    match session.hear() {
        report::Kind::Hello(hello) => hello,
        other => panic!("not a hello: {other:?}"),
    }
}

/// Welcomes a sandbox that has no run.
pub fn welcome(operator: &Operator) -> Session {
    let session = operator.session();
    assert_eq!(hello(&session).run, None);
    session.welcome(b"resume-1");
    session
}

pub fn hear_started(session: &Session, run: &Which) {
    match session.hear_of_run() {
        report::Kind::Started(started) => assert_eq!(started.run.as_ref(), Some(run)),
        other => panic!("not a start: {other:?}"),
    }
}

/// A sandbox with these fields in its configuration, whose run `a` has started.
pub fn begun(
    run: Run,
    operator: &Operator,
    authority: &Authority,
    fields: &Value,
) -> (Sandbox, Session) {
    let contract = run.contract.to_string();
    let sandbox = Sandbox::told(run, operator, authority, fields);
    let session = welcome(operator);
    session.assign(&which("a"), &contract);
    hear_started(&session, &which("a"));
    (sandbox, session)
}

fn hear_outcome(session: &Session, run: &Which) -> Outcome {
    match session.hear_of_run() {
        report::Kind::Ended(ended) => {
            assert_eq!(ended.run.as_ref(), Some(run));
            let report: RunReport = serde_json::from_slice(&ended.report).unwrap();
            report.outcome
        }
        other => panic!("not an end: {other:?}"),
    }
}

fn hear_ending(session: &Session, run: &Which) -> Ending {
    match hear_outcome(session, run) {
        Outcome::Ended(ending) => ending,
        Outcome::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

#[test]
fn a_sandbox_shows_its_token_proves_itself_and_goes_when_asked() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let sandbox = Sandbox::start(Run::shell("true"), &operator, &authority);
    let session = operator.session();
    assert_eq!(session.authorization, "Bearer the-token");
    let expected = Hello {
        version: 2,
        resume: vec![],
        run: None,
    };
    assert_eq!(hello(&session), expected);
    let early = session.is_silent(Duration::from_millis(300));
    assert!(early, "nothing is said before the welcome");
    session.welcome(b"resume-1");
    for _ in 0..2 {
        let report::Kind::Proof(proof) = session.hear() else {
            panic!("not a proof");
        };
        let report: ProbeReport = serde_json::from_slice(&proof.report).unwrap();
        assert!(report.inside.no_new_privs || report.inside.capabilities == 0);
        let held = report.inside.process_limit.is_within(PROCESSES);
        assert!(held, "{:?}", report.inside);
        assert!(proof.age_ms < 2000, "{}", proof.age_ms);
    }
    sandbox.terminate();
    let (code, stdout, stderr) = sandbox.end();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn a_run_is_started_and_its_end_is_told_with_its_output_in_the_log() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let mut run = Run::shell("cat; echo aside >&2; printf done > result; exit 7");
    run.contract["input"] = json!({ "text": "given", "file": run.path("work/input") });
    run.contract["result"] = json!(run.path("work/result"));
    let contract = run.contract.to_string();
    let sandbox = Sandbox::start(run, &operator, &authority);
    let session = welcome(&operator);
    let which = which("a");
    session.assign(&which, &contract);
    hear_started(&session, &which);
    let ending = hear_ending(&session, &which);
    assert_eq!(
        (ending.exit, ending.cause),
        (Exit::Code(7), Cause::Completed)
    );
    assert_eq!(
        ending.result,
        contract::run::RunResult::Text("done".to_owned())
    );
    // A second one is never run, whichever it is, and no look is said any more.
    session.assign(&which, &contract);
    session.assign(&self::which("b"), &contract);
    assert!(session.is_silent(Duration::from_millis(1500)));
    sandbox.terminate();
    let (code, stdout, stderr) = sandbox.end();
    assert_eq!((code, stdout.as_str()), (Some(0), "given"));
    assert_eq!(stderr, "aside\n", "the log is the command's");
}

#[test]
fn a_run_outlives_its_session_and_its_end_is_said_to_the_next_operator() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let run = Run::shell(": > ready; while [ ! -e go ]; do sleep 0.01; done; exit 3");
    let go = run.directory.join("work/go");
    let (sandbox, session) = begun(run, &operator, &authority, &json!({}));
    let which = which("a");
    sandbox.wait_for("ready");

    // Closed in order, and opened again within a moment.
    let begin = Instant::now();
    drop(session);
    let session = operator.session();
    println!("back after {:?}", begin.elapsed());
    let again = hello(&session);
    assert_eq!(again.resume, b"resume-1");
    assert_eq!(again.run.as_ref(), Some(&which));
    session.welcome(b"resume-2");
    hear_started(&session, &which);

    // Gone without a word. It ends while nobody listens.
    let address = operator.address;
    drop((session, operator));
    fs::write(go, "").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let operator = Operator::at(address, &authority);
    let session = operator.session();
    assert_eq!(session.authorization, "Bearer the-token");
    assert_eq!(hello(&session).resume, b"resume-2");
    session.welcome(b"resume-3");
    hear_started(&session, &which);
    assert_eq!(hear_ending(&session, &which).exit, Exit::Code(3));
}

/// Whoever deletes it, it is not the operator, which has not heard the end: a drain, for one.
#[test]
fn an_end_that_nobody_has_heard_is_said_before_a_sandbox_that_is_deleted_goes() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let run = Run::shell("while [ ! -e go ]; do sleep 0.01; done; : > gone; exit 3");
    let go = run.directory.join("work/go");
    let (sandbox, session) = begun(run, &operator, &authority, &json!({}));
    let which = which("a");
    let address = operator.address;
    drop((session, operator));
    fs::write(go, "").unwrap();
    sandbox.wait_for("gone");
    std::thread::sleep(Duration::from_millis(200));
    sandbox.terminate();
    let operator = Operator::at(address, &authority);
    let session = operator.session();
    assert_eq!(hello(&session).run.as_ref(), Some(&which));
    session.welcome(b"resume-2");
    hear_started(&session, &which);
    assert_eq!(hear_ending(&session, &which).exit, Exit::Code(3));
    assert_eq!(sandbox.end().0, Some(0));
}

/// What it takes to dial is there before the command, which leaves nothing.
#[test]
fn a_sandbox_whose_command_takes_every_process_still_dials() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let mut run = Run::shell("");
    let inside = run.path("bin/probe-inside");
    let script = format!("{inside} processes 1000; : > full; exec sleep 60");
    run.contract["arguments"] = json!(["-c", script]);
    let few = json!({ "processes": 60 });
    let (mut sandbox, session) = begun(run, &operator, &authority, &few);
    let which = which("a");
    sandbox.wait_for("full");
    // Longer than a thread stays that has nothing to do, where nobody says how long.
    std::thread::sleep(Duration::from_secs(11));
    drop(session);
    let session = operator.session();
    assert_eq!(hello(&session).run.as_ref(), Some(&which));
    assert!(sandbox.child.try_wait().unwrap().is_none());
}

#[test]
fn a_cancel_ends_the_run_and_not_the_sandbox() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let run = Run::command("sleep", &["4715.25"]);
    let contract = run.contract.to_string();
    let mut sandbox = Sandbox::start(run, &operator, &authority);
    let session = welcome(&operator);
    let which = which("a");
    session.assign(&which, &contract);
    hear_started(&session, &which);
    session.cancel(&self::which("b"));
    assert!(session.is_silent(Duration::from_millis(200)));
    session.cancel(&which);
    let ending = hear_ending(&session, &which);
    assert_eq!(
        (ending.exit, ending.cause),
        (Exit::Signal(15), Cause::Canceled)
    );
    assert_eq!(alive("4715.25"), 0);
    std::thread::sleep(Duration::from_millis(200));
    assert!(sandbox.child.try_wait().unwrap().is_none(), "it lives");
    sandbox.terminate();
    assert_eq!(sandbox.end().0, Some(0));
}

#[test]
fn a_cancel_that_comes_with_the_run_is_not_lost() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let run = Run::command("sleep", &["4716.25"]);
    let contract = run.contract.to_string();
    let _sandbox = Sandbox::start(run, &operator, &authority);
    let session = welcome(&operator);
    let which = which("a");
    session.assign(&which, &contract);
    session.cancel(&which);
    hear_started(&session, &which);
    assert_eq!(hear_ending(&session, &which).cause, Cause::Canceled);
}

#[test]
fn a_sandbox_that_is_deleted_while_it_runs_says_how_that_ended_and_goes() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let run = Run::shell("trap 'exit 4' TERM; : > ready; while :; do sleep 0.02; done");
    let contract = run.contract.to_string();
    let sandbox = Sandbox::start(run, &operator, &authority);
    let session = welcome(&operator);
    let which = which("a");
    session.assign(&which, &contract);
    hear_started(&session, &which);
    sandbox.wait_for("ready");
    sandbox.terminate();
    let ending = hear_ending(&session, &which);
    assert_eq!(
        (ending.exit, ending.cause),
        (Exit::Code(4), Cause::Canceled)
    );
    assert_eq!(sandbox.end().0, Some(0));
}

#[test]
fn an_operator_of_another_authority_is_never_spoken_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let operator = Operator::start(&other);
    let sandbox = Sandbox::start(Run::shell("true"), &operator, &authority);
    assert!(operator.is_left_alone(Duration::from_secs(2)));
    sandbox.terminate();
    let (code, _, stderr) = sandbox.end();
    assert_eq!(code, Some(0));
    assert!(stderr.contains("invalid peer certificate"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "said once: {stderr}");
}

#[test]
fn a_contract_that_is_none_is_refused_and_nothing_starts() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let sandbox = Sandbox::start(Run::shell("true"), &operator, &authority);
    let session = welcome(&operator);
    session.assign(&which("a"), r#"{"version":1,"more":true}"#);
    let Outcome::Refused(refusal) = hear_outcome(&session, &which("a")) else {
        panic!("it ran");
    };
    assert_eq!(refusal.reason, RefusalReason::BadContract);
    sandbox.terminate();
    assert_eq!(sandbox.end().0, Some(0));
}

#[test]
fn the_command_finds_neither_token_nor_secret_of_its_supervisor() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let mut run = Run::shell("exit 0");
    let token = run.path("token");
    run.contract["hidden"] = json!([token]);
    run.contract["command"] = json!(run.path("bin/probe-inside"));
    run.contract["arguments"] = json!([
        "read",
        token,
        "/proc/1/mem",
        "/proc/1/environ",
        "/etc/passwd"
    ]);
    let contract = run.contract.to_string();
    let sandbox = Sandbox::start(run, &operator, &authority);
    let session = welcome(&operator);
    session.assign(&which("a"), &contract);
    hear_started(&session, &which("a"));
    assert_eq!(hear_ending(&session, &which("a")).exit, Exit::Code(0));
    sandbox.terminate();
    let verdicts: Value = serde_json::from_str(&sandbox.end().1).unwrap();
    for path in [token.as_str(), "/proc/1/mem", "/proc/1/environ"] {
        let verdict = verdicts[path].as_str().unwrap();
        assert!(verdict.contains("os error 13"), "{path}: {verdict}");
    }
    assert_eq!(verdicts["/etc/passwd"], "ok", "control");
}

/// An operator that has just begun cannot tell what was when it looked last.
#[test]
fn a_sandbox_that_waits_looks_again_when_it_is_asked() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let seldom = json!({ "probeIntervalMs": 600_000 });
    let _sandbox = Sandbox::told(Run::shell("true"), &operator, &authority, &seldom);
    let session = welcome(&operator);
    let hear_proof = || match session.hear() {
        report::Kind::Proof(proof) => proof,
        other => panic!("not a proof: {other:?}"),
    };
    hear_proof();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(500));
        let asked = Instant::now();
        session.say(order::Kind::Look(Look {}));
        let age = Duration::from_millis(hear_proof().age_ms.into());
        assert!(age <= asked.elapsed(), "it began before it was asked for");
    }
    assert!(session.is_silent(Duration::from_secs(1)), "once");
}

/// A listener whose backlog is full drops what comes, like a policy that drops packets.
#[test]
fn a_run_does_not_wait_for_a_look_under_way() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&silent, 0).unwrap();
    let address = silent.local_addr().unwrap();
    let fill = |_| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let _filled: Vec<_> = (0..4).map(fill).collect();

    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let targets = json!([{ "check": "Outside", "address": address, "expect": "Blocked" }]);
    let run = Run::shell("true");
    let contract = run.contract.to_string();
    let probe = json!({ "version": VERSION, "timeoutMs": 2000, "targets": targets, "places": [] });
    let _sandbox = Sandbox::told(run, &operator, &authority, &json!({ "probe": probe }));
    let session = welcome(&operator);
    let report::Kind::Proof(proof) = session.hear() else {
        panic!("not a proof");
    };
    let report: ProbeReport = serde_json::from_slice(&proof.report).unwrap();
    assert_eq!(report.checks[0].saw, Saw::Silence);
    assert!(proof.age_ms >= 2000, "counted from its beginning");
    // The next one has begun at once, for this one took longer than the interval.
    let begin = Instant::now();
    session.assign(&which("a"), &contract);
    hear_started(&session, &which("a"));
    assert!(begin.elapsed() < Duration::from_secs(1));
    hear_ending(&session, &which("a"));
    assert!(session.is_silent(Duration::from_millis(2500)));
}

#[test]
fn figures_from_start_to_hello_and_from_assign_to_started() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let (mut hellos, mut starts) = (Vec::new(), Vec::new());
    for index in 0..10 {
        let run = Run::command("true", &[]);
        let contract = run.contract.to_string();
        let begin = Instant::now();
        let _sandbox = Sandbox::start(run, &operator, &authority);
        let session = operator.session();
        let (at, heard) = session.hear_at();
        assert!(matches!(heard, report::Kind::Hello(_)), "{heard:?}");
        hellos.push(at.duration_since(begin));
        session.welcome(b"resume-1");
        assert!(matches!(session.hear(), report::Kind::Proof(_)));
        // As in a warm sandbox: what it has begun is over.
        std::thread::sleep(Duration::from_millis(50));
        let which = which(&index.to_string());
        let begin = Instant::now();
        session.assign(&which, &contract);
        let (at, heard) = session.hear_at();
        assert!(matches!(heard, report::Kind::Started(_)), "{heard:?}");
        starts.push(at.duration_since(begin));
        hear_ending(&session, &which);
    }
    hellos.sort();
    starts.sort();
    println!("from start, container included, to Hello: {hellos:?}");
    println!("from Assign to Started: {starts:?}");
}
