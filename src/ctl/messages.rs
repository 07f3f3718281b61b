//! Commands about messages where they are: looked at, deleted, and moved by jobs, whose end is
//! waited for.

use super::broker::{Broker, Reply};
use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::browse::{BrowseOperation, COUNT_MAX, ShownMessage};
use crate::admin::jobs::{JobOperation, RedriveTarget, Which};
use crate::admin::selection::Selection;
use crate::admin::{Operation, columns_of};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

/// Bytes of each body that are shown.
const PAYLOAD_BYTES: usize = 256;

/// How often it is looked how a job stands.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a page of messages has in a table.
const COLUMNS: [&str; 9] = [
    "id",
    "state",
    "exchange",
    "routing_key",
    "redelivered",
    "delivery_count",
    "reason",
    "payload_bytes",
    "payload",
];

/// What of it is a time.
const TIMES: [&str; 3] = ["published_at", "due_at", "expires_at"];

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Show messages of a queue where they are, without taking or counting them
    Peek {
        /// Name of the queue
        queue: String,
        /// Where to begin: head, tail, time:MS (milliseconds since 1970), or an id
        #[arg(long, value_name = "PLACE", default_value = "head")]
        from: String,
        /// Messages at most
        #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=COUNT_MAX), help = format!("Messages at most, up to {COUNT_MAX}"))]
        count: u64,
        /// Only those in this state
        #[arg(long, value_name = "STATE", value_parser = ["ready", "unacknowledged", "delayed", "parked"])]
        state: Option<String>,
        /// Which messages
        #[command(flatten)]
        chosen: Chosen,
        /// Columns, such as message_id, published_at, due_at, properties, unacknowledged_by
        columns: Vec<String>,
    },
    /// Delete one message of a queue for good; peek shows its id
    DeleteMessage {
        /// Name of the queue
        queue: String,
        /// Id of the message
        id: u64,
    },
    /// Make one delayed or parked message of a queue ready now
    RequeueMessage {
        /// Name of the queue
        queue: String,
        /// Id of the message
        id: u64,
    },
    /// Move messages of a queue to where an exchange sends them, and wait until it is done
    Move {
        /// Name of the queue
        queue: String,
        /// Exchange and routing key; '' and a queue's name for a queue
        #[arg(long, num_args = 2, value_names = ["EXCHANGE", "KEY"], required = true)]
        to: Vec<String>,
        /// Which messages
        #[command(flatten)]
        chosen: Chosen,
        /// How many, and how fast
        #[command(flatten)]
        pace: Pace,
    },
    /// Send messages of a queue back to where they died last, and wait until it is done
    Redrive {
        /// Name of the queue
        queue: String,
        /// Where to send them: the queue they died in, or the exchange that routed them to it
        #[arg(long, value_name = "WHAT", default_value = "queue")]
        to: RedriveTo,
        /// Which messages
        #[command(flatten)]
        chosen: Chosen,
        /// How many, and how fast
        #[command(flatten)]
        pace: Pace,
    },
    /// List jobs that move or redrive messages, including recent ones
    ListJobs,
    /// Stop a job after its current batch
    StopJob {
        /// Number of the job
        job: u64,
    },
}

/// A column that is one of a message's properties.
const MESSAGE_ID: &str = "message_id";

/// The messages of a page, with their ids beside what else is told of them.
#[must_use]
pub fn with_ids(mut messages: Vec<Value>) -> Vec<Value> {
    for message in &mut messages {
        message[MESSAGE_ID] = message["properties"][MESSAGE_ID].clone();
    }
    messages
}

/// Where a message goes that is redriven.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RedriveTo {
    /// Into the queue it died in
    Queue,
    /// To the exchange that routed it to the queue it died in, with the same keys
    Exchange,
}

/// Which messages.
#[derive(Args, Debug, Clone)]
pub struct Chosen {
    /// Only those with this header, NAME or NAME:VALUE
    #[arg(long, value_name = "HEADER")]
    header: Option<String>,
    /// Only those with this text in their body
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only those that died for this reason: rejected, expired, maxlen, delivery_limit, delayed
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
}

/// Which messages a job moves, how many, and how fast.
#[derive(Args, Debug, Clone)]
pub struct Pace {
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = ["ready", "delayed", "parked"])]
    state: Option<String>,
    /// At most this many messages
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// At most this many messages per second
    #[arg(long, value_name = "NUMBER")]
    rate: Option<u64>,
}

