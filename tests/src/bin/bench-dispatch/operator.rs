//! One real operator, in a process of its own, with the rights of its service account.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    pin::pin,
    process::Stdio,
    time::Duration,
};

use ::tests::{
    control_plane::{ControlPlane, documents, pause},
    stand_in::NOBODY,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::Anything;

/// Before another one is started, in milliseconds.
const AGAIN: u64 = 2000;
/// How long it may take to end when it is asked to.
const END: Duration = Duration::from_secs(20);

/// How it is started, again and again.
#[derive(Debug)]
pub(crate) struct Recipe {
    program: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    env: Vec<(String, String)>,
    admin: SocketAddr,
    /// Where sandboxes dial it.
    pub(crate) dispatch: SocketAddr,
}

impl Recipe {
    /// `program`, or what was built beside this one.
    pub(crate) fn new(program: Option<PathBuf>, plane: &ControlPlane) -> Result<Self, Anything> {
        let beside =
            || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("cloister"));
        let program = program.map_or_else(beside, Ok)?;
        if !program.is_file() {
            return Err(format!(
                "{} is not there: run `make build`, or say --operator PATH",
                program.display()
            )
            .into());
        }
        let [admin, dispatch] = free_addresses()?;
        Ok(Self {
            program,
            kubeconfig: plane.operator_kubeconfig(),
            log: plane.audit_log().with_file_name("operator.log"),
            env: shipped(),
            admin,
            dispatch,
        })
    }

    /// How often one has lost its lease or its sight so far, and begun anew.
    fn losses(&self) -> usize {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.matches("\"beginning anew\"").count()
    }

    /// Starts it. Nobody probes on a clock meanwhile.
    pub(crate) fn start(&self) -> Result<Operator, Anything> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let (admin, dispatch) = (self.admin.to_string(), self.dispatch.to_string());
        let child = Command::new(&self.program)
            .args(["operator", "--name", "operator-0", "--admin", &admin])
            .args(["--dispatch", &dispatch, "--probe-interval", "24h"])
            .args(["--image-volumes", "false", "--pod-ip", NOBODY])
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Operator {
            child,
            losses: self.losses(),
        })
    }

    /// Does some work while one runs. If that ends by itself, another one follows, as Kubernetes would
    /// have it: for what is not measured.
    pub(crate) async fn run_for<T>(
        &self,
        work: impl Future<Output = Result<T, Anything>>,
    ) -> Result<T, Anything> {
        let mut work = pin!(work);
        loop {
            let mut operator = self.start()?;
            tokio::select! {
                done = work.as_mut() => {
                    operator.stop().await?;
                    return done;
                }
                ended = operator.child.wait() => {
                    eprintln!("the operator ended by itself ({}); starting it again", ended?);
                    pause(AGAIN).await;
                }
            }
        }
    }

    /// What it said last.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

/// What the manifests set in an operator's environment, but for what is set otherwise in ours.
fn shipped() -> Vec<(String, String)> {
    let mut shipped = of_manifests();
    shipped.retain(|(name, _)| std::env::var_os(name).is_none());
    shipped
}

/// What the manifests set in an operator's environment.
fn of_manifests() -> Vec<(String, String)> {
    let manifest = include_str!("../../../../manifests/install/operator.yaml");
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    documents(manifest)
        .iter()
        .filter_map(|object| object.pointer("/spec/template/spec/containers/0/env"))
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|one| Some((text(&one["name"])?, text(&one["value"])?)))
        .collect()
}

/// Two that are free now, held at once so that they differ.
fn free_addresses() -> Result<[SocketAddr; 2], Anything> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?];
    Ok([held[0].local_addr()?, held[1].local_addr()?])
}

/// While it runs; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Operator {
    child: Child,
    /// Of all before it.
    losses: usize,
}

impl Operator {
    /// Does some work that it has to live and lead for.
    pub(crate) async fn during<T>(
        &mut self,
        recipe: &Recipe,
        work: impl Future<Output = Result<T, Anything>>,
    ) -> Result<T, Anything> {
        let done = tokio::select! {
            done = work => done?,
            ended = self.child.wait() => {
                return Err(format!("the operator ended by itself: {}", ended?).into());
            }
        };
        if recipe.losses() > self.losses {
            return Err(
                "the operator has lost its lease, and what was measured is of several".into(),
            );
        }
        Ok(done)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<i32, Anything> {
        Ok(i32::try_from(self.child.id().ok_or("the operator ended")?)?)
    }

    /// Asks it to end, so that it gives its lease back.
    pub(crate) async fn stop(mut self) -> Result<(), Anything> {
        let pid = Pid::from_raw(self.pid()?).ok_or("no process")?;
        kill_process(pid, Signal::TERM)?;
        match timeout(END, self.child.wait()).await {
            Ok(ended) => {
                ended?;
            }
            Err(_) => self.child.kill().await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_that_is_measured_is_the_one_that_is_shipped() {
        let shipped = of_manifests();
        for heap in ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_"] {
            assert!(shipped.iter().any(|(name, _)| name == heap), "{shipped:?}");
        }
    }
}
