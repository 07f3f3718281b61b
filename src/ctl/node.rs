//! Commands about the broker as a whole.

use super::error::CtlError;
use super::table::Columns;
use super::{Request, Shown};
use crate::admin::damage::DamagedRow;
use crate::admin::node::NodeOperation;
use crate::admin::{Operation, columns_of};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Check that the broker answers
    Ping,
    /// Show the broker's status
    Status,
    /// List messages that are damaged on disk and not delivered; the column records exports their
    /// bytes
    ListDamaged {
        /// Columns, such as queue, vhost, queue_id, first, messages, bytes, records
        columns: Vec<String>,
    },
}

/// All but what may be large.
const DAMAGED_USUAL: [&str; 6] = ["queue", "vhost", "queue_id", "first", "messages", "bytes"];

impl Command {
    /// What it asks for.
    ///
    /// # Errors
    /// There is no such column.
    pub fn request(self) -> Result<Request, CtlError> {
        let (operation, answer) = match self {
            Self::Ping => (NodeOperation::Ping, Shown::Done("Ping succeeded")),
            Self::Status => (NodeOperation::Status, Shown::Thing),
            Self::ListDamaged { columns } => {
                let records = columns.iter().any(|column| column == "records");
                let columns = Columns::chosen(&columns, &DAMAGED_USUAL, columns_of::<DamagedRow>())?;
                (NodeOperation::ListDamaged { records }, Shown::List(columns))
            }
        };
        Ok(Request { operation: Operation::Node(operation), answer })
    }
}
