//! Users: their passwords, tags and limits.

use super::access::{Access, Requirement, Tag};
use super::definitions::UserEntry;
use super::limits::limit;
use super::{Password, Performed, Refusal, Row, Told};
use crate::admin::refusal::RefusalKind;
use crate::auth::password::{Algorithm, PasswordHash};
use crate::auth::user::{ADMINISTRATOR, User, UserLimits, tags_without_meaning};
use crate::broker::Broker;
use crate::broker::users::UserError;
use crate::ids::Ticket;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// What can be done with users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UserOperation {
    /// A new user, who may do nothing yet.
    AddUser {
        /// Its name.
        user: String,
        /// Its password.
        password: Password,
        /// Its tags.
        tags: Vec<String>,
    },
    /// A new user, whose password is a hash already.
    AddHashedUser {
        /// Its name.
        user: String,
        /// Base64 of salt and hash (SHA-256, as RabbitMQ's).
        password: Password,
    },
    /// A user with this password, or without one, and these tags, whether it is there or not; its
    /// limits stay.
    PutUser {
        /// Its name.
        user: String,
        /// What it logs in with.
        password: Credential,
        /// All the tags that it has from now on.
        tags: Vec<String>,
    },
    /// Another password.
    ChangePassword {
        /// The user.
        user: String,
        /// The new one.
        password: Password,
    },
    /// No password any more.
    ClearPassword {
        /// The user.
        user: String,
    },
    /// Whether that is the password.
    AuthenticateUser {
        /// The user.
        user: String,
        /// The one to try.
        password: Password,
    },
    /// Other tags.
    SetUserTags {
        /// The user.
        user: String,
        /// All that it has from now on.
        tags: Vec<String>,
    },
    /// The user goes, with all that it may do; its connections are closed.
    DeleteUser {
        /// The user.
        user: String,
    },
    /// All users.
    ListUsers,
    /// Who asks, with its tags.
    #[serde(rename = "whoami")]
    WhoAmI,
    /// Users as definitions have them: all, or one.
    ExportUsers {
        /// The one.
        user: Option<String>,
    },
    /// Limits; those that are not named stay.
    SetUserLimits {
        /// The user.
        user: String,
        /// The limits to change.
        limits: LimitsChange,
    },
    /// No limits any more.
    ClearUserLimits {
        /// The user.
        user: String,
        /// The limits to clear.
        which: WhichLimits,
    },
    /// The limits of a user, or of all that have any.
    ListUserLimits {
        /// The user.
        user: Option<String>,
    },
}

/// What a user logs in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// Nothing.
    Nothing,
    /// A password in clear.
    Password(Password),
    /// A password that is hashed already.
    Hash {
        /// Salt and hash in base64.
        hash: Password,
        /// The algorithm, as definitions call it.
        algorithm: String,
    },
}

/// What limits become; a negative number lifts one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitsChange {
    /// Connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Channels at a time, of all its connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_channels: Option<i64>,
}

/// Limits by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhichLimits {
    /// That of connections.
    MaxConnections,
    /// That of channels.
    MaxChannels,
    /// All.
    All,
}

/// A user, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// Its name.
    pub user: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// The limits of a user, as they are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLimitsRow {
    /// The user.
    pub user: String,
    /// Connections at a time, if they are limited.
    #[serde(rename = "max-connections")]
    pub max_connections: Option<u32>,
    /// Channels at a time, of all its connections, if they are limited.
    #[serde(rename = "max-channels")]
    pub max_channels: Option<u32>,
}

/// What is said of a hash that is none.
const NO_HASH: &str = "the password hash is not base64 of salt and hash";

impl UserOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        !matches!(
            self,
            Self::AuthenticateUser { .. }
                | Self::ListUsers
                | Self::WhoAmI
                | Self::ExportUsers { .. }
                | Self::ListUserLimits { .. }
        )
    }

    /// Which of the tags that it sets give no rights, if any, in a sentence.
    #[must_use]
    pub fn tags_without_meaning(&self) -> Option<String> {
        match self {
            Self::AddUser { user, tags, .. }
            | Self::PutUser { user, tags, .. }
            | Self::SetUserTags { user, tags } => tags_without_meaning(user, tags),
            _ => None,
        }
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        match self {
            // Those that the user sees.
            Self::ListUserLimits { user: None } | Self::WhoAmI => Requirement::Tag(Tag::Management),
            Self::ListUserLimits { user: Some(user) } => Requirement::User(Tag::Monitoring, user),
            Self::AddUser { .. }
            | Self::AddHashedUser { .. }
            | Self::PutUser { .. }
            | Self::ExportUsers { .. }
            | Self::ChangePassword { .. }
            | Self::ClearPassword { .. }
            | Self::AuthenticateUser { .. }
            | Self::SetUserTags { .. }
            | Self::DeleteUser { .. }
            | Self::ListUsers
            | Self::SetUserLimits { .. }
            | Self::ClearUserLimits { .. } => Requirement::Tag(Tag::Administrator),
        }
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Broker,
    operation: UserOperation,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    let note = operation.tags_without_meaning();
    let performed = perform_unnoted(broker, operation, access)?;
    if let Some(note) = note {
        warn!("{note}");
    }
    Ok(performed)
}

