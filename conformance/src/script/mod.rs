//! The script language: what a script says, as data. The language itself is described in
//! `conformance/README.md`.
//!
//! [`read`] is the way in: it parses and checks, so that a [`Script`] in hand names only methods,
//! fields, types, channels and variables that exist. What it cannot know is what a broker will
//! answer.

pub(crate) mod check;
pub(crate) mod condition;
pub(crate) mod cursor;
pub(crate) mod definitions;
pub(crate) mod expr;
pub(crate) mod fields;
pub(crate) mod head;
pub mod level;
pub(crate) mod parser;
pub(crate) mod scope;

use crate::protocol::table::{FieldSpec, MethodSpec};
use crate::run::restart::Ending;
use condition::Condition;
use definitions::Definitions;
use expr::{ByteItem, Expr, Piece};
use level::Level;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a script is refused: where, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The script.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.reason)
    }
}

/// A script that was read and found to be sound.
#[derive(Debug)]
pub struct Script {
    /// Where it is.
    pub path: PathBuf,
    /// `class/case`, from its path.
    pub name: String,
    /// What it says of itself.
    pub head: Head,
    /// What it does, in order.
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// The folder that it is in.
    #[must_use]
    pub fn class(&self) -> &str {
        self.name.split_once('/').map_or("", |(class, _)| class)
    }

    /// Whether the head says that it needs `what`.
    #[must_use]
    pub fn needs(&self, what: &str) -> bool {
        self.head.needs.iter().any(|need| need == what)
    }

    /// Whether the broker must have something before the run that a client cannot make.
    #[must_use]
    pub fn has_definitions(&self) -> bool {
        self.head.definitions.is_some()
    }

    /// Whether a step of it is the operator's.
    #[must_use]
    pub fn has_operator(&self) -> bool {
        self.has_command(&|_| true)
    }

    /// Whether a step of it restarts the broker.
    #[must_use]
    pub fn has_restart(&self) -> bool {
        any_step(&self.steps, &|action| matches!(action, Action::Restart(_)))
    }

    /// Whether `holds` for the first word of a command that the operator gives.
    pub(crate) fn has_command(&self, holds: &impl Fn(&str) -> bool) -> bool {
        any_step(&self.steps, &|action| match action {
            Action::Operator(words) => match words.first() {
                Some(Expr::Text(pieces)) => match &pieces[..] {
                    [Piece::Plain(word)] => holds(&String::from_utf8_lossy(word)),
                    _ => false,
                },
                _ => false,
            },
            _ => false,
        })
    }

    /// Why the broker that calls itself `product` in `version` is not held against what is expected
    /// of all others. None when it is.
    #[must_use]
    pub fn differs_for(&self, product: &str, version: &str) -> Option<&Differs> {
        let broker = product.to_ascii_lowercase();
        let differs = self.head.differs.iter().find(|differs| differs.broker == broker)?;
        let arm_holds = |action: &Action| match action {
            Action::When { arms, .. } => arms.iter().any(|(condition, _)| condition.holds(&broker, version)),
            _ => false,
        };
        any_step(&self.steps, &arm_holds).then_some(differs)
    }
}

/// Whether `holds` for a step, or for one within.
fn any_step(steps: &[Step], holds: &impl Fn(&Action) -> bool) -> bool {
    steps.iter().any(|step| {
        holds(&step.action)
            || match &step.action {
                Action::When { arms, otherwise } => {
                    arms.iter().any(|(_, steps)| any_step(steps, holds)) || any_step(otherwise, holds)
                }
                Action::Repeat { steps, .. } => any_step(steps, holds),
                _ => false,
            }
    })
}

/// What a script says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The behaviour, in a sentence.
    pub title: String,
    /// The section or page that it comes from.
    pub source: String,
    /// What it holds a broker to.
    pub level: Level,
    /// The part of the specification that is meant, or what is RabbitMQ's own; may be empty for the
    /// latter.
    pub about: String,
    /// What the broker or the runner must offer.
    pub needs: Vec<String>,
    /// Brokers that do otherwise.
    pub differs: Vec<Differs>,
    /// It is played a second time, in which the broker reads each publish apart.
    pub one_by_one: bool,
    /// What the broker must have before the run.
    pub(crate) definitions: Option<Definitions>,
    /// The line in which they begin, from 1; 0 without any.
    pub(crate) definitions_line: usize,
}

/// A broker that does otherwise, and why the others do not follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// Its name in lower case, as in `when`.
    pub broker: String,
    /// The version that was looked at.
    pub version: String,
    /// What it does, and why others do otherwise.
    pub reason: String,
}

/// A connection by its name, and a channel of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    /// The name that the script gave it.
    pub(crate) connection: String,
    /// None when only the connection is named.
    pub(crate) channel: Option<u16>,
}

