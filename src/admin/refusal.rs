//! Why an operation is refused: a kind for programs, and a sentence for people with the name and
//! the value at fault.

use crate::broker::Broker;
use crate::broker::users::UserError;
use crate::error::BrokerError;
use crate::near::did_you_mean;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// What is named does not exist.
    NotFound,
    /// Nor does the user.
    NoUser,
    /// Nor does the vhost.
    #[serde(rename = "no_vhost")]
    NoVHost,
    /// There is a user of that name already.
    UserExists,
    /// What is there does not allow it: it is in use, is not empty, there are too many.
    Conflict,
    /// An argument cannot be used.
    Invalid,
    /// It may not be done at all, or by nobody with that password.
    Denied,
    /// Whoever asks does not have the tag or the permission that it takes.
    Forbidden,
    /// Whoever asks may not enter the vhost.
    #[serde(rename = "hidden_vhost")]
    HiddenVHost,
    /// The broker cannot do it now.
    Unavailable,
}

/// Why an operation is refused: a kind for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kind.
    pub kind: RefusalKind,
    /// The sentence, without a full stop.
    pub message: String,
}

impl Refusal {
    /// A refusal of this kind.
    #[must_use]
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// There is none of that name; `known` are the names that there are.
    pub(super) fn not_found<N: AsRef<str>>(
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = N>,
    ) -> Self {
        Self::missing(RefusalKind::NotFound, what, name, known)
    }

    /// As [`Refusal::not_found`], of this kind.
    pub(super) fn missing<N: AsRef<str>>(
        kind: RefusalKind,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = N>,
    ) -> Self {
        Self::new(kind, format!("there is no {what} '{name}'{}", did_you_mean(name, known)))
    }

    /// There is no vhost of that name.
    pub(super) fn no_vhost(broker: &Broker, name: &str) -> Self {
        let known = broker.vhosts().list().into_iter().map(|record| record.name);
        Self::missing(RefusalKind::NoVHost, "vhost", name, known)
    }

    /// Why something cannot be done with users.
    pub(super) fn of_users(broker: &Broker, error: UserError) -> Self {
        match error {
            UserError::NoSuchUser(name) => {
                let known = broker.users().list().into_iter().map(|user| user.name);
                Self::missing(RefusalKind::NoUser, "user", &name, known)
            }
            UserError::UserExists(_) => Self::new(RefusalKind::UserExists, error.to_string()),
            UserError::NoSuchVHost(name) => Self::no_vhost(broker, &name),
            UserError::Invalid(why) => Self::new(RefusalKind::Invalid, why),
        }
    }
}

impl From<BrokerError> for Refusal {
    /// What a client would be told, and its kind.
    fn from(error: BrokerError) -> Self {
        use BrokerError as E;
        let kind = match error {
            E::NotFound(_) => RefusalKind::NotFound,
            E::NoPermission { .. }
            | E::NoKeyPermission { .. }
            | E::InExclusiveUse(_)
            | E::SystemExchange(_)
            | E::DefaultExchange
            | E::DelayQueue { .. }
            | E::ReplyQueueBinding
            | E::ReservedName { .. }
            | E::Undefinable(_)
            | E::NoVHost(_)
            | E::VHostConnectionLimit { .. }
            | E::UserConnectionLimit { .. } => RefusalKind::Denied,
            E::InvalidArgument { .. }
            | E::NameTooLong { .. }
            | E::InternalExchange(_)
            | E::VHostDeleted(_)
            | E::UserDeleted => RefusalKind::Invalid,
            E::Scarce { .. } => RefusalKind::Unavailable,
            _ => RefusalKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
