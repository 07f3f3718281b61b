//! Commands about users.

use super::error::CtlError;
use super::secret::password;
use super::table::Columns;
use super::{Request, Shown};
use crate::admin::Operation;
use crate::admin::users::{LimitsChange, UserOperation, WhichLimits};
use clap::{Subcommand, ValueEnum};

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Add a user, who may do nothing until set_permissions
    AddUser {
        /// Its name
        user: String,
        /// Its password; asked for, or read from standard input, when missing
        password: Option<String>,
    },
    /// Delete a user, and close its connections
    DeleteUser {
        /// Its name
        user: String,
    },
    /// Give a user another password
    ChangePassword {
        /// Its name
        user: String,
        /// The new password; asked for, or read from standard input, when missing
        password: Option<String>,
    },
    /// Take a user's password away: it cannot log in with one any more
    ClearPassword {
        /// Its name
        user: String,
    },
    /// Ask whether a password is that of a user
    AuthenticateUser {
        /// Its name
        user: String,
        /// The password; asked for, or read from standard input, when missing
        password: Option<String>,
    },
    /// Give a user these tags, and no others
    SetUserTags {
        /// Its name
        user: String,
        /// The tags; none to take all away
        tags: Vec<String>,
    },
    /// List users and their tags
    ListUsers,
    /// Limit what a user may have at a time
    SetUserLimits {
        /// Its name
        user: String,
        /// As in {"max-connections": 5, "max-channels": 50}; -1 lifts a limit
        definition: String,
    },
    /// Lift limits of a user
    ClearUserLimits {
        /// Its name
        user: String,
        /// Which
        limit: Limit,
    },
    /// List the limits of users who have any
    ListUserLimits {
        /// Of this user only
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Of all users, which is what happens without --user
        #[arg(long, conflicts_with = "user")]
        global: bool,
    },
}

/// A limit of a user.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Limit {
    /// Connections at a time
    MaxConnections,
    /// Channels at a time
    MaxChannels,
    /// Both
    All,
}

impl Command {
    /// What it asks for.
    ///
    /// # Errors
    /// What was typed cannot be meant.
    pub fn request(self) -> Result<Request, CtlError> {
        let (operation, words) = match self {
            Self::AddUser { user, password: given } => {
                let password = password(given)?;
                let words =
                    "The user is added and may do nothing yet: see leveret ctl set_permissions --help";
                (UserOperation::AddUser { user, password, tags: Vec::new() }, words)
            }
            Self::DeleteUser { user } => (UserOperation::DeleteUser { user }, ""),
            Self::ChangePassword { user, password: given } => {
                (UserOperation::ChangePassword { user, password: password(given)? }, "")
            }
            Self::ClearPassword { user } => (UserOperation::ClearPassword { user }, ""),
            Self::AuthenticateUser { user, password: given } => {
                (UserOperation::AuthenticateUser { user, password: password(given)? }, "Success")
            }
            Self::SetUserTags { user, tags } => (UserOperation::SetUserTags { user, tags }, ""),
            Self::SetUserLimits { user, definition } => {
                let limits = limits(&definition)?;
                (UserOperation::SetUserLimits { user, limits }, "")
            }
            Self::ClearUserLimits { user, limit } => {
                let which = match limit {
                    Limit::MaxConnections => WhichLimits::MaxConnections,
                    Limit::MaxChannels => WhichLimits::MaxChannels,
                    Limit::All => WhichLimits::All,
                };
                (UserOperation::ClearUserLimits { user, which }, "")
            }
            Self::ListUsers => return Ok(list(UserOperation::ListUsers, &["user", "tags"])),
            Self::ListUserLimits { user, .. } => {
                return Ok(list(
                    UserOperation::ListUserLimits { user },
                    &["user", "max-connections", "max-channels"],
                ));
            }
        };
        Ok(Request::done(Operation::Users(operation), words))
    }
}

fn list(operation: UserOperation, columns: &[&str]) -> Request {
    Request { operation: Operation::Users(operation), answer: Shown::List(Columns::fixed(columns)) }
}

fn limits(definition: &str) -> Result<LimitsChange, CtlError> {
    serde_json::from_str(definition).map_err(|error| {
        let example = r#"{"max-connections": 5, "max-channels": 50}"#;
        CtlError::Definition(format!("'{definition}' are no limits, as in {example}: {error}"))
    })
}
