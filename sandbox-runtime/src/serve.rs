//! Process 1 of a sandbox pod, from its start to its end: proves the sandbox, is given one run
//! over its session with the operator, runs it in the jail, and says how it ended.
//!
//! In: the JSON of a `ServeConfig`; orders. Out: reports, and the command's output, to the operator
//! and on the pod's own. Three threads: [`session`] talks, [`looking`] looks until there is a run, and the main
//! one waits, for the run or for SIGTERM, and is the supervisor of [`crate::run`].

mod config;
mod dial;
mod fate;
mod fence;
mod looking;
mod patience;
mod session;
mod story;

use std::io::{self, Write as _};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::unbounded_channel;

pub use self::config::ConfigError;
pub use self::dial::{DialError, DispatchError};
use self::fate::Fate;
use self::looking::Glance;
use self::session::Desk;
use self::story::Event;
use crate::output::{Outlet, Session};
use crate::run::{self, NotRun, Ready, RunError};
use crate::sys::bell::Bell;
use crate::sys::linux::Linux;
use crate::sys::{News, Sys as _, limit};

/// Who is asked to end waits so long for a session in which to say how the command ended: as long as the
/// longest pause before one, and a dial. A kubelet may kill sooner.
const LINGER: Duration = Duration::from_secs(2);
/// From when that is said to when it is on its way: for the connection to write it.
const FLUSH: Duration = Duration::from_millis(100);

/// Why the sandbox is over before its time.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration asks for what cannot be done.
    #[error("refused the configuration")]
    Config(#[from] ConfigError),
    /// The kernel denies what it takes to wait.
    #[error("failed to get ready")]
    Start(#[source] io::Error),
    /// What the jail needs to know cannot be had.
    #[error("failed to get ready for a run")]
    Ready(#[source] NotRun),
    /// The run cannot be watched.
    #[error("failed to run")]
    Run(#[from] RunError),
    /// The report cannot be written.
    #[error("failed to report")]
    Report(#[from] serde_json::Error),
}

impl ServeError {
    /// Whether the one who asked is at fault, and not this process.
    pub const fn is_bad_request(&self) -> bool {
        match self {
            Self::Config(_) => true,
            Self::Start(_) | Self::Ready(_) | Self::Run(_) | Self::Report(_) => false,
        }
    }
}

/// Serves until SIGTERM or SIGINT from outside the container. Must be called before any thread
/// is started. On an error, too, nothing that was started outlives process 1.
pub fn run(config: &str) -> Result<(), ServeError> {
    // Before anything secret is read, and before there are threads, which inherit the mask.
    let sys = Linux::new().map_err(ServeError::Start)?;
    sys.hide_memory().map_err(ServeError::Start)?;
    let config = config::parse(config)?;
    if let Some(most) = config.processes {
        limit::processes(most).map_err(|error| ServeError::Start(error.into()))?;
    }
    let (tell, events) = unbounded_channel();
    let glance = Glance {
        request: config.probe,
        token: config.token.clone(),
    };
    let looking = looking::start(glance, config.interval, tell.clone());
    let (give, given) = mpsc::channel();
    let bell = Bell::new().map_err(ServeError::Start)?;
    let fate = Fate::default();
    let desk = Desk {
        given: give,
        bell: bell.clone(),
        cancel: sys.canceler(),
        looking: Some(looking.map_err(ServeError::Start)?),
    };
    let outlet = Outlet::default();
    let told = session::Told {
        events,
        outlet: outlet.clone(),
        fence: config.fence,
        fate: fate.clone(),
    };
    session::start(config.dispatch, config.token.clone(), desk, told).map_err(ServeError::Start)?;
    let ready = Ready::look().map_err(ServeError::Ready)?;

    let Some(contract) = wait_for_run(&sys, &bell, &given).map_err(ServeError::Start)? else {
        return Ok(());
    };
    // The session lives as long as the process: it hears everything.
    let started = || drop(tell.send(Event::Started));
    let session = Session {
        outlet: &outlet,
        token: &config.token,
    };
    let report = run::perform(&contract, &ready, session, &sys, started)?;
    fate.end();
    let _ = tell.send(Event::Ended(serde_json::to_vec(&report)?));
    if let Some(remark) = run::remark(&report) {
        let _ = writeln!(io::stderr(), "cloister-sandbox: {remark}");
    }
    wait_for_end(&sys, &bell, &fate).map_err(ServeError::Start)
}

/// The contract, or `None` if this process was asked to end first.
fn wait_for_run(
    sys: &Linux,
    bell: &Bell,
    given: &Receiver<Vec<u8>>,
) -> io::Result<Option<Vec<u8>>> {
    loop {
        if asks_for_end(&sys.wait(bell, None)?) {
            return Ok(None);
        }
        // Put there before the bell was rung.
        if bell.heard()
            && let Ok(contract) = given.try_recv()
        {
            return Ok(Some(contract));
        }
    }
}

/// The operator deletes the pod when it has heard the end. Anybody else, a drain for one, may do so before
/// there is a session to say it in; who did so while the command ran does not ask again.
fn wait_for_end(sys: &Linux, bell: &Bell, fate: &Fate) -> io::Result<()> {
    let mut asked = sys.was_asked().then(Instant::now);
    loop {
        let last = asked.map(|asked| {
            let said = fate.told().map(|told| told + FLUSH);
            said.unwrap_or(asked + LINGER).min(asked + LINGER)
        });
        let left = last.map(|last| last.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        if asks_for_end(&sys.wait(bell, left)?) {
            asked.get_or_insert_with(Instant::now);
        }
        // Rung when the end has been said.
        bell.heard();
    }
}

fn asks_for_end(news: &[News]) -> bool {
    news.iter().any(|news| matches!(news, News::Asked(_)))
}
