//! Commands about vhosts.

use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown, VHOST};
use crate::admin::vhosts::{VHostOperation, VHostRow};
use crate::admin::{Operation, columns_of};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Add a vhost; nobody has permissions in it until set_permissions
    AddVhost {
        /// Name of the vhost
        name: String,
        /// Description
        #[arg(long, default_value = "")]
        description: String,
        /// Tags, separated by commas
        #[arg(long, value_delimiter = ',')]
        tags: Vec<String>,
        /// Type of queues that are declared without one: classic, quorum or stream
        #[arg(long = "default-queue-type", value_name = "TYPE")]
        default_queue_type: Option<String>,
    },
    /// Change a vhost's description, tags or default queue type
    UpdateVhostMetadata {
        /// Name of the vhost
        name: String,
        /// Description
        #[arg(long)]
        description: Option<String>,
        /// Tags, separated by commas
        #[arg(long, value_delimiter = ',')]
        tags: Option<Vec<String>>,
        /// Type of queues that are declared without one: classic, quorum or stream
        #[arg(long = "default-queue-type", value_name = "TYPE")]
        default_queue_type: Option<String>,
    },
    /// Delete a vhost with everything in it and close its connections
    DeleteVhost {
        /// Name of the vhost
        name: String,
    },
    /// List vhosts: their names, or the given columns
    ListVhosts {
        /// Columns, such as description, tags, default_queue_type, tracing
        columns: Vec<String>,
    },
    /// Copy all messages published to and delivered in a vhost to its exchange amq.rabbitmq.trace,
    /// until trace_off or a restart
    TraceOn,
    /// Stop tracing
    TraceOff,
    /// Limit a vhost's connections and queues
    SetVhostLimits {
        /// JSON, as in {"max-connections": 5, "max-queues": 50}; -1 removes a limit
        definition: String,
    },
    /// Remove the limits of a vhost
    ClearVhostLimits,
    /// List the limits of vhosts that have any; with -p, only of that vhost
    ListVhostLimits {
        /// Of all vhosts (the default)
        #[arg(long)]
        global: bool,
    },
}

impl Command {
    /// What it asks for, in that vhost if one was typed.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, typed: Option<String>) -> Result<Request, CtlError> {
        use VHostOperation as Wanted;
        let vhost = typed.clone().unwrap_or_else(|| VHOST.to_owned());
        let operation = match self {
            Self::AddVhost { name, description, tags, default_queue_type } => {
                Wanted::AddVhost { vhost: name, description, tags, default_queue_type }
            }
            Self::UpdateVhostMetadata { name, description, tags, default_queue_type } => {
                Wanted::UpdateVhostMetadata { vhost: name, description, tags, default_queue_type }
            }
            Self::DeleteVhost { name } => Wanted::DeleteVhost { vhost: name },
            Self::SetVhostLimits { definition } => {
                let limits = serde_json::from_str(&definition).map_err(|error| {
                    let example = r#"{"max-connections": 5, "max-queues": 50}"#;
                    CtlError::bad_limits(&error, example)
                })?;
                Wanted::SetVhostLimits { vhost, limits }
            }
            Self::TraceOn => Wanted::TraceOn { vhost },
            Self::TraceOff => Wanted::TraceOff { vhost },
            Self::ClearVhostLimits => Wanted::ClearVhostLimits { vhost },
            Self::ListVhosts { columns } => {
                let columns = Columns::chosen(
                    &columns,
                    &["name"],
                    columns_of::<VHostRow>(),
                    &["cluster_state", "metadata", "recovery"],
                )?;
                return Ok(list(Wanted::ListVhosts, columns));
            }
            Self::ListVhostLimits { global } => {
                let columns = Columns::fixed(&["vhost", "max-connections", "max-queues"]);
                return Ok(list(Wanted::ListVhostLimits { vhost: typed.filter(|_| !global) }, columns));
            }
        };
        Ok(Request::done(Operation::VHosts(operation), ""))
    }
}

fn list(operation: VHostOperation, columns: Columns) -> Request {
    Request { asks: Asks::Operation(Operation::VHosts(operation)), answer: Shown::List(columns) }
}
