//! Runs one script against one broker: its steps in order, until one fails or all are done.
//!
//! A case owns its connections and its variables and shares nothing with other cases but the
//! broker. Whatever happens, its connections are gone and what it declared is deleted when it is
//! over.

mod eval;
mod expect;
mod group;
mod handshake;
mod link;
mod matching;
mod message;
pub mod operator;
pub mod restart;
#[cfg(test)]
mod samples;
mod send;
pub(crate) mod sweep;
pub mod target;

use crate::clock;
use crate::protocol::value::Value;
use crate::script::definitions::Definitions;
use crate::script::expr::Expr;
use crate::script::level::Level;
use crate::script::scope::GIVEN;
use crate::script::{Action, Address, Script, Step};
use eval::Variables;
use link::{Event, Link};
use restart::Ending;
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use sweep::Declared;
use target::{Restart, Target};

/// How long something expected may take when the script does not say.
const LIMIT: Duration = Duration::from_secs(5);
/// How many lines of a transcript are kept, the last ones.
const TRANSCRIPT_MAX: usize = 200;
/// How long a line of it may be, characters.
const TRANSCRIPT_WIDTH: usize = 400;

/// Why a case failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The script's line, from 1.
    pub line: usize,
    /// That line as it is written.
    pub text: String,
    /// What went wrong, in a sentence or several lines.
    pub reason: String,
    /// What came instead, decoded; empty when nothing did.
    pub came: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What was sent and what came before, oldest first.
    pub transcript: Vec<String>,
    /// The broker did not answer in time, or at all.
    pub is_silence: bool,
}

impl Failure {
    /// Of a script that could not even begin.
    #[must_use]
    pub(crate) fn before(script: &Script, reason: String) -> Box<Self> {
        let text = script.steps.first().map_or_else(String::new, |step| step.text.clone());
        let line = script.steps.first().map_or(1, |step| step.line);
        let (came, bytes, transcript) = (String::new(), Vec::new(), Vec::new());
        Box::new(Self { line, text, reason, came, bytes, transcript, is_silence: false })
    }
}

/// What stopped a step: reason and what came, decoded and as bytes.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    reason: String,
    came: String,
    bytes: Vec<u8>,
    is_silence: bool,
}

impl Trouble {
    /// The broker says nothing.
    pub(crate) fn silence(reason: String) -> Self {
        Self { reason, is_silence: true, ..Self::default() }
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self { reason, ..Self::default() }
    }
}

/// What a step comes to.
type Done<T = ()> = Result<T, Trouble>;

/// A script that runs.
struct Case<'a> {
    target: Target,
    restart: Option<Restart<'a>>,
    /// A round trip follows each publish.
    one_by_one: bool,
    /// Words for people have to be as the script has them.
    compares_words: bool,
    /// Different for each case of each run; part of the names that `unique` makes.
    mark: String,
    variables: Variables,
    links: BTreeMap<String, Link>,
    next_link: usize,
    sender: Sender<Event>,
    events: Receiver<Event>,
    began: Instant,
    transcript: Vec<String>,
    declared: Declared,
    /// Product and version of the last connection.start that the runner itself answered.
    introduced: (String, String),
    /// The step that is being done.
    line: usize,
    text: String,
}

/// Runs `script` against `target`; `mark` is different for each case of each run.
///
/// # Errors
/// The broker did not do what the script says.
pub fn run(script: &Script, target: &Target, mark: &str) -> Result<(), Box<Failure>> {
    play(script, Case::new(target, mark), mark)?;
    if !script.head.one_by_one {
        return Ok(());
    }
    // With other names: a broker may take a while to let go of exclusive queues.
    let case = Case { one_by_one: true, ..Case::new(target, &format!("{mark}b")) };
    play(script, case, mark).map_err(|mut failure| {
        failure.reason.push_str("\n(in the second turn, where a round trip follows each publish)");
        failure
    })
}

/// As [`run`], where `restart` does what the script's steps of that name want.
///
/// # Errors
/// As [`run`].
pub fn run_restarting(
    script: &Script,
    target: &Target,
    mark: &str,
    restart: Restart<'_>,
) -> Result<(), Box<Failure>> {
    play(script, Case { restart: Some(restart), ..Case::new(target, mark) }, mark)
}

/// Plays `script`, whose definitions were imported with this mark.
fn play(script: &Script, mut case: Case<'_>, mark: &str) -> Result<(), Box<Failure>> {
    case.compares_words = script.head.level == Level::Rabbitmq || case.target.compares_words;
    for name in script.head.definitions.iter().flat_map(Definitions::names) {
        let value = unique(name, mark);
        case.variables.insert(name.clone(), Value::Text(value.into_bytes()));
    }
    let outcome = case.steps(&script.steps).and_then(|()| case.nothing_left());
    let outcome = outcome.map_err(|trouble| Box::new(case.failure(trouble)));
    case.close_all();
    outcome
}

