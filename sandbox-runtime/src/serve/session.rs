//! The sandbox's end of the session with the operator, for as long as the process lives: dials,
//! says what [`Story`] says, hands on what is ordered, and dials again when it is lost.
//!
//! A thread and a runtime of its own: whatever the network does, the main thread watches over
//! the command.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use contract::dispatch::dispatch_client::DispatchClient;
use contract::dispatch::{Order, Report};
use contract::serve::{EXIT_CUT_OFF, MAX_MESSAGE_BYTES};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant as Moment, timeout, timeout_at};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Streaming};

use super::dial::{DialError, Dispatch};
use super::fate::Fate;
use super::fence::{self, Standing};
use super::looking::Looking;
use super::patience::Patience;
use super::story::{Deed, Event, Story, Unexpected};
use crate::output::Outlet;
use crate::sys::bell::Bell;
use crate::{token, with_causes};

/// From the hello to the welcome: the operator asks the API server about the token.
const WELCOME: Duration = Duration::from_secs(15);
/// From one piece of output to the next, and from the first word to the first piece: a run of
/// less than that says all it has to say together with its end. The operator takes 8 messages a
/// second of a session that goes on and on.
const PAUSE: Duration = Duration::from_millis(200);
/// One who waits for a name, and some for those who were given up on and still wait.
const RESOLVERS: usize = 6;
/// How long one of these stays when there is nothing to do: a month, for no command runs longer.
const KEPT: Duration = Duration::from_hours(31 * 24);
/// For [`crate::names::lookup`], whose answer of 1,232 bytes is on the stack: generous.
const RESOLVER_STACK: usize = 512 * 1024;

/// Why a session came to an end. Another one follows.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("failed to read the token from {}", .0.display())]
    Token(PathBuf, #[source] io::Error),
    #[error("the token is none")]
    NoToken,
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the operator did not answer in time")]
    Late,
    #[error("the operator broke off: {}", .0.message())]
    Broken(#[from] tonic::Status),
    #[error("the operator closed the session")]
    Closed,
    #[error("failed to understand the operator")]
    Unexpected(#[from] Unexpected),
}

/// Where orders go.
#[derive(Debug)]
pub struct Desk {
    /// The run to start, as the JSON of a contract.
    pub given: Sender<Vec<u8>>,
    /// Rung when it has been put there.
    pub bell: Bell,
    /// Rung to end it.
    pub cancel: Bell,
    /// Ended when a run is given.
    pub looking: Option<Looking>,
}

/// What the operator is told of.
#[derive(Debug)]
pub struct Told {
    /// What happens.
    pub events: UnboundedReceiver<Event>,
    /// What the command says.
    pub outlet: Outlet,
    /// How long a run may go on without the operator.
    pub fence: Option<Duration>,
    /// How far its end has come.
    pub fate: Fate,
}

/// Starts the session's thread. It lives as long as the process.
pub fn start(
    dispatch: Dispatch,
    token: PathBuf,
    desk: Desk,
    Told {
        events,
        outlet,
        fence,
        fate,
    }: Told,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(RESOLVERS)
        // The first one is there before there is a command, which may leave no process for another. Those
        // that a slow answer brought about stay, too, and count as the sandbox's processes.
        .thread_keep_alive(KEPT)
        .thread_stack_size(RESOLVER_STACK)
        .build()?;
    let (standing, seen) = watch::channel(Standing::default());
    let mut talk = Talk {
        dispatch,
        token,
        desk,
        events,
        story: Story::new(outlet.clone()),
        outlet,
        standing,
        fate: fate.clone(),
        has_complained: false,
    };
    let thread = thread::Builder::new().name("session".to_owned());
    thread.spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = talk.go_on() => {}
                // The kernel ends with process 1 whatever is left, at once.
                () = fence::watch(fence, seen, fate) => std::process::exit(EXIT_CUT_OFF.into()),
            }
        });
    })?;
    Ok(())
}

struct Talk {
    dispatch: Dispatch,
    token: PathBuf,
    desk: Desk,
    events: UnboundedReceiver<Event>,
    outlet: Outlet,
    story: Story,
    standing: watch::Sender<Standing>,
    fate: Fate,
    has_complained: bool,
}

impl Talk {
    /// One session after another.
    async fn go_on(&mut self) {
        let mut patience = Patience::default();
        loop {
            let lost = match self.open(patience.dial(), patience.answer()).await {
                Ok((say, orders)) => self.talk(&say, orders).await,
                Err(lost) => lost,
            };
            if self.story.lose() {
                patience.restore();
                self.has_complained = false;
            }
            self.stand();
            self.complain(&lost);
            // What happens in the meantime is kept for the next session; nothing is said.
            let _ = timeout(patience.next(), self.keep()).await;
        }
    }

