//! Commands about what users may do.

use super::table::Columns;
use super::{Request, Shown};
use crate::admin::Operation;
use crate::admin::permissions::{PermissionOperation, PermissionRow, TopicPermissionRow};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Say which names a user may configure, write to and read from in a vhost
    SetPermissions {
        /// Its name
        user: String,
        /// A pattern of what it may make and delete
        #[arg(allow_hyphen_values = true)]
        configure: String,
        /// A pattern of what it may put something into
        #[arg(allow_hyphen_values = true)]
        write: String,
        /// A pattern of what it may get something out of
        #[arg(allow_hyphen_values = true)]
        read: String,
    },
    /// Keep a user out of a vhost
    ClearPermissions {
        /// Its name
        user: String,
    },
    /// List what users may do in a vhost
    ListPermissions,
    /// List what a user may do in all vhosts
    ListUserPermissions {
        /// Its name
        user: String,
    },
    /// Say which keys a user may publish and bind with at a topic exchange
    SetTopicPermissions {
        /// Its name
        user: String,
        /// The exchange
        exchange: String,
        /// A pattern of keys that it may publish with
        #[arg(allow_hyphen_values = true)]
        write: String,
        /// A pattern of keys that it may bind with
        #[arg(allow_hyphen_values = true)]
        read: String,
    },
    /// Let a user use all keys again
    ClearTopicPermissions {
        /// Its name
        user: String,
        /// With this exchange only
        exchange: Option<String>,
    },
    /// List which keys users may use in a vhost
    ListTopicPermissions,
    /// List which keys a user may use in all vhosts
    ListUserTopicPermissions {
        /// Its name
        user: String,
    },
}

impl Command {
    /// What it asks for, in that vhost.
    #[must_use]
    pub fn request(self, vhost: String) -> Request {
        use PermissionOperation as Asks;
        let operation = match self {
            Self::SetPermissions { user, configure, write, read } => {
                Asks::SetPermissions(PermissionRow { user, vhost, configure, write, read })
            }
            Self::ClearPermissions { user } => Asks::ClearPermissions { user, vhost },
            Self::SetTopicPermissions { user, exchange, write, read } => {
                Asks::SetTopicPermissions(TopicPermissionRow { user, vhost, exchange, write, read })
            }
            Self::ClearTopicPermissions { user, exchange } => {
                Asks::ClearTopicPermissions { user, vhost, exchange }
            }
            Self::ListPermissions => {
                return list(Asks::ListPermissions { vhost }, &["user", "configure", "write", "read"]);
            }
            Self::ListUserPermissions { user } => {
                return list(Asks::ListUserPermissions { user }, &["vhost", "configure", "write", "read"]);
            }
            Self::ListTopicPermissions => {
                return list(Asks::ListTopicPermissions { vhost }, &["user", "exchange", "write", "read"]);
            }
            Self::ListUserTopicPermissions { user } => {
                return list(
                    Asks::ListUserTopicPermissions { user },
                    &["vhost", "exchange", "write", "read"],
                );
            }
        };
        Request::done(Operation::Permissions(operation), "")
    }
}

fn list(operation: PermissionOperation, columns: &[&str]) -> Request {
    Request { operation: Operation::Permissions(operation), answer: Shown::List(Columns::fixed(columns)) }
}
