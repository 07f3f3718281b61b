//! Commands about messages that died and have nowhere to go.

use super::error::CtlError;
use super::table::Columns;
use super::{Request, Shown};
use crate::admin::parked::{ParkedOperation, ParkedRow};
use crate::admin::{Operation, columns_of};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// List messages that died and have nowhere to go, the first 1000 of each queue
    ListParked {
        /// Its name; all queues without it
        queue: Option<String>,
        /// Columns, such as reason, why, died_at, exchange, routing_key, message_id, body_bytes
        #[arg(requires = "queue")]
        columns: Vec<String>,
    },
    /// Move all parked messages of a queue back to its end, as if they had just come, or to where
    /// they should go
    RequeueParked {
        /// Its name
        queue: String,
        /// Publish them there instead; '' is the default exchange, whose keys are names of queues
        #[arg(long, num_args = 2, value_names = ["EXCHANGE", "KEY"])]
        to: Option<Vec<String>>,
    },
    /// Drop all parked messages of a queue
    DropParked {
        /// Its name
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
                Columns::chosen(&columns, columns_of::<ParkedRow>(), columns_of::<ParkedRow>())
                    .map(Shown::List)?,
            ),
            Self::RequeueParked { queue, to } => {
                let to = to.and_then(|to| <[String; 2]>::try_from(to).ok()).map(Into::into);
                (ParkedOperation::RequeueParked { vhost, queue, to }, Shown::Thing)
            }
            Self::DropParked { queue } => {
                (ParkedOperation::DropParked { vhost, queue }, Shown::Messages("messages dropped"))
            }
        };
        Ok(Request { operation: Operation::Parked(operation), answer })
    }
}