fn perform_unnoted(
    broker: &Broker,
    operation: UserOperation,
    access: &Access<'_>,
) -> Result<Performed, Refusal> {
    let users = broker.users();
    let changed = match operation {
        UserOperation::AddUser { user, password, tags } => {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            users.add(&user, &password.0, &tags)
        }
        UserOperation::AddHashedUser { user, password } => {
            let hash = PasswordHash::from_base64(Algorithm::Sha256, &password.0);
            let hash = hash.ok_or_else(|| Refusal::new(RefusalKind::Invalid, NO_HASH))?;
            users.add_hashed(&user, hash, &[])
        }
        UserOperation::PutUser { user, password, tags } => return put(broker, &user, password, &tags),
        UserOperation::ChangePassword { user, password } => users.change_password(&user, &password.0),
        UserOperation::ClearPassword { user } => users.clear_password(&user),
        UserOperation::SetUserTags { user, tags } => {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            users.set_tags(&user, &tags)
        }
        UserOperation::DeleteUser { user } => users.delete(&user),
        UserOperation::SetUserLimits { user, limits } => set_limits(broker, &user, limits),
        UserOperation::ClearUserLimits { user, which } => users.change_limits(&user, |own| match which {
            WhichLimits::MaxConnections => own.connections_max = None,
            WhichLimits::MaxChannels => own.channels_max = None,
            WhichLimits::All => *own = UserLimits::default(),
        }),
        UserOperation::AuthenticateUser { user, password } => return authenticate(broker, &user, &password),
        UserOperation::ListUsers => {
            let row = |User { name, tags, .. }| Row::User(UserRow { user: name, tags });
            return Ok(Performed::rows(users.list().into_iter().map(row)));
        }
        UserOperation::WhoAmI => {
            let (user, tags) = match access.user() {
                Some(user) => (user.name.clone(), user.tags.clone()),
                None => ("operator".to_owned(), vec![ADMINISTRATOR.to_owned()]),
            };
            return Ok(Performed::told(Told::User(UserRow { user, tags }), Ticket(0)));
        }
        UserOperation::ExportUsers { user } => {
            let listed = match user {
                None => users.list(),
                Some(name) => match users.get(&name) {
                    Some(user) => vec![user],
                    None => return Err(Refusal::of_users(broker, UserError::NoSuchUser(name))),
                },
            };
            let rows = listed.into_iter().map(|user| Row::UserEntry(Box::new(UserEntry::of(user))));
            return Ok(Performed::rows(rows));
        }
        UserOperation::ListUserLimits { user } => return list_limits(broker, user, access.sees_only()),
    };
    changed.map(Performed::done).map_err(|error| Refusal::of_users(broker, error))
}

fn put(broker: &Broker, name: &str, given: Credential, tags: &[String]) -> Result<Performed, Refusal> {
    let invalid = |why: &str| Refusal::new(RefusalKind::Invalid, why);
    let password = match given {
        Credential::Nothing => None,
        Credential::Password(Password(text)) if text.is_empty() => None,
        Credential::Password(Password(text)) => Some(PasswordHash::of(text.as_bytes())),
        Credential::Hash { hash: Password(hash), .. } if hash.is_empty() => None,
        Credential::Hash { hash: Password(hash), algorithm } => {
            let algorithm = Algorithm::named(&algorithm)
                .ok_or_else(|| invalid(&format!("unknown hashing algorithm '{algorithm}'")))?;
            let hash = PasswordHash::from_base64(algorithm, &hash);
            Some(hash.ok_or_else(|| invalid(NO_HASH))?)
        }
    };
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let put = broker.users().put(name, password, &tags);
    let (is_new, ticket) = put.map_err(|error| Refusal::of_users(broker, error))?;
    Ok(Performed::put(is_new, ticket))
}

fn authenticate(broker: &Broker, user: &str, password: &Password) -> Result<Performed, Refusal> {
    if broker.accounts().is_password(user, password.0.as_bytes()) {
        return Ok(Performed::done(Ticket(0)));
    }
    let missing = broker.users().get(user).is_none();
    Err(if missing {
        Refusal::of_users(broker, UserError::NoSuchUser(user.to_owned()))
    } else {
        Refusal::new(RefusalKind::Denied, format!("wrong password for user '{user}'"))
    })
}

fn set_limits(broker: &Broker, user: &str, limits: LimitsChange) -> Result<Ticket, UserError> {
    let whose = format!("user '{user}'");
    let limit = |what, given| limit(what, &whose, given).map_err(UserError::Invalid);
    let connections = limit("max-connections", limits.max_connections)?;
    let channels = limit("max-channels", limits.max_channels)?;
    broker.users().change_limits(user, |own| {
        own.connections_max = connections.unwrap_or(own.connections_max);
        own.channels_max = channels.unwrap_or(own.channels_max);
    })
}

fn list_limits(broker: &Broker, user: Option<String>, only: Option<&str>) -> Result<Performed, Refusal> {
    let users = match user {
        None => {
            let mut users = broker.users().list();
            users.retain(|user| only.is_none_or(|only| only == user.name));
            users.retain(|user| user.limits != UserLimits::default());
            users
        }
        Some(name) => match broker.users().get(&name) {
            Some(user) => vec![user],
            None => return Err(Refusal::of_users(broker, UserError::NoSuchUser(name))),
        },
    };
    Ok(Performed::rows(users.into_iter().map(|user| {
        let UserLimits { connections_max, channels_max } = user.limits;
        Row::UserLimits(UserLimitsRow {
            user: user.name,
            max_connections: connections_max,
            max_channels: channels_max,
        })
    })))
}
