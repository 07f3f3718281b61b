//! Commands about what is in a vhost: queues and their consumers, exchanges, bindings.

use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::exchanges::{BindingRow, ExchangeOperation, ExchangeRow};
use crate::admin::queues::{ConsumerRow, QueueOperation, QueueRow};
use crate::admin::{Operation, columns_of};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// List queues: name and messages, or the given columns
    ListQueues {
        /// No effect: every queue is online
        #[arg(long)]
        online: bool,
        /// No effect: every queue is on this node
        #[arg(long)]
        local: bool,
        /// Columns, such as messages_ready, consumers, arguments, policy, type, durable, owner_pid
        columns: Vec<String>,
    },
    /// List exchanges: name and type, or the given columns
    ListExchanges {
        /// Columns, such as durable, internal, arguments, policy
        columns: Vec<String>,
    },
    /// List bindings, including each queue's binding to the default exchange
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
        /// Name of the queue
        queue: String,
    },
    /// Show an exchange with its bindings
    DescribeExchange {
        /// Name of the exchange; '' is the default exchange
        exchange: String,
    },
    /// Drop the ready and delayed messages of a queue; unacknowledged and parked ones stay
    PurgeQueue {
        /// Name of the queue
        queue: String,
    },
    /// Delete a queue and its messages
    DeleteQueue {
        /// Name of the queue
        queue: String,
        /// Only if it has no ready or parked message
        #[arg(long = "if-empty", short = 'e')]
        if_empty: bool,
        /// Only if it has no consumer
        #[arg(long = "if-unused", short = 'u')]
        if_unused: bool,
    },
}

/// Columns that RabbitMQ has beside ours.
const QUEUES_OF_RABBITMQ: &[&str] = &[
    "exclusive_consumer_pid",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "messages_persistent",
    "message_bytes_persistent",
    "disk_reads",
    "disk_writes",
    "leader",
    "members",
    "online",
    "slave_pids",
    "synchronised_slave_pids",
    "mirror_pids",
    "synchronised_mirror_pids",
    "message_stats",
    "storage_version",
];

/// What rabbitmqctl shows of bindings.
const BINDING_USUAL: [&str; 6] =
    ["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"];

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
            Columns::chosen(asked, usual, known, QUEUES_OF_RABBITMQ).map(Shown::List)
        };
        let (operation, answer) = match self {
            Self::ListQueues { columns, online: _, local: _ } => (
                Operation::Queues(Queues::ListQueues { vhost }),
                chosen(&columns, &["name", "messages"], columns_of::<QueueRow>())?,
            ),
            Self::ListExchanges { columns } => (
                Operation::Exchanges(Exchanges::ListExchanges { vhost }),
                chosen(&columns, &["name", "type"], columns_of::<ExchangeRow>())?,
            ),
            Self::ListBindings { columns } => (
                Operation::Exchanges(Exchanges::ListBindings { vhost }),
                chosen(&columns, &BINDING_USUAL, columns_of::<BindingRow>())?,
            ),
            Self::ListConsumers { columns } => (
                Operation::Queues(Queues::ListConsumers { vhost }),
                chosen(&columns, &CONSUMER_USUAL, columns_of::<ConsumerRow>())?,
            ),
            Self::DescribeQueue { queue } => {
                (Operation::Queues(Queues::DescribeQueue { vhost, queue }), Shown::Thing)
            }
            Self::DescribeExchange { exchange } => {
                (Operation::Exchanges(Exchanges::DescribeExchange { vhost, exchange }), Shown::Thing)
            }
            Self::PurgeQueue { queue } => (
                Operation::Queues(Queues::PurgeQueue { vhost, queue }),
                Shown::Count("messages", "messages purged"),
            ),
            Self::DeleteQueue { queue, if_empty, if_unused } => (
                Operation::Queues(Queues::DeleteQueue { vhost, queue, if_empty, if_unused }),
                Shown::Count("messages", "queue deleted, messages ready in it"),
            ),
        };
        Ok(Request { asks: Asks::Operation(operation), answer })
    }
}
