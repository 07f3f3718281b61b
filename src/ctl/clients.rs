//! Commands about connections and channels.

use super::error::CtlError;
use super::table::Columns;
use super::{Request, Shown};
use crate::admin::clients::{ChannelRow, ClientOperation, ConnectionRow};
use crate::admin::{Operation, columns_of};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// List connections: user, peer and state, or the given columns
    ListConnections {
        /// Columns, such as name, vhost, ssl, channels, client_properties, recv_oct
        columns: Vec<String>,
    },
    /// List channels: name, user, consumers and unacknowledged messages, or the given columns
    ListChannels {
        /// Columns, such as number, connection, confirm, messages_unconfirmed, prefetch_count
        columns: Vec<String>,
    },
    /// Show a connection with its channels
    DescribeConnection {
        /// Name of the connection as in list_connections, or the part before the arrow
        connection: String,
    },
    /// Close a connection
    CloseConnection {
        /// Name of the connection as in list_connections, or the part before the arrow
        connection: String,
        /// Reason to tell the client
        reason: String,
    },
}

impl Command {
    /// What it asks for.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self) -> Result<Request, CtlError> {
        let (operation, answer) = match self {
            Self::ListConnections { columns } => {
                let usual = ["user", "peer_host", "peer_port", "state"];
                let columns = Columns::chosen(&columns, &usual, columns_of::<ConnectionRow>())?;
                (ClientOperation::ListConnections, Shown::List(columns))
            }
            Self::ListChannels { columns } => {
                let usual = ["name", "user", "consumer_count", "messages_unacknowledged"];
                let columns = Columns::chosen(&columns, &usual, columns_of::<ChannelRow>())?;
                (ClientOperation::ListChannels, Shown::List(columns))
            }
            Self::DescribeConnection { connection } => {
                (ClientOperation::DescribeConnection { connection }, Shown::Thing)
            }
            Self::CloseConnection { connection, reason } => {
                (ClientOperation::CloseConnection { connection, reason }, Shown::Done(""))
            }
        };
        Ok(Request { operation: Operation::Clients(operation), answer })
    }
}
