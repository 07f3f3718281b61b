//! Why a command failed: one line, and an exit status that scripts can tell apart.
//!
//! The statuses are those of rabbitmqctl 4.3.6 for the same commands and mistakes, which are not
//! always those that one would expect; most are named in sysexits. A list of what is in a vhost
//! that is not there is refused here, where rabbitmqctl lists nothing.

use crate::admin::clients::ClientOperation;
use crate::admin::json_fault::in_words;
use crate::admin::permissions::PermissionOperation;
use crate::admin::policies::PolicyOperation;
use crate::admin::queues::QueueOperation;
use crate::admin::users::UserOperation;
use crate::admin::vhosts::VHostOperation;
use crate::admin::{Operation, Refusal, RefusalKind};
use std::fmt;

/// Nobody reads the answer to its end.
const STATUS_UNREAD: u8 = 1;

/// What was typed is no command (`EX_USAGE`); a queue to delete is not there.
pub const STATUS_USAGE: u8 = 64;

/// A name, a password or a file cannot be used (`EX_DATAERR`); a vhost or a queue is not there.
const STATUS_DATA: u8 = 65;

/// A user is not there (`EX_NOUSER`).
const STATUS_NO_USER: u8 = 67;

/// There is no broker, or it cannot do it now (`EX_UNAVAILABLE`); every refusal that has no other
/// status.
const STATUS_UNAVAILABLE: u8 = 69;

/// A user is there already; there is no password; the broker's answer makes no sense
/// (`EX_SOFTWARE`).
const STATUS_SOFTWARE: u8 = 70;

/// The answer cannot be written (`EX_IOERR`).
const STATUS_IO: u8 = 74;

/// The socket is somebody else's (`EX_NOPERM`).
const STATUS_NO_RIGHT: u8 = 77;

/// Why a command failed: one line, and an exit status.
#[derive(Debug)]
pub enum CtlError {
    /// What was typed cannot be meant.
    Usage(String),
    /// A definition or limits that were typed are not JSON, or not of this kind.
    Definition(String),
    /// There is no password.
    NoPassword(String),
    /// A file cannot be read or written, or does not hold what it should.
    File(String),
    /// No broker is running there.
    NotRunning(String),
    /// Something that is no broker's API answers there.
    OtherProtocol(String),
    /// The socket may not be used.
    NoRight(String),
    /// The broker refuses.
    Refused {
        /// What the process ends with; 0 where rabbitmqctl takes it for done.
        status: u8,
        /// What it was refused for.
        refusal: Refusal,
    },
    /// What was looked at is not well, or is refused.
    Check(String),
    /// It was done in part.
    Incomplete(String),
    /// The broker said what no broker says.
    Garbled(String),
    /// The answer could not be written.
    Output(String),
    /// Nobody reads the answer any more.
    Unread,
}

impl CtlError {
    /// Limits that were typed cannot be read.
    pub(super) fn bad_limits(error: &serde_json::Error, example: &str) -> Self {
        let why = in_words(error).replace("unknown field", "unknown limit");
        Self::Definition(format!("invalid limits: {why} (example: {example})"))
    }

    /// There is no vhost of that name, as the API does not say.
    pub(crate) fn no_vhost(name: &str) -> Self {
        let refusal = Refusal::new(RefusalKind::NoVHost, format!("there is no vhost '{name}'"));
        Self::Refused { status: STATUS_DATA, refusal }
    }

    /// The status that the process ends with.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => STATUS_USAGE,
            Self::File(_) => STATUS_DATA,
            Self::NoPassword(_) | Self::Garbled(_) => STATUS_SOFTWARE,
            Self::NotRunning(_)
            | Self::OtherProtocol(_)
            | Self::Definition(_)
            | Self::Check(_)
            | Self::Incomplete(_) => STATUS_UNAVAILABLE,
            Self::NoRight(_) => STATUS_NO_RIGHT,
            Self::Refused { status, .. } => *status,
            Self::Output(_) => STATUS_IO,
            Self::Unread => STATUS_UNREAD,
        }
    }
}

