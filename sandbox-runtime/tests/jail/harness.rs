//! A run in a directory of its own: contract in, report and output out.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use contract::run::{Ending, MAX_RUN_REPORT_BYTES, Outcome, Refusal, RunReport};
use serde_json::{Value, json};

/// The one that ships, which `make build` builds by itself, beside this build.
pub static SANDBOX: LazyLock<PathBuf> = LazyLock::new(|| {
    let builds = Path::new(INSIDE).ancestors().nth(2).unwrap();
    let ships = builds.join("sandbox/cloister-sandbox");
    assert!(ships.exists(), "no {}: `make build`", ships.display());
    ships
});
pub const INSIDE: &str = env!("CARGO_BIN_EXE_probe-inside");
/// First of the users that runs become, one each: limits of processes count by user.
const USERS: u32 = 910_000;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// One run, not started.
pub struct Run {
    pub directory: PathBuf,
    pub contract: Value,
    user: u32,
}

impl Run {
    /// `sh -c script` in a jail with generous bounds.
    pub fn shell(script: &str) -> Self {
        Self::command("/bin/sh", &["-c", script])
    }

    /// `probe-inside`.
    pub fn inside(arguments: &[&str]) -> Self {
        let mut run = Self::command("", arguments);
        run.contract["command"] = json!(run.path("bin/probe-inside"));
        run
    }

    pub fn command(command: &str, arguments: &[&str]) -> Self {
        let index = RUNS.fetch_add(1, Ordering::Relaxed);
        let user = USERS + index;
        let directory = std::env::temp_dir().join(format!("jail-{}-{index}", std::process::id()));
        let mut run = Self {
            directory,
            contract: Value::Null,
            user,
        };
        for name in ["bin", "work", "tmp", "out"] {
            fs::create_dir_all(run.directory.join(name)).unwrap();
        }
        for name in ["work", "tmp", "out"] {
            chown(run.directory.join(name), Some(user), Some(user)).unwrap();
        }
        // The build's own directory is root's, and nobody else may look into it.
        for (program, name) in [
            (SANDBOX.as_path(), "cloister-sandbox"),
            (Path::new(INSIDE), "probe-inside"),
        ] {
            let copy = run.directory.join("bin").join(name);
            fs::hard_link(program, &copy)
                .or_else(|_| fs::copy(program, &copy).map(drop))
                .unwrap();
        }
        fs::set_permissions(&run.directory, fs::Permissions::from_mode(0o755)).unwrap();
        run.contract = json!({
            "version": 1,
            "profile": { "Hardened": { "landlockAbi": 3 } },
            "command": command,
            "arguments": arguments,
            "directory": run.path("work"),
            "writable": [run.path("work"), run.path("tmp")],
            "time": { "limitMs": 20_000, "graceMs": 500 },
            "limits": { "files": 256, "fileBytes": 64 << 20 },
            "output": { "lineBytes": 4096, "totalBytes": 1 << 20 },
        });
        run
    }

    /// A path below the run's directory.
    pub fn path(&self, below: &str) -> String {
        self.directory.join(below).display().to_string()
    }

    /// Process 1 of a new PID namespace with a `/proc` of its own, as the run's user, without
    /// a capability. Dies with this test, and all of it with it.
    pub fn jailed(&self) -> Command {
        let mut command = self.contained();
        command
            .arg(self.path("bin/cloister-sandbox"))
            .args(["run", "--contract"])
            .arg(self.path("contract.json"))
            .arg("--report")
            .arg(self.path("out/report.json"));
        fs::write(
            self.directory.join("contract.json"),
            self.contract.to_string(),
        )
        .unwrap();
        command
    }

    /// The same container, and whatever runs in it without the jail.
    pub fn contained(&self) -> Command {
        let user = self.user.to_string();
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "setpriv"])
            .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
            .args(["--inh-caps=-all", "--bounding-set=-all"])
            .env("SECRET_OF_THE_SUPERVISOR", "leaked")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub fn go(&self) -> Done {
        self.finish(&mut self.jailed())
    }

    /// Runs to the end by another command, which leaves its report at the same place.
    pub fn finish(&self, command: &mut Command) -> Done {
        let begin = Instant::now();
        let output = command.output().unwrap();
        self.done(output, begin)
    }

    /// Starts, for the test to do something meanwhile.
    pub fn start(&self) -> Started<'_> {
        let child = self.jailed().spawn().unwrap();
        Started {
            run: self,
            child,
            begin: Instant::now(),
        }
    }

    fn done(&self, output: Output, begin: Instant) -> Done {
        let wall_ms = u64::try_from(begin.elapsed().as_millis()).unwrap();
        let text = fs::read(self.directory.join("out/report.json"));
        let text = text.unwrap_or_else(|error| panic!("no report: {error}; {output:?}"));
        assert!(text.len() <= MAX_RUN_REPORT_BYTES);
        let report: RunReport = serde_json::from_slice(&text).unwrap();
        Done {
            outcome: report.outcome,
            output,
            wall_ms,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A run under way.
pub struct Started<'a> {
    pub run: &'a Run,
    pub child: Child,
    begin: Instant,
}

impl Started<'_> {
    /// The supervisor's number outside: `unshare`'s only child (`setpriv` execs).
    pub fn supervisor(&self) -> i32 {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        eventually(|| fs::read_to_string(&path).ok()?.trim().parse().ok())
    }

    /// Waits until the command has made this file in its working directory.
    pub fn wait_for(&self, file: &str) {
        let path = self.run.directory.join("work").join(file);
        eventually(|| path.exists().then_some(()));
    }

    pub fn finish(self) -> Done {
        let output = self.child.wait_with_output().unwrap();
        self.run.done(output, self.begin)
    }
}

/// A run that is over.
pub struct Done {
    pub outcome: Outcome,
    pub output: Output,
    pub wall_ms: u64,
}

impl Done {
    pub fn ending(&self) -> &Ending {
        match &self.outcome {
            Outcome::Ended(ending) => ending,
            Outcome::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    pub fn refusal(&self) -> &Refusal {
        match &self.outcome {
            Outcome::Refused(refusal) => refusal,
            Outcome::Ended(ending) => panic!("not refused: {ending:?}"),
        }
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout(), self.stderr()))
    }
}

/// A container runtime: on the `PATH`, or where the project's own cluster keeps what it built. That
/// there is none is a failure: `make test-jail` builds it before.
pub fn find(runtime: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let built = cache().join("cloister/bin");
    let built = fs::read_dir(built).into_iter().flatten().flatten();
    let places = std::env::split_paths(&path).chain(built.map(|entry| entry.path()));
    let mut programs = places.map(|place| place.join(runtime));
    programs
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("no {runtime} on this machine; `make test-jail` builds it"))
}

/// As the Makefile and the cluster tool have it.
fn cache() -> PathBuf {
    let told = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    told.filter(|path| path.is_absolute())
        .or_else(|| Some(std::env::home_dir()?.join(".cache")))
        .unwrap_or_default()
}

/// Asks until there is an answer, a minute at most.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed().as_secs() < 60, "it never came");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Processes of this machine whose command line has this word.
pub fn alive(word: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let has = |path: &Path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    entries.filter(|entry| has(&entry.path())).count()
}