impl Chosen {
    fn selection(self, state: Option<String>) -> Result<Selection, CtlError> {
        let Self { header, text, reason } = self;
        let named = Selection::named([state, reason], header, text);
        named.map_err(|refusal| CtlError::Usage(refusal.message))
    }

    fn which(self, pace: Pace) -> Result<Which, CtlError> {
        let Pace { state, limit, rate } = pace;
        Ok(Which { ids: None, selection: self.selection(state)?, limit, rate })
    }
}

impl Command {
    /// What it asks for, in that vhost.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, vhost: String) -> Result<Request, CtlError> {
        let browse = |operation| Asks::Operation(Operation::Browse(operation));
        let job = |operation| Asks::Operation(Operation::Jobs(operation));
        let (asks, answer) = match self {
            Self::Peek { queue, from, count, state, chosen, columns } => {
                let (payload_bytes, selection) = (PAYLOAD_BYTES, chosen.selection(state)?);
                let known = [columns_of::<ShownMessage>(), &[MESSAGE_ID]].concat();
                let columns = Columns::chosen(&columns, &COLUMNS, &known, &[])?;
                (
                    browse(BrowseOperation::ListMessages {
                        vhost,
                        queue,
                        from,
                        count,
                        payload_bytes,
                        selection,
                    }),
                    Shown::Page(TIMES.into_iter().fold(columns, |columns, name| columns.with_time(name))),
                )
            }
            Self::DeleteMessage { queue, id } => {
                (browse(BrowseOperation::DeleteMessage { vhost, queue, id }), Shown::Done(""))
            }
            Self::RequeueMessage { queue, id } => {
                (browse(BrowseOperation::RequeueMessage { vhost, queue, id }), Shown::Done(""))
            }
            Self::Move { queue, to, chosen, pace } => {
                let which = chosen.which(pace)?;
                // clap has seen to it that there are two.
                let [exchange, routing_key] = <[String; 2]>::try_from(to).unwrap_or_default();
                let moves = JobOperation::MoveMessages { vhost, queue, exchange, routing_key, which };
                (job(moves), Shown::Job)
            }
            Self::Redrive { queue, to, chosen, pace } => {
                let which = chosen.which(pace)?;
                let to = match to {
                    RedriveTo::Queue => RedriveTarget::Queue,
                    RedriveTo::Exchange => RedriveTarget::Exchange,
                };
                (job(JobOperation::RedriveMessages { vhost, queue, to, which }), Shown::Job)
            }
            Self::ListJobs => {
                let names =
                    ["id", "kind", "vhost", "queue", "state", "moved", "left", "reason", "by", "started_at"];
                (job(JobOperation::ListJobs), Shown::List(Columns::fixed(&names).with_time("started_at")))
            }
            Self::StopJob { job: number } => (job(JobOperation::StopJob { job: number }), Shown::Done("")),
        };
        Ok(Request { asks, answer })
    }
}

/// Waits for the end of a job that has begun; how many messages it moved. A terminal shows how far
/// it is.
///
/// # Errors
/// Some messages are left that should not be, or the broker is gone.
pub fn wait_for(broker: &mut Broker, mut told: Value) -> Result<Value, CtlError> {
    let shows = io::stderr().is_terminal();
    loop {
        let job = told.get_mut("job").map(Value::take).unwrap_or_default();
        let number = |name: &str| job[name].as_u64().unwrap_or_default();
        if shows {
            // Whoever does not see it sees the end.
            let _told = write!(io::stderr(), "\rmoved {} of {} ", number("moved"), number("total"));
        }
        match job["state"].as_str().unwrap_or_default() {
            "running" => {}
            state => {
                if shows {
                    let _told = writeln!(io::stderr());
                }
                let why = job["reason"].as_str().unwrap_or(state);
                return match (state, number("left")) {
                    ("done", _) | (_, 0) => Ok(job),
                    (_, left) => {
                        let moved = number("moved");
                        Err(CtlError::Incomplete(format!("{moved} moved, {left} left: {why}")))
                    }
                };
            }
        }
        thread::park_timeout(LOOK_EVERY);
        let Some(id) = job["id"].as_str().and_then(|id| id.parse().ok()) else {
            return Err(CtlError::Garbled("a job without a number".to_owned()));
        };
        told = match broker.ask(&Asks::Operation(Operation::Jobs(JobOperation::GetJob { job: id })))? {
            Reply::One(told) => told,
            Reply::Many(_) | Reply::Copy(_) => return Err(CtlError::Garbled("not a job".to_owned())),
        };
    }
}
