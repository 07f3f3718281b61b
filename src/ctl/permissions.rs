//! Commands about what users may do.

use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::Operation;
use crate::admin::permissions::{PermissionOperation, PermissionRow, TopicPermissionRow};
use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Set a user's permissions in a vhost
    SetPermissions {
        /// Name of the user
        user: String,
        /// Regular expression for names the user may configure (declare and delete)
        #[arg(allow_hyphen_values = true)]
        configure: String,
        /// Regular expression for names the user may write to
        #[arg(allow_hyphen_values = true)]
        write: String,
        /// Regular expression for names the user may read from
        #[arg(allow_hyphen_values = true)]
        read: String,
    },
    /// Remove a user's permissions in a vhost
    ClearPermissions {
        /// Name of the user
        user: String,
    },
    /// List permissions in a vhost
    ListPermissions,
    /// List a user's permissions in all vhosts
    ListUserPermissions {
        /// Name of the user
        user: String,
    },
    /// Set a user's topic permissions for an exchange in a vhost
    SetTopicPermissions {
        /// Name of the user
        user: String,
        /// Name of the exchange
        exchange: String,
        /// Regular expression for routing keys the user may publish with
        #[arg(allow_hyphen_values = true)]
        write: String,
        /// Regular expression for routing keys the user may bind with
        #[arg(allow_hyphen_values = true)]
        read: String,
    },
    /// Remove a user's topic permissions in a vhost
    ClearTopicPermissions {
        /// Name of the user
        user: String,
        /// Only for this exchange
        exchange: Option<String>,
    },
    /// List topic permissions in a vhost
    ListTopicPermissions,
    /// List a user's topic permissions in all vhosts
    ListUserTopicPermissions {
        /// Name of the user
        user: String,
    },
}

impl Command {
    /// What it asks for, in that vhost.
    #[must_use]
    pub fn request(self, vhost: String) -> Request {
        use PermissionOperation as Wanted;
        let operation = match self {
            Self::SetPermissions { user, configure, write, read } => {
                Wanted::SetPermissions(PermissionRow { user, vhost, configure, write, read })
            }
            Self::ClearPermissions { user } => Wanted::ClearPermissions { user, vhost },
            Self::SetTopicPermissions { user, exchange, write, read } => {
                Wanted::SetTopicPermissions(TopicPermissionRow { user, vhost, exchange, write, read })
            }
            Self::ClearTopicPermissions { user, exchange } => {
                Wanted::ClearTopicPermissions { user, vhost, exchange }
            }
            Self::ListPermissions => {
                return list(Wanted::ListPermissions { vhost }, &["user", "configure", "write", "read"]);
            }
            Self::ListUserPermissions { user } => {
                return list(Wanted::ListUserPermissions { user }, &["vhost", "configure", "write", "read"]);
            }
            Self::ListTopicPermissions => {
                return list(Wanted::ListTopicPermissions { vhost }, &["user", "exchange", "write", "read"]);
            }
            Self::ListUserTopicPermissions { user } => {
                return list(
                    Wanted::ListUserTopicPermissions { user },
                    &["vhost", "exchange", "write", "read"],
                );
            }
        };
        Request::done(Operation::Permissions(operation), "")
    }
}

fn list(operation: PermissionOperation, columns: &[&str]) -> Request {
    Request {
        asks: Asks::Operation(Operation::Permissions(operation)),
        answer: Shown::List(Columns::fixed(columns)),
    }
}