impl Address {
    /// The channel's number; 0 when only the connection is named.
    pub(crate) fn number(&self) -> u16 {
        self.channel.unwrap_or(0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.channel {
            Some(channel) => write!(f, "{}.{channel}", self.connection),
            None => f.write_str(&self.connection),
        }
    }
}

/// One thing that a script does.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// The line as it is written.
    pub(crate) text: String,
    /// What it does.
    pub(crate) action: Action,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Connects and shakes hands unless that is done, and opens the channel if one is named.
    Open(Address, Vec<Field>),
    /// Connects the socket and says nothing.
    Connect(String),
    /// Closes a channel or a connection as the protocol wants it.
    Close(Address),
    /// Closes the socket without a word.
    Drop(String),
    /// Sends.
    Send(Address, Sent),
    /// Waits for something that must come next.
    Expect(Expectation),
    /// Nothing more may come.
    Nothing(Address, Option<Duration>),
    /// No heartbeat is left over, and none comes for so long.
    NoHeartbeat(String, Duration),
    /// A round trip that changes nothing.
    Sync(Address),
    /// Whatever comes from now on is of no interest.
    Ignore(Address),
    /// Reads the socket no longer, so that the broker cannot write for ever.
    Pause(String),
    /// Reads it again.
    Resume(String),
    /// Lets time pass.
    Wait(Duration),
    /// Has the broker's operator give a command.
    Operator(Vec<Expr>),
    /// Ends the broker and has it back; all connections are gone.
    Restart(Ending),
    /// Makes names that nobody else uses, of a length in bytes where one is said.
    Unique(Vec<(String, Option<usize>)>),
    /// Gives a value a name.
    Let(String, Expr),
    /// Expectations that are met in any order.
    AnyOrder(Vec<Step>),
    /// Expectations in order, as one branch of `any-order`.
    InOrder(Vec<Step>),
    /// Expectations of which exactly one is met.
    OneOf(Vec<Step>),
    /// Steps that are done several times, the counter from 1.
    Repeat {
        /// How many times.
        times: Expr,
        /// The counter's name.
        counter: String,
        /// What is done.
        steps: Vec<Step>,
    },
    /// Steps for one broker or another.
    When {
        /// Which broker, and its steps.
        arms: Vec<(Condition, Vec<Step>)>,
        /// For all others.
        otherwise: Vec<Step>,
    },
}

/// What is sent.
#[derive(Debug)]
pub(crate) enum Sent {
    /// A method, with its content if it has any.
    Method(Call),
    /// A method frame alone, whatever should follow.
    MethodFrame(Call),
    /// A content header frame.
    Header(Vec<Field>),
    /// A content body frame.
    Body(Expr),
    /// A heartbeat frame.
    Heartbeat,
    /// The eight bytes that open a connection.
    ProtocolHeader,
    /// Bytes.
    Raw(Vec<ByteItem>),
    /// A frame of any parts: type, channel, payload, size, end.
    Frame(Vec<Field>),
}

/// What must come next.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// Where.
    pub(crate) at: Address,
    /// What.
    pub(crate) what: Expected,
    /// How long it may take; the runner's own limit when none is said.
    pub(crate) within: Option<Duration>,
}

/// See [`Expectation`].
#[derive(Debug)]
pub(crate) enum Expected {
    /// A method, with its content if it has any.
    Method(Call),
    /// A method frame alone.
    MethodFrame(Call),
    /// A content header frame.
    Header(Vec<Field>),
    /// A content body frame.
    Body(Expr),
    /// A heartbeat frame.
    Heartbeat,
    /// These bytes.
    Raw(Vec<ByteItem>),
    /// The end of the stream.
    Eof,
    /// Acks for the tags from one to the other, however grouped.
    Acks(Expr, Expr),
}

/// A method with what is said about its fields and its content.
#[derive(Debug)]
pub(crate) struct Call {
    /// Which.
    pub(crate) spec: &'static MethodSpec,
    /// What is said about its fields.
    pub(crate) fields: Vec<Field>,
    /// What is said about its properties.
    pub(crate) properties: Vec<Field>,
    /// What is said about its body.
    pub(crate) body: Option<Field>,
    /// Whether properties that are not named must not be there.
    pub(crate) only: bool,
}

/// What is said about one field.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// Which.
    pub(crate) spec: FieldSpec,
    /// How the value is meant.
    pub(crate) relation: Relation,
    /// The value.
    pub(crate) value: Expr,
}

/// How a field's value is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// `=`
    Is,
    /// `~`, a text with `*` for anything.
    Like,
    /// `!=`
    IsNot,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
}

impl Relation {
    /// As a script writes it.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::Like => "~",
            Self::IsNot => "!=",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
        }
    }
}

/// Reads and checks the script `text`, which is in the file `path` and is called `name`.
///
/// # Errors
/// The first thing in it that is wrong.
pub fn read(path: &Path, name: &str, text: &str) -> Result<Script, Refusal> {
    let sound = || {
        let (head, body, line) = head::read(text)?;
        let steps = parser::steps(body, line)?;
        check::check(&head, &steps)?;
        if let Some(definitions) = &head.definitions {
            definitions.check_use(body, head.definitions_line)?;
        }
        Ok(Script { path: path.to_owned(), name: name.to_owned(), head, steps })
    };
    sound().map_err(|cursor::Wrong { line, reason }| Refusal { path: path.to_owned(), line, reason })
}
