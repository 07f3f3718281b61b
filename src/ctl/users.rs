//! Commands about users.

use super::error::CtlError;
use super::secret::password;
use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::Operation;
use crate::admin::users::{LimitsChange, UserOperation, WhichLimits};
use clap::{Subcommand, ValueEnum};

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// Add a user; it has no permissions until set_permissions
    AddUser {
        /// Name of the user
        user: String,
        /// Password; if omitted, it is asked for or read from standard input
        password: Option<String>,
        /// The password is a hash, as hash_password prints it
        #[arg(long = "pre-hashed-password")]
        pre_hashed_password: bool,
    },
    /// Print the hash of a password, for add_user --pre-hashed-password and for definitions
    HashPassword {
        /// Password; if omitted, it is asked for or read from standard input
        password: Option<String>,
    },
    /// Delete a user and close its connections
    DeleteUser {
        /// Name of the user
        user: String,
    },
    /// Change a user's password
    ChangePassword {
        /// Name of the user
        user: String,
        /// New password; if omitted, it is asked for or read from standard input
        password: Option<String>,
    },
    /// Remove a user's password, so that it cannot log in with one
    ClearPassword {
        /// Name of the user
        user: String,
    },
    /// Check a user's password
    AuthenticateUser {
        /// Name of the user
        user: String,
        /// Password; if omitted, it is asked for or read from standard input
        password: Option<String>,
    },
    /// Set a user's tags, replacing those it has
    SetUserTags {
        /// Name of the user
        user: String,
        /// Tags; none removes them all
        tags: Vec<String>,
    },
    /// List users and their tags
    ListUsers,
    /// Limit a user's connections and channels
    SetUserLimits {
        /// Name of the user
        user: String,
        /// JSON, as in {"max-connections": 5, "max-channels": 50}; -1 removes a limit
        definition: String,
    },
    /// Remove limits of a user
    ClearUserLimits {
        /// Name of the user
        user: String,
        /// Limit to remove
        limit: Limit,
    },
    /// List the limits of users who have any
    ListUserLimits {
        /// Only of this user
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Of all users (the default)
        #[arg(long, conflicts_with = "user")]
        global: bool,
    },
}

/// A limit of a user.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Limit {
    /// Open connections
    MaxConnections,
    /// Open channels
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
            Self::AddUser { user, password: given, pre_hashed_password } => {
                let password = password(given)?;
                let words = "The user has no permissions yet: see leveret ctl set_permissions --help";
                if pre_hashed_password {
                    (UserOperation::AddHashedUser { user, password }, words)
                } else {
                    (UserOperation::AddUser { user, password, tags: Vec::new() }, words)
                }
            }
            Self::HashPassword { password: given } => {
                return Ok(Request::told(&password(given)?.hashed()));
            }
            Self::DeleteUser { user } => (UserOperation::DeleteUser { user }, ""),
            Self::ChangePassword { user, password: given } => {
                (UserOperation::ChangePassword { user, password: password(given)? }, "")
            }
            Self::ClearPassword { user } => (UserOperation::ClearPassword { user }, ""),
            Self::AuthenticateUser { user, password: given } => {
                (UserOperation::AuthenticateUser { user, password: password(given)? }, "Success")
            }
            Self::SetUserTags { user, tags } => {
                let operation = UserOperation::SetUserTags { user, tags };
                let answer = Shown::Noted(operation.tags_without_meaning());
                return Ok(Request { asks: Asks::Operation(Operation::Users(operation)), answer });
            }
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
    Request {
        asks: Asks::Operation(Operation::Users(operation)),
        answer: Shown::List(Columns::fixed(columns)),
    }
}

fn limits(definition: &str) -> Result<LimitsChange, CtlError> {
    serde_json::from_str(definition).map_err(|error| {
        let example = r#"{"max-connections": 5, "max-channels": 50}"#;
        CtlError::bad_limits(&error, example)
    })
}