/// What a command ends with that is refused for a reason of this kind.
pub(super) fn status_of(operation: &Operation, kind: RefusalKind) -> u8 {
    match kind {
        RefusalKind::UserExists => STATUS_SOFTWARE,
        RefusalKind::Denied if matches!(operation, Operation::Users(_)) => STATUS_DATA,
        RefusalKind::NoUser => without_user(operation),
        RefusalKind::NoVHost => without_vhost(operation),
        RefusalKind::NotFound => without_object(operation),
        RefusalKind::Invalid if is_checked_before(operation) => STATUS_DATA,
        RefusalKind::Invalid
        | RefusalKind::Denied
        | RefusalKind::Forbidden
        | RefusalKind::HiddenVHost
        | RefusalKind::Conflict
        | RefusalKind::Unavailable => STATUS_UNAVAILABLE,
    }
}

fn without_user(operation: &Operation) -> u8 {
    match operation {
        Operation::Users(UserOperation::DeleteUser { .. })
        | Operation::Permissions(
            PermissionOperation::ClearPermissions { .. } | PermissionOperation::ClearTopicPermissions { .. },
        ) => 0,
        Operation::Users(UserOperation::AuthenticateUser { .. }) => STATUS_DATA,
        Operation::Users(UserOperation::ChangePassword { .. } | UserOperation::SetUserTags { .. })
        | Operation::Permissions(
            PermissionOperation::SetPermissions(_) | PermissionOperation::SetTopicPermissions(_),
        ) => STATUS_NO_USER,
        _ => STATUS_UNAVAILABLE,
    }
}

fn without_vhost(operation: &Operation) -> u8 {
    match operation {
        Operation::Permissions(
            PermissionOperation::ClearPermissions { .. } | PermissionOperation::ClearTopicPermissions { .. },
        ) => 0,
        Operation::Permissions(
            PermissionOperation::SetPermissions(_) | PermissionOperation::SetTopicPermissions(_),
        )
        | Operation::VHosts(VHostOperation::ClearVhostLimits { .. })
        | Operation::Policies(
            PolicyOperation::ClearPolicy { .. } | PolicyOperation::ClearOperatorPolicy { .. },
        ) => STATUS_UNAVAILABLE,
        Operation::Queues(QueueOperation::DeleteQueue { .. }) => STATUS_USAGE,
        _ => STATUS_DATA,
    }
}

fn without_object(operation: &Operation) -> u8 {
    match operation {
        Operation::Queues(QueueOperation::DeleteQueue { .. }) => STATUS_USAGE,
        Operation::Clients(ClientOperation::CloseConnection { .. })
        | Operation::Parameters(_)
        | Operation::Policies(_)
        | Operation::VHosts(_) => STATUS_UNAVAILABLE,
        _ => STATUS_DATA,
    }
}

/// Whether rabbitmqctl looks at the arguments before it asks.
fn is_checked_before(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Users(
            UserOperation::AddUser { .. }
                | UserOperation::AddHashedUser { .. }
                | UserOperation::ChangePassword { .. }
        ) | Operation::VHosts(VHostOperation::AddVhost { .. } | VHostOperation::UpdateVhostMetadata { .. })
    )
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why)
            | Self::Definition(why)
            | Self::NoPassword(why)
            | Self::File(why)
            | Self::NotRunning(why)
            | Self::OtherProtocol(why)
            | Self::NoRight(why)
            | Self::Check(why)
            | Self::Incomplete(why) => f.write_str(why),
            Self::Refused { refusal, .. } => refusal.fmt(f),
            Self::Garbled(what) => write!(f, "unexpected answer from the broker: {what}"),
            Self::Output(why) => write!(f, "cannot write the answer: {why}"),
            Self::Unread => f.write_str("standard output is closed"),
        }
    }
}

impl std::error::Error for CtlError {}
