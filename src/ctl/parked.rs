//! Commands about parked messages.

use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::parked::{ParkedOperation, ParkedRow};
use crate::admin::{Operation, columns_of};
use clap::Subcommand;
use serde_json::Value;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// List parked messages, the first 1000 of each queue
    ListParked {
        /// Name of the queue; if omitted, all queues
        queue: Option<String>,
        /// Columns, such as reason, why, died_at, exchange, routing_key, message_id, body_bytes
        #[arg(requires = "queue")]
        columns: Vec<String>,
    },
    /// Move all parked messages of a queue to its end, or publish them elsewhere
    RequeueParked {
        /// Name of the queue
        queue: String,
        /// Publish to this exchange with this routing key instead; '' is the default exchange
        #[arg(long, num_args = 2, value_names = ["EXCHANGE", "KEY"])]
        to: Option<Vec<String>>,
    },
    /// Drop all parked messages of a queue
    DropParked {
        /// Name of the queue
        queue: String,
    },
}

impl Command {
    /// What it asks for, in that vhost.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, vhost: String) -> Result<Request, CtlError> {
        let (operation, answer) = match self {
            Self::ListParked { queue, columns } => (
                ParkedOperation::ListParked { vhost, queue },
                Columns::chosen(&columns, columns_of::<ParkedRow>(), columns_of::<ParkedRow>(), &[])
                    .map(|columns| Shown::List(columns.with_time("died_at")))?,
            ),
            Self::RequeueParked { queue, to } => {
                let to: Option<(String, String)> =
                    to.and_then(|to| <[String; 2]>::try_from(to).ok()).map(Into::into);
                (ParkedOperation::RequeueParked { vhost, queue, to: to.clone() }, Shown::Requeued(to))
            }
            Self::DropParked { queue } => {
                (ParkedOperation::DropParked { vhost, queue }, Shown::Count("messages", "messages dropped"))
            }
        };
        Ok(Request { asks: Asks::Operation(Operation::Parked(operation)), answer })
    }
}

/// How many messages `requeue_parked` moved.
#[must_use]
pub fn moved(told: &Value) -> u64 {
    counted(told, "moved")
}

/// Whether `requeue_parked` moved all messages.
///
/// # Errors
/// Some are still parked: how many, and why.
pub fn check_none_left(told: &Value, to: Option<&(String, String)>) -> Result<(), CtlError> {
    let stay = match counted(told, "parked") {
        0 => return Ok(()),
        1 => "1 message stays parked".to_owned(),
        count => format!("{count} messages stay parked"),
    };
    let why = match to {
        Some((exchange, key)) => format!("no queue took them from exchange '{exchange}' with key '{key}'"),
        None => "the queue refused them; list_parked shows why".to_owned(),
    };
    Err(CtlError::Incomplete(format!("{stay}: {why}")))
}

fn counted(told: &Value, what: &str) -> u64 {
    told.get("requeued").and_then(|told| told.get(what)).and_then(Value::as_u64).unwrap_or_default()
}
