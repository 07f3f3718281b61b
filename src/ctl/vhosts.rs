//! Commands about vhosts.

use super::error::CtlError;
use super::table::Columns;
use super::{Request, Shown};
use crate::admin::vhosts::{VHostOperation, VHostRow};
use crate::admin::{Operation, columns_of};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Add a vhost, in which nobody may do anything until set_permissions
    AddVhost {
        /// Its name
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// Its tags, with commas between them
        #[arg(long, value_delimiter = ',')]
        tags: Vec<String>,
        /// The type of queues whose declaration names none
        #[arg(long = "default-queue-type", value_name = "TYPE")]
        default_queue_type: Option<String>,
    },
    /// Say something else of a vhost
    UpdateVhostMetadata {
        /// Its name
        name: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// Its tags, with commas between them
        #[arg(long, value_delimiter = ',')]
        tags: Option<Vec<String>>,
        /// The type of queues whose declaration names none
        #[arg(long = "default-queue-type", value_name = "TYPE")]
        default_queue_type: Option<String>,
    },
    /// Delete a vhost with all that is in it, and close its connections
    DeleteVhost {
        /// Its name
        name: String,
    },
    /// List vhosts: their names, or the columns that are named
    ListVhosts {
        /// Columns, such as description, tags, default_queue_type, tracing
        columns: Vec<String>,
    },
    /// Copy what clients publish and are delivered in the vhost of -p to the exchange
    /// amq.rabbitmq.trace, until the broker stops
    TraceOn,
    /// Copy it no longer
    TraceOff,
    /// Limit what there may be in the vhost of -p at a time
    SetVhostLimits {
        /// As in {"max-connections": 5, "max-queues": 50}; -1 lifts a limit
        definition: String,
    },
    /// Lift the limits of the vhost of -p
    ClearVhostLimits,
    /// List the limits of vhosts that have any
    ListVhostLimits,
}

impl Command {
    /// What it asks for, in that vhost.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, vhost: String) -> Result<Request, CtlError> {
        use VHostOperation as Asks;
        let operation = match self {
            Self::AddVhost { name, description, tags, default_queue_type } => {
                Asks::AddVhost { vhost: name, description, tags, default_queue_type }
            }
            Self::UpdateVhostMetadata { name, description, tags, default_queue_type } => {
                Asks::UpdateVhostMetadata { vhost: name, description, tags, default_queue_type }
            }
            Self::DeleteVhost { name } => Asks::DeleteVhost { vhost: name },
            Self::SetVhostLimits { definition } => {
                let limits = serde_json::from_str(&definition).map_err(|error| {
                    let example = r#"{"max-connections": 5, "max-queues": 50}"#;
                    CtlError::Definition(format!("'{definition}' are no limits, as in {example}: {error}"))
                })?;
                Asks::SetVhostLimits { vhost, limits }
            }
            Self::TraceOn => Asks::TraceOn { vhost },
            Self::TraceOff => Asks::TraceOff { vhost },
            Self::ClearVhostLimits => Asks::ClearVhostLimits { vhost },
            Self::ListVhosts { columns } => {
                let columns = Columns::chosen(&columns, &["name"], columns_of::<VHostRow>())?;
                return Ok(list(Asks::ListVhosts, columns));
            }
            Self::ListVhostLimits => {
                let columns = Columns::fixed(&["vhost", "max-connections", "max-queues"]);
                return Ok(list(Asks::ListVhostLimits { vhost: None }, columns));
            }
        };
        Ok(Request::done(Operation::VHosts(operation), ""))
    }
}

fn list(operation: VHostOperation, columns: Columns) -> Request {
    Request { operation: Operation::VHosts(operation), answer: Shown::List(columns) }
}
