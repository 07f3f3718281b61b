//! Runs one script against one broker: its steps in order, until one fails or all are done.
//!
//! A case owns its connections and its variables and shares nothing with other cases but the
//! broker. Whatever happens, its connections are gone and what it declared is deleted when it is
//! over.

mod connections;
mod eval;
mod expect;
mod group;
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
use crate::script::{Action, Address, Field, Script, Step};
use connections::Connections;
use eval::Variables;
use restart::Ending;
use serde_json::Map;
use std::time::Duration;
use target::{Restart, Target};

/// How long something expected may take when the script does not say.
const LIMIT: Duration = Duration::from_secs(5);

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

/// Fails for what is `wrong`, if anything is, with what came.
fn unless_wrong(wrong: &[String], came: impl FnOnce() -> (String, Vec<u8>)) -> Done {
    if wrong.is_empty() {
        return Ok(());
    }
    let (came, bytes) = came();
    Err(Trouble { reason: wrong.join("\n"), came, bytes, ..Trouble::default() })
}

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
    connections: Connections,
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
    case.connections.close_all(&case.target);
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
    let mut connections = Connections::new();
    let connected = connections.connect(&target, "a");
    let outcome = connected.and_then(|()| connections.shake_hands(&target, "a", &[]));
    connections.close_all(&target);
    (target.product, target.version) =
        outcome.map_err(|trouble| format!("{} {}", trouble.reason, trouble.came))?;
    Ok(target)
}

impl Case<'_> {
    fn new(target: &Target, mark: &str) -> Self {
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
            connections: Connections::new(),
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
            transcript: self.connections.take_transcript(),
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
            Action::Connect(name) => self.connections.connect(&self.target, name),
            Action::Close(at) => self.connections.close(at),
            Action::Drop(name) => {
                self.connections.say(&format!("{name}: this side closes the socket"));
                self.connections.link(name)?.shut();
                Ok(())
            }
            Action::Send(at, sent) => self.send(at, sent),
            Action::Expect(expectation) => self.expect(expectation),
            Action::Nothing(at, during) => self.connections.nothing(at, *during),
            Action::NoHeartbeat(name, during) => self.connections.no_heartbeat(name, *during),
            Action::Sync(at) => self.connections.round_trip(at),
            Action::Ignore(at) => {
                self.connections.link(&at.connection)?.ignore(at.number());
                Ok(())
            }
            Action::Pause(name) => {
                self.connections.say(&format!("{name}: this side stops to read"));
                self.connections.link(name)?.pause();
                Ok(())
            }
            Action::Resume(name) => {
                self.connections.say(&format!("{name}: this side reads again"));
                self.connections.link(name)?.resume();
                Ok(())
            }
            Action::Operator(words) => self.operate(words),
            Action::Restart(ending) => self.restart(*ending),
            Action::Wait(time) => {
                self.connections.pump_until(clock::now() + *time);
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

    /// Opens connection and channel as far as they are not open.
    fn open(&mut self, at: &Address, options: &[Field]) -> Done {
        let mut said = Vec::new();
        for option in options {
            said.push((option.spec.name, eval::sent(option, &self.variables)?));
        }
        self.connections.open(&self.target, at, &said)
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
        self.connections.say(&format!("operator: {}", said.join(" ")));
        operator.run(&said).map_err(Trouble::from)
    }

    /// Has the broker restarted while the connections are open, which are gone then.
    fn restart(&mut self, ending: Ending) -> Done {
        let Some(restart) = self.restart else {
            return Err(Trouble::from("nobody said how the broker is restarted".to_owned()));
        };
        self.connections.say(&format!("the broker is restarted: {}", ending.word()));
        self.target = restart(ending).map_err(Trouble::from)?;
        self.connections.drop_all();
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
}
