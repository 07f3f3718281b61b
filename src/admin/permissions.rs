//! What users may do: which names in which vhost, and which keys at which topic exchange.

use super::access::{Requirement, Tag};
use super::{Performed, Refusal, Row, find};
use crate::auth::permission::{Permission, TopicPermission};
use crate::broker::Broker;
use crate::broker::users::UserError;
use serde::{Deserialize, Serialize};

/// What can be done with permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PermissionOperation {
    /// A user may do this in a vhost, and nothing else.
    SetPermissions(PermissionRow),
    /// A user may do nothing in a vhost.
    ClearPermissions {
        /// The user.
        user: String,
        /// The virtual host.
        vhost: String,
    },
    /// The permissions of all users in a vhost.
    ListPermissions {
        /// The virtual host.
        vhost: String,
    },
    /// The permissions of a user in all vhosts.
    ListUserPermissions {
        /// The user.
        user: String,
    },
    /// A user may use these keys with a topic exchange.
    SetTopicPermissions(TopicPermissionRow),
    /// A user may use all keys, with one exchange or with all.
    ClearTopicPermissions {
        /// The user.
        user: String,
        /// The virtual host.
        vhost: String,
        /// With which exchange; none for all.
        exchange: Option<String>,
    },
    /// The topic permissions of all users in a vhost.
    ListTopicPermissions {
        /// The virtual host.
        vhost: String,
    },
    /// The topic permissions of a user in all vhosts.
    ListUserTopicPermissions {
        /// The user.
        user: String,
    },
}

/// What a user may do in a vhost: patterns of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionRow {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: String,
    /// What it may make and delete.
    pub configure: String,
    /// What it may put something into.
    pub write: String,
    /// What it may get something out of.
    pub read: String,
}

/// Which keys a user may use with a topic exchange: patterns of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicPermissionRow {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: String,
    /// The exchange.
    pub exchange: String,
    /// Keys it may publish with.
    pub write: String,
    /// Keys it may bind with.
    pub read: String,
}

impl PermissionOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        match self {
            Self::SetPermissions(_)
            | Self::ClearPermissions { .. }
            | Self::SetTopicPermissions(_)
            | Self::ClearTopicPermissions { .. } => true,
            Self::ListPermissions { .. }
            | Self::ListUserPermissions { .. }
            | Self::ListTopicPermissions { .. }
            | Self::ListUserTopicPermissions { .. } => false,
        }
    }

    /// What it takes of a user, whichever it is.
    pub(super) fn requirement() -> Requirement<'static> {
        Requirement::Tag(Tag::Administrator)
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(broker: &Broker, operation: PermissionOperation) -> Result<Performed, Refusal> {
    let users = broker.users();
    let changed = match operation {
        PermissionOperation::SetPermissions(row) => {
            let PermissionRow { user, vhost, configure, write, read } = row;
            users.set_permission(Permission { user, vhost, configure, write, read })
        }
        PermissionOperation::ClearPermissions { user, vhost } => users.clear_permission(&user, &vhost),
        PermissionOperation::SetTopicPermissions(row) => {
            let TopicPermissionRow { user, vhost, exchange, write, read } = row;
            users.set_topic_permission(TopicPermission { user, vhost, exchange, write, read })
        }
        PermissionOperation::ClearTopicPermissions { user, vhost, exchange } => {
            users.clear_topic_permission(&user, &vhost, exchange.as_deref())
        }
        PermissionOperation::ListPermissions { vhost } => {
            find::vhost(broker, &vhost)?;
            return Ok(list(broker, move |row| row.vhost == vhost));
        }
        PermissionOperation::ListUserPermissions { user } => {
            check_user(broker, &user)?;
            return Ok(list(broker, move |row| row.user == user));
        }
        PermissionOperation::ListTopicPermissions { vhost } => {
            find::vhost(broker, &vhost)?;
            return Ok(list_topics(broker, move |row| row.vhost == vhost));
        }
        PermissionOperation::ListUserTopicPermissions { user } => {
            check_user(broker, &user)?;
            return Ok(list_topics(broker, move |row| row.user == user));
        }
    };
    changed.map(Performed::done).map_err(|error| Refusal::of_users(broker, error))
}

fn check_user(broker: &Broker, name: &str) -> Result<(), Refusal> {
    let found = broker.users().get(name).ok_or_else(|| UserError::NoSuchUser(name.to_owned()));
    found.map(|_| ()).map_err(|error| Refusal::of_users(broker, error))
}

fn list(broker: &Broker, wanted: impl Fn(&PermissionRow) -> bool + Send + 'static) -> Performed {
    let rows = broker.users().permissions().into_iter().map(|permission| {
        let Permission { user, vhost, configure, write, read } = permission;
        PermissionRow { user, vhost, configure, write, read }
    });
    Performed::rows(rows.filter(wanted).map(Row::Permission))
}

fn list_topics(broker: &Broker, wanted: impl Fn(&TopicPermissionRow) -> bool + Send + 'static) -> Performed {
    let rows = broker.users().topic_permissions().into_iter().map(|topic| {
        let TopicPermission { user, vhost, exchange, write, read } = topic;
        TopicPermissionRow { user, vhost, exchange, write, read }
    });
    Performed::rows(rows.filter(wanted).map(Row::TopicPermission))
}