    /// Opens a session, up to the first order. To dial may take so long, and of that the other end to
    /// take the connection.
    async fn open(
        &mut self,
        dial: Duration,
        answer: Duration,
    ) -> Result<(UnboundedSender<Report>, Orders), Lost> {
        let token = bearer(&self.token)?;
        let dialled = timeout(dial, self.dispatch.dial(answer)).await;
        let channel = dialled.map_err(|_| Lost::Late)??;
        let mut client = DispatchClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (say, said) = unbounded_channel();
        // The other end is in this function: it is open.
        let _ = say.send(self.story.hello());
        let mut request = Request::new(UnboundedReceiverStream::new(said));
        request.metadata_mut().insert("authorization", token);
        let begin = async {
            let mut rest = client.session(request).await?.into_inner();
            let first = rest.message().await?.ok_or(Lost::Closed)?;
            Ok::<_, Lost>(Orders { first, rest })
        };
        let orders = timeout(WELCOME, begin).await.map_err(|_| Lost::Late)??;
        Ok((say, orders))
    }

    /// Talks until the session is lost.
    async fn talk(&mut self, say: &UnboundedSender<Report>, orders: Orders) -> Lost {
        let Orders { first, mut rest } = orders;
        if let Err(unexpected) = self.obey(first, say) {
            return unexpected.into();
        }
        let mut due = None;
        loop {
            let waits = self.story.waits();
            due = due.or_else(|| waits.then(|| Moment::now() + PAUSE));
            tokio::select! {
                order = rest.message() => match order {
                    Ok(Some(order)) => if let Err(unexpected) = self.obey(order, say) {
                        return unexpected.into();
                    },
                    Ok(None) => return Lost::Closed,
                    Err(status) => return status.into(),
                },
                // With nobody left to tell of anything, the process is about to end.
                Some(event) = self.events.recv() => {
                    for report in self.story.happened(event, Instant::now()) {
                        tell(say, report);
                    }
                    self.stand();
                }
                () = self.outlet.news() => {}
                () = until(due) => {
                    due = None;
                    if let Some(report) = self.story.speak() {
                        tell(say, report);
                    }
                }
            }
        }
    }

    /// Says where it stands to who watches over that, and to who waits until the end is said.
    fn stand(&self) {
        self.standing.send_replace(self.story.standing());
        if self.fate.tell(self.story.has_told_end()) {
            self.desk.bell.ring();
        }
    }

    fn obey(&mut self, order: Order, say: &UnboundedSender<Report>) -> Result<(), Unexpected> {
        let deed = self.story.hear(order, Instant::now())?;
        // Before anything starts.
        self.stand();
        match deed {
            Deed::Nothing => {}
            Deed::Say(reports) => reports.into_iter().for_each(|report| tell(say, report)),
            Deed::Begin(contract) => {
                self.desk.looking = None;
                // The main thread takes it, or is on its way out of the process.
                let _ = self.desk.given.send(contract);
                self.desk.bell.ring();
            }
            Deed::Cancel => self.desk.cancel.ring(),
            Deed::Look => self.desk.looking.iter().for_each(Looking::hurry),
        }
        Ok(())
    }

    /// Takes what happens while there is no session.
    async fn keep(&mut self) {
        while let Some(event) = self.events.recv().await {
            self.story.happened(event, Instant::now());
            self.stand();
        }
        std::future::pending::<()>().await;
    }

    /// Says why there is no session: once, and not any more when the log is the command's.
    fn complain(&mut self, lost: &Lost) {
        if !self.has_complained && !self.story.has_run() {
            self.has_complained = true;
            let _ = writeln!(io::stderr(), "cloister-sandbox: {}", with_causes(lost));
        }
    }
}

/// What the operator says.
struct Orders {
    first: Order,
    rest: Streaming<Order>,
}

/// For ever, if there is no such moment.
async fn until(moment: Option<Moment>) {
    let forever = std::future::pending::<()>();
    match moment {
        Some(moment) => drop(timeout_at(moment, forever).await),
        None => forever.await,
    }
}

/// Nobody listens any more only when the session is lost, which its other half is about to
/// hear; the next one says it again.
fn tell(say: &UnboundedSender<Report>, report: Report) {
    let _ = say.send(report);
}

/// The token, as it is shown. Read in the session's own thread: it lies in memory.
fn bearer(path: &Path) -> Result<MetadataValue<Ascii>, Lost> {
    let token = token::read(path).map_err(|error| Lost::Token(path.to_owned(), error))?;
    if token.is_empty() {
        return Err(Lost::NoToken);
    }
    let shown = format!("Bearer {token}").parse();
    let mut shown: MetadataValue<Ascii> = shown.map_err(|_| Lost::NoToken)?;
    shown.set_sensitive(true);
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_without_the_line_end_of_its_file_and_hidden_from_logs() {
        let path = std::env::temp_dir().join(format!("cloister-token-{}", std::process::id()));
        std::fs::write(&path, "abc.def\n").unwrap();
        let shown = bearer(&path).unwrap();
        assert_eq!(shown, "Bearer abc.def");
        assert!(!format!("{shown:?}").contains("abc"));
        for none in ["", "\n", "two\nlines"] {
            std::fs::write(&path, none).unwrap();
            assert!(matches!(bearer(&path), Err(Lost::NoToken)), "{none:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(bearer(&path), Err(Lost::Token(..))));
    }
}
