//! Commands about what is in a vhost: queues and their consumers, exchanges, bindings.

use super::error::CtlError;
use super::table::Columns;
use super::{Request, Shown};
use crate::admin::Operation;
use crate::admin::exchanges::ExchangeOperation;
use crate::admin::queues::QueueOperation;
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// List queues: name and messages, or the columns that are named
    ListQueues {
        /// Columns, such as messages_ready, consumers, arguments, policy, type, durable, owner_pid
        columns: Vec<String>,
    },
    /// List exchanges: name and type, or the columns that are named
    ListExchanges {
        /// Columns, such as durable, internal, arguments, policy
        columns: Vec<String>,
    },
    /// List bindings, that of every queue to the default exchange included
    ListBindings {
        /// Columns, such as source_name, destination_name, routing_key
        columns: Vec<String>,
    },
    /// List consumers
    ListConsumers {
        /// Columns, such as queue_name, consumer_tag, active, activity_status
        columns: Vec<String>,
    },
    /// Show a queue with its bindings and consumers
    DescribeQueue {
        /// Its name
        queue: String,
    },
    /// Show an exchange with its bindings
    DescribeExchange {
        /// Its name; '' for the default exchange
        exchange: String,
    },
    /// Drop all messages of a queue that wait for a consumer
    PurgeQueue {
        /// Its name
        queue: String,
    },
    /// Delete a queue and its messages
    DeleteQueue {
        /// Its name
        queue: String,
        /// Only if no message is ready or parked in it
        #[arg(long = "if-empty", short = 'e')]
        if_empty: bool,
        /// Only if it has no consumer
        #[arg(long = "if-unused", short = 'u')]
        if_unused: bool,
    },
}

const QUEUE_COLUMNS: [&str; 19] = [
    "name",
    "vhost",
    "type",
    "durable",
    "auto_delete",
    "exclusive",
    "arguments",
    "policy",
    "operator_policy",
    "effective_policy_definition",
    "state",
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "messages_parked",
    "consumers",
    "memory",
    "owner_pid",
    "exclusive_consumer_tag",
];

const EXCHANGE_COLUMNS: [&str; 8] =
    ["name", "vhost", "type", "durable", "auto_delete", "internal", "arguments", "policy"];

const BINDING_COLUMNS: [&str; 6] =
    ["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"];

const CONSUMER_COLUMNS: [&str; 9] = [
    "queue_name",
    "channel_pid",
    "consumer_tag",
    "ack_required",
    "prefetch_count",
    "active",
    "activity_status",
    "exclusive",
    "arguments",
];

/// What rabbitmqctl shows of consumers.
const CONSUMER_USUAL: [&str; 7] =
    ["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"];

impl Command {
    /// What it asks for, in that vhost.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, vhost: String) -> Result<Request, CtlError> {
        use {ExchangeOperation as Exchanges, QueueOperation as Queues};
        let chosen = |asked: &[String], usual: &[&str], known: &[&str]| {
            Columns::chosen(asked, usual, known).map(Shown::List)
        };
        let (operation, answer) = match self {
            Self::ListQueues { columns } => (
                Operation::Queues(Queues::ListQueues { vhost }),
                chosen(&columns, &["name", "messages"], &QUEUE_COLUMNS)?,
            ),
            Self::ListExchanges { columns } => (
                Operation::Exchanges(Exchanges::ListExchanges { vhost }),
                chosen(&columns, &["name", "type"], &EXCHANGE_COLUMNS)?,
            ),
            Self::ListBindings { columns } => (
                Operation::Exchanges(Exchanges::ListBindings { vhost }),
                chosen(&columns, &BINDING_COLUMNS, &BINDING_COLUMNS)?,
            ),
            Self::ListConsumers { columns } => (
                Operation::Queues(Queues::ListConsumers { vhost }),
                chosen(&columns, &CONSUMER_USUAL, &CONSUMER_COLUMNS)?,
            ),
            Self::DescribeQueue { queue } => {
                (Operation::Queues(Queues::DescribeQueue { vhost, queue }), Shown::Thing)
            }
            Self::DescribeExchange { exchange } => {
                (Operation::Exchanges(Exchanges::DescribeExchange { vhost, exchange }), Shown::Thing)
            }
            Self::PurgeQueue { queue } => {
                (Operation::Queues(Queues::PurgeQueue { vhost, queue }), Shown::Messages("messages purged"))
            }
            Self::DeleteQueue { queue, if_empty, if_unused } => (
                Operation::Queues(Queues::DeleteQueue { vhost, queue, if_empty, if_unused }),
                Shown::Messages("queue deleted, messages ready in it"),
            ),
        };
        Ok(Request { operation, answer })
    }
}
