//! Commands about connections and channels.

use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
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
    /// Close connections: of one vhost with -p, or all
    CloseAllConnections {
        /// Close those of all vhosts (the default)
        #[arg(long)]
        global: bool,
        /// Close at most this many connections, oldest first
        #[arg(long, value_name = "NUMBER")]
        limit: Option<u64>,
        /// Reason to tell the clients
        reason: String,
    },
    /// Close all connections of a user
    CloseAllUserConnections {
        /// Name of the user
        user: String,
        /// Reason to tell the clients
        reason: String,
    },
}

/// Columns that RabbitMQ has beside ours.
const CONNECTIONS_OF_RABBITMQ: &[&str] = &[
    "node",
    "ssl_protocol",
    "ssl_key_exchange",
    "ssl_cipher",
    "ssl_hash",
    "peer_cert_subject",
    "peer_cert_issuer",
    "peer_cert_validity",
    "recv_cnt",
    "send_cnt",
    "reductions",
    "garbage_collection",
];

impl Command {
    /// What it asks for, of that vhost if one was typed.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self, vhost: Option<String>) -> Result<Request, CtlError> {
        let (operation, answer) = match self {
            Self::ListConnections { columns } => {
                let usual = ["user", "peer_host", "peer_port", "state"];
                let columns = Columns::chosen(
                    &columns,
                    &usual,
                    columns_of::<ConnectionRow>(),
                    CONNECTIONS_OF_RABBITMQ,
                )?;
                (ClientOperation::ListConnections, Shown::List(columns))
            }
            Self::ListChannels { columns } => {
                let usual = ["name", "user", "consumer_count", "messages_unacknowledged"];
                let columns = Columns::chosen(&columns, &usual, columns_of::<ChannelRow>(), &["node"])?;
                (ClientOperation::ListChannels, Shown::List(columns))
            }
            Self::DescribeConnection { connection } => {
                (ClientOperation::DescribeConnection { connection }, Shown::Thing)
            }
            Self::CloseConnection { connection, reason } => {
                (ClientOperation::CloseConnection { connection, reason }, Shown::Done(""))
            }
            Self::CloseAllConnections { global, limit, reason } => {
                let vhost = vhost.filter(|_| !global);
                let close = ClientOperation::CloseConnections { vhost, user: None, limit, reason };
                (close, Shown::Count("connections", "connections closed"))
            }
            Self::CloseAllUserConnections { user, reason } => {
                let user = Some(user);
                let close = ClientOperation::CloseConnections { vhost: None, user, limit: None, reason };
                (close, Shown::Count("connections", "connections closed"))
            }
        };
        Ok(Request { asks: Asks::Operation(Operation::Clients(operation)), answer })
    }
}