/// The name that `$name` stands for, which nobody else uses.
fn unique(name: &str, mark: &str) -> String {
    format!("{name}-{mark}")
}

/// What `script` wants defined before it runs with this mark, by the sections of RabbitMQ's
/// definitions.
pub(crate) fn definitions(script: &Script, target: &Target, mark: &str) -> Map<String, serde_json::Value> {
    let value = |name: &str| target.given(name).map_or_else(|| unique(name, mark), str::to_owned);
    let document = script.head.definitions.as_ref().map(|definitions| definitions.resolved(&value));
    document.unwrap_or_default()
}

/// Asks the broker at `target` for its product and version.
///
/// # Errors
/// It is not there or does not let the user in.
pub(crate) fn identify(mut target: Target) -> Result<Target, String> {
    let (product, version) = {
        let mut case = Case::new(&target, "");
        let at = Address { connection: "a".into(), channel: None };
        let outcome = case.open(&at, &[]).map(|()| case.introduced.clone());
        case.close_all();
        outcome.map_err(|trouble| format!("{} {}", trouble.reason, trouble.came))?
    };
    (target.product, target.version) = (product, version);
    Ok(target)
}

impl Case<'_> {
    fn new(target: &Target, mark: &str) -> Self {
        let (sender, events) = channel();
        Self {
            target: target.clone(),
            restart: None,
            one_by_one: false,
            compares_words: true,
            mark: mark.to_owned(),
            variables: GIVEN
                .iter()
                .filter_map(|name| target.given(name).map(|text| (*name, text)))
                .map(|(name, text)| (name.to_owned(), Value::Text(text.to_owned().into_bytes())))
                .collect(),
            links: BTreeMap::new(),
            next_link: 0,
            sender,
            events,
            began: clock::now(),
            transcript: Vec::new(),
            declared: Declared::default(),
            introduced: (String::new(), String::new()),
            line: 1,
            text: String::new(),
        }
    }

    fn failure(&mut self, trouble: Trouble) -> Failure {
        Failure {
            line: self.line,
            text: self.text.clone(),
            reason: trouble.reason,
            came: trouble.came,
            bytes: trouble.bytes,
            transcript: std::mem::take(&mut self.transcript),
            is_silence: trouble.is_silence,
        }
    }

    fn steps(&mut self, steps: &[Step]) -> Done {
        for step in steps {
            self.line = step.line;
            self.text.clone_from(&step.text);
            self.step(&step.action)?;
        }
        Ok(())
    }

    fn step(&mut self, action: &Action) -> Done {
        match action {
            Action::Open(at, options) => self.open(at, options),
            Action::Connect(name) => self.connect(name),
            Action::Close(at) => self.close(at),
            Action::Drop(name) => {
                self.say(&format!("{name}: this side closes the socket"));
                self.link(name)?.shut();
                Ok(())
            }
            Action::Send(at, sent) => self.send(at, sent),
            Action::Expect(expectation) => self.expect(expectation),
            Action::Nothing(at, during) => self.nothing(at, *during),
            Action::NoHeartbeat(name, during) => self.no_heartbeat(name, *during),
            Action::Sync(at) => self.round_trip(at),
            Action::Ignore(at) => {
                self.link(&at.connection)?.ignore(at.number());
                Ok(())
            }
            Action::Pause(name) => {
                self.say(&format!("{name}: this side stops to read"));
                self.link(name)?.pause();
                Ok(())
            }
            Action::Resume(name) => {
                self.say(&format!("{name}: this side reads again"));
                self.link(name)?.resume();
                Ok(())
            }
            Action::Operator(words) => self.operate(words),
            Action::Restart(ending) => self.restart(*ending),
            Action::Wait(time) => {
                self.pump_until(clock::now() + *time);
                Ok(())
            }
            Action::Unique(names) => {
                for (name, len) in names {
                    let mut text = unique(name, &self.mark).into_bytes();
                    text.resize(len.unwrap_or(text.len()), b'x');
                    self.variables.insert(name.clone(), Value::Text(text));
                }
                Ok(())
            }
            Action::Let(name, expr) => {
                let value = eval::value(expr, &self.variables)?;
                self.variables.insert(name.clone(), value);
                Ok(())
            }
            Action::AnyOrder(steps) => self.any_order(steps),
            Action::InOrder(steps) => self.steps(steps),
            Action::OneOf(steps) => self.one_of(steps),
            Action::Repeat { times, counter, steps } => {
                self.repeat(eval::integer(times, &self.variables)?, counter, steps)
            }
            Action::When { arms, otherwise } => {
                let (broker, version) = (self.target.broker(), &self.target.version);
                let arm = arms.iter().find(|(condition, _)| condition.holds(&broker, version));
                self.steps(arm.map_or(otherwise, |(_, steps)| steps))
            }
        }
    }

    /// Has the operator give a command, and waits until it is done.
    fn operate(&mut self, words: &[Expr]) -> Done {
        let Some(operator) = self.target.operator.clone() else {
            return Err(Trouble::from("nobody said how the operator gives commands".to_owned()));
        };
        let mut said = Vec::new();
        for word in words {
            said.push(String::from_utf8_lossy(&eval::text(word, &self.variables)?).into_owned());
        }
        self.say(&format!("operator: {}", said.join(" ")));
        operator.run(&said).map_err(Trouble::from)
    }

    /// Has the broker restarted while the connections are open, which are gone then.
    fn restart(&mut self, ending: Ending) -> Done {
        let Some(restart) = self.restart else {
            return Err(Trouble::from("nobody said how the broker is restarted".to_owned()));
        };
        self.say(&format!("the broker is restarted: {}", ending.word()));
        self.target = restart(ending).map_err(Trouble::from)?;
        self.links.clear();
        Ok(())
    }

    fn repeat(&mut self, times: i128, counter: &str, steps: &[Step]) -> Done {
        let before: Vec<String> = self.variables.keys().cloned().collect();
        for turn in 1..=times {
            // What a turn captures is captured anew in the next.
            self.variables.retain(|name, _| before.contains(name));
            self.variables.insert(counter.to_owned(), Value::Int('_', turn));
            self.steps(steps)?;
        }
        Ok(())
    }

    fn connect(&mut self, name: &str) -> Done {
        if self.links.get(name).is_some_and(|link| link.ended.is_none()) {
            return Err(Trouble::from(format!("connection '{name}' is open already")));
        }
        self.next_link += 1;
        let address = (self.target.host.as_str(), self.target.port);
        let link = Link::connect(address, self.next_link, self.sender.clone())
            .map_err(|why| Trouble::silence(format!("{}:{}: {why}", self.target.host, self.target.port)))?;
        self.links.insert(name.to_owned(), link);
        Ok(())
    }

    fn link(&mut self, name: &str) -> Done<&mut Link> {
        self.links.get_mut(name).ok_or_else(|| Trouble::from(format!("connection '{name}' was not opened")))
    }

    /// Adds a line to the transcript.
    fn say(&mut self, line: &str) {
        let shown: String = line.chars().take(TRANSCRIPT_WIDTH).collect();
        let more = if shown.len() < line.len() { " ..." } else { "" };
        if self.transcript.len() >= TRANSCRIPT_MAX {
            self.transcript.remove(0);
        }
        self.transcript
            .push(format!("{:8.1} ms  {shown}{more}", self.began.elapsed().as_secs_f64() * 1000.0));
    }

    /// Takes in what comes next on any connection; whether something came before `deadline`.
    fn pump(&mut self, deadline: Instant) -> bool {
        match self.events.recv_timeout(deadline.saturating_duration_since(clock::now())) {
            Ok(Event { link, what }) => {
                if let Some(link) = self.links.values_mut().find(|known| known.id == link) {
                    link.accept(what);
                }
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    /// Takes in whatever comes until `deadline`.
    fn pump_until(&mut self, deadline: Instant) {
        while self.pump(deadline) {}
    }

    /// Makes frames of what came on the connection called `name`, and says so.
    fn sort(&mut self, name: &str) {
        let Some(link) = self.links.get_mut(name) else { return };
        for frame in link.sort() {
            let at = Address {
                connection: name.to_owned(),
                channel: Some(frame.channel).filter(|&channel| channel != 0),
            };
            self.declared.note_frame(name, &frame);
            self.say(&format!("{at} < {}", frame.show()));
        }
    }

    /// Ends every connection, politely where it can be, and deletes what was declared.
    fn close_all(&mut self) {
        for link in self.links.values_mut().filter(|link| link.ended.is_none() && link.is_open) {
            link.resume();
            // The broker may close it at the same moment.
            let _written = link.write(handshake::GOODBYE);
        }
        let deadline = clock::now() + LIMIT;
        let awaits = |link: &Link| link.ended.is_none() && link.is_open && link.malformed.is_none();
        let waiting = |case: &Self| case.links.values().any(awaits);
        while waiting(self) && self.pump(deadline) {
            for link in self.links.values_mut() {
                link.sort();
            }
        }
        self.links.clear();
        sweep::sweep(&self.target, &self.declared);
    }
}
