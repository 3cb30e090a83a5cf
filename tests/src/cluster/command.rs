//! Runs other programs: those that end (and must succeed) and those that stay.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::error::Error;
use super::process::Identity;

/// Detaches a program from us. `$1` is its log, `$2` the `cgroup.procs` that it enters before it
/// becomes the program: a program that cannot be found again by its cgroup is never started. It ends
/// up a child of init, in a session of its own, and `$!` stays its process id throughout.
const DETACH: &str = r#"
log=$1 procs=$2; shift 2
setsid sh -c 'echo $$ > "$0" && exec "$@"' "$procs" "$@" >>"$log" 2>&1 </dev/null &
echo $!
"#;

/// Shows a command as one would type it.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A command of a program and its arguments.
pub fn command<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// A command that does not outlive us: for what takes long and could be in the way of a second try.
pub fn bound_command<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut bound = command("setpriv", ["--pdeathsig", "KILL", program]);
    bound.args(args);
    bound
}

/// Runs to the end and returns standard output; failure is an error that carries what was written.
pub fn run(command: &mut Command) -> Result<String, Error> {
    run_with_input(command, "")
}

/// Like [`run`], with something on standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String, Error> {
    let spawn_error = |command: &Command, source| Error::Spawn {
        command: shown(command),
        source,
    };
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| spawn_error(command, source))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends without reading tells why by its exit status.
        pipe.write_all(input.as_bytes()).ok();
    }
    let output = child
        .wait_with_output()
        .map_err(|source| spawn_error(command, source))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let output_text = if stderr.is_empty() { stdout } else { stderr };
    Err(Error::Command {
        command: shown(command),
        status: output.status,
        output: output_text,
    })
}

/// A program that stays.
#[derive(Debug)]
pub struct Daemon {
    /// The command line, program first.
    pub line: Vec<String>,
    /// What to set in its environment.
    pub environment: Vec<(String, String)>,
    /// The directory of the cgroup that it and its children belong to.
    pub cgroup: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Daemon {
    /// Starts it and says who it is.
    pub fn start(&self) -> Result<Identity, Error> {
        let mut launcher = command("sh", ["-c", DETACH, "sh"]);
        launcher
            .arg(&self.log)
            .arg(self.cgroup.join("cgroup.procs"))
            .args(&self.line)
            .current_dir("/");
        launcher.envs(self.environment.iter().map(|(key, value)| (key, value)));
        let answer = run(&mut launcher)?;
        let pid = answer.trim().parse().map_err(|_| Error::Parse {
            what: "the process id of a started program".to_owned(),
            why: format!("`{}` is not a number", answer.trim()),
        })?;
        Identity::of(pid).ok_or_else(|| Error::Timeout {
            what: format!("{} runs", self.line.join(" ")),
            waited: Duration::ZERO,
            hint: format!("it ended at once, see {}", self.log.display()),
        })
    }
}

/// Asks again and again until the answer is yes.
pub fn wait_until(
    what: &str,
    hint: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<bool, Error>,
) -> Result<(), Error> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(20);
    while !check()? {
        if begin.elapsed() > limit {
            return Err(Error::Timeout {
                what: what.to_owned(),
                waited: begin.elapsed(),
                hint: hint.to_owned(),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(300));
    }
    Ok(())
}

/// The last lines of a log, to be shown with an error.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
