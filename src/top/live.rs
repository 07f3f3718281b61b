//! The terminal, and what comes from outside: keys, signals and answers, each from a thread of its
//! own, into one loop that draws after each of them.
//!
//! However it ends, the terminal is put back: by a value that is dropped, and by ratatui's hook for
//! panics. A thread that ends, by a panic too, ends the loop.

use super::draw::draw;
use super::question::{Answer, Question};
use super::state::{Next, Top};
use crate::api_client::{Endpoint, WAIT};
use crate::clock;
use crate::ctl::CtlError;
use crate::ctl::broker::Broker;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyEvent};
use ratatui::crossterm::terminal;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What comes from outside and is not taken in yet, at most; the rest waits where it is.
const EVENTS_MAX: usize = 64;

/// How long it waits for events at a time, at most.
const QUIET: Duration = Duration::from_secs(3600);

/// What comes from outside.
enum Event {
    Key(KeyEvent),
    /// The terminal has this many lines.
    Resized(u16),
    Answered(Result<Answer, CtlError>),
    /// A signal asks for the end.
    Signalled,
    /// A thread without which nothing goes on has ended, and why if it knows.
    Ended(Option<io::Error>),
}

/// Tells that a thread has ended, when it is dropped.
struct Ends(SyncSender<Event>);

impl Drop for Ends {
    fn drop(&mut self) {
        // If nobody listens, all of it has ended.
        let _told = self.0.send(Event::Ended(None));
    }
}

/// The terminal as it was, once this is dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // There may be no terminal any more.
        let _restored = ratatui::try_restore();
    }
}

/// Shows what it is told of the broker until somebody has seen enough.
///
/// # Errors
/// There is no broker at first, or no terminal.
pub(super) fn watch(mut top: Top, target: Endpoint) -> Result<(), CtlError> {
    let (_columns, lines) = terminal::size().map_err(|error| no_terminal(&error))?;
    top.resize(lines);
    let mut broker = Broker::connect(target.clone(), WAIT)?;
    top.take(Ok(top.question().ask(&mut broker)?));
    let (events, comes) = sync_channel(EVENTS_MAX);
    let (questions, asked) = sync_channel(1);
    let signals = Signals::new().map_err(|error| no_terminal(&error))?;
    let _restored = Restored;
    let mut screen = ratatui::try_init().map_err(|error| no_terminal(&error))?;
    let ends = Ends(events.clone());
    thread::spawn(move || answers(&target, broker, &asked, &ends));
    let ends = Ends(events.clone());
    thread::spawn(move || signals.wait(&ends));
    let ends = Ends(events);
    thread::spawn(move || keys(&ends));
    show(&mut top, &mut screen, &questions, &comes)
}

fn no_terminal(error: &io::Error) -> CtlError {
    CtlError::Output(format!("the terminal cannot be used: {error}"))
}

/// The loop: draws, asks when it is time or something else is looked at, and waits for what comes.
fn show(
    top: &mut Top,
    screen: &mut DefaultTerminal,
    questions: &SyncSender<Question>,
    comes: &Receiver<Event>,
) -> Result<(), CtlError> {
    let mut asked = top.question();
    let mut is_asking = false;
    let mut due_ms = clock::mono_ms() + top.interval_s * 1000;
    loop {
        screen.draw(|frame| draw(top, frame.buffer_mut())).map_err(|error| no_terminal(&error))?;
        let now_ms = clock::mono_ms();
        let is_due = now_ms >= due_ms && !top.paused;
        if !is_asking && (is_due || top.question() != asked) {
            asked = top.question();
            is_asking = questions.send(asked.clone()).is_ok();
        }
        let waits = is_asking || top.paused;
        let wait = if waits { QUIET } else { Duration::from_millis(due_ms.saturating_sub(now_ms)) };
        match comes.recv_timeout(wait) {
            Ok(Event::Key(key)) => match top.handle(key) {
                Next::GoOn => due_ms = due_ms.min(clock::mono_ms() + top.interval_s * 1000),
                Next::Ask if is_asking => {}
                Next::Ask => is_asking = questions.send(asked.clone()).is_ok(),
                Next::Quit => return Ok(()),
            },
            Ok(Event::Resized(lines)) => top.resize(lines),
            Ok(Event::Answered(answer)) => {
                is_asking = false;
                due_ms = clock::mono_ms() + top.interval_s * 1000;
                top.take(answer);
            }
            Ok(Event::Signalled) => return Ok(()),
            Ok(Event::Ended(Some(error))) => return Err(no_terminal(&error)),
            Ok(Event::Ended(None)) | Err(RecvTimeoutError::Disconnected) => {
                return Err(CtlError::Garbled("a part of leveret top has ended".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Asks the broker whatever it is told to. One that has gone is looked for again each time.
fn answers(target: &Endpoint, broker: Broker, asked: &Receiver<Question>, ends: &Ends) {
    let mut broker = Some(broker);
    while let Ok(question) = asked.recv() {
        let connected = match broker.take() {
            Some(broker) => Ok(broker),
            None => Broker::connect(target.clone(), WAIT),
        };
        let answer = connected.and_then(|mut connected| {
            let answer = question.ask(&mut connected);
            // A refusal is an answer; after anything else nobody knows what comes next.
            if matches!(answer, Ok(_) | Err(CtlError::Check(_))) {
                broker = Some(connected);
            }
            answer
        });
        if ends.0.send(Event::Answered(answer)).is_err() {
            return;
        }
    }
}

/// Passes on what is typed.
fn keys(ends: &Ends) {
    loop {
        let event = match event::read() {
            Ok(event::Event::Key(key)) if key.is_press() => Event::Key(key),
            Ok(event::Event::Resize(_columns, lines)) => Event::Resized(lines),
            Ok(_) => continue,
            Err(error) => Event::Ended(Some(error)),
        };
        let is_end = matches!(event, Event::Ended(_));
        if ends.0.send(event).is_err() || is_end {
            return;
        }
    }
}

/// The signals that ask for the end. They are caught from the moment on that this is made.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let [terminate, hang_up, interrupt, quit] = {
            let _entered = runtime.enter();
            let of = |kind: SignalKind| signal(kind);
            [
                of(SignalKind::terminate())?,
                of(SignalKind::hangup())?,
                of(SignalKind::interrupt())?,
                of(SignalKind::quit())?,
            ]
        };
        Ok(Self { runtime, terminate, hang_up, interrupt, quit })
    }

    /// Passes on the first of them.
    fn wait(mut self, ends: &Ends) {
        self.runtime.block_on(async {
            select! {
                _ = self.terminate.recv() => {}
                _ = self.hang_up.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.quit.recv() => {}
            }
        });
        // If nobody listens, all of it has ended.
        let _told = ends.0.send(Event::Signalled);
    }
}
