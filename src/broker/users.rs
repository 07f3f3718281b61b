//! How users and permissions change. Who may ask for a change is not looked at here: operators and
//! users ask through `admin`.
//!
//! Each operation is in effect when it returns: a deleted user's connections are on their way out,
//! and every connection asks anew before its next operation. It is on disk once its ticket is
//! durable.

use super::accounts::Accounts;
use super::registry::Registry;
use crate::auth::directory::{AuthChange, Directory};
use crate::auth::password::PasswordHash;
use crate::auth::permission::{Permission, TopicPermission};
use crate::auth::user::{self, User, UserLimits};
use crate::ids::Ticket;
use std::fmt;
use tracing::debug;

/// Users there may be: far more than people and programs, and they are all in memory.
pub(super) const USERS_MAX: usize = 100_000;

/// Topic permissions of one user, at most.
const TOPICS_MAX: usize = 1000;

/// Why an operation is refused, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserError {
    /// There is no such user.
    NoSuchUser(String),
    /// There is one already.
    UserExists(String),
    /// There is no such vhost.
    NoSuchVHost(String),
    /// A name, a password, a tag or a pattern cannot be used.
    Invalid(String),
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchUser(name) => write!(f, "there is no user '{name}'"),
            Self::UserExists(name) => write!(f, "user '{name}' already exists"),
            Self::NoSuchVHost(name) => write!(f, "there is no vhost '{name}'"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for UserError {}

/// An operator's operations on users and permissions.
#[derive(Clone, Copy)]
pub struct Users<'a> {
    pub(super) accounts: &'a Accounts,
    /// Whose routes are looked up again when somebody may do more or less than before.
    pub(super) vhosts: &'a Registry,
}

impl Users<'_> {
    /// All users, in order of their names.
    #[must_use]
    pub fn list(self) -> Vec<User> {
        self.accounts.show(|directory| directory.users().cloned().collect())
    }

    /// All permissions, in order of users and vhosts.
    #[must_use]
    pub fn permissions(self) -> Vec<Permission> {
        self.accounts.show(|directory| directory.permissions().cloned().collect())
    }

    /// All topic permissions, in order of users, vhosts and exchanges.
    #[must_use]
    pub fn topic_permissions(self) -> Vec<TopicPermission> {
        self.accounts.show(|directory| directory.topic_permissions().cloned().collect())
    }

    /// Adds a user, who may do nothing yet.
    ///
    /// # Errors
    /// There is one of that name, or something of it cannot be used.
    pub fn add(self, name: &str, password: &str, tags: &[&str]) -> Result<Ticket, UserError> {
        self.add_hashed(name, hash(password)?, tags)
    }

    /// As [`Self::add`], with a password that is a hash already.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_hashed(self, name: &str, password: PasswordHash, tags: &[&str]) -> Result<Ticket, UserError> {
        let user = User {
            name: name.to_owned(),
            password: Some(password),
            tags: user::tags("user", tags).map_err(UserError::Invalid)?,
            limits: UserLimits::default(),
        };
        self.change("added", name, |directory| match directory.user(name) {
            Some(_) => Err(UserError::UserExists(name.to_owned())),
            None => put(directory, user),
        })
    }

    /// A user has this password, or none, and these tags from now on, whether it was there or not;
    /// its limits stay. Whether it is new.
    ///
    /// # Errors
    /// Something of it cannot be used.
    pub fn put(
        self,
        name: &str,
        password: Option<PasswordHash>,
        tags: &[&str],
    ) -> Result<(bool, Ticket), UserError> {
        let tags = user::tags("user", tags).map_err(UserError::Invalid)?;
        let mut is_new = false;
        let ticket = self.change("put", name, |directory| {
            let there = directory.user(name);
            is_new = there.is_none();
            let limits = there.map(|user| user.limits).unwrap_or_default();
            put(directory, User { name: name.to_owned(), password, tags, limits })
        })?;
        Ok((is_new, ticket))
    }

    /// Gives a user another password. Connections stay.
    ///
    /// # Errors
    /// There is no such user, or the password is empty.
    pub fn change_password(self, name: &str, password: &str) -> Result<Ticket, UserError> {
        let hash = hash(password)?;
        self.alter("changed the password of", name, |user| user.password = Some(hash))
    }

    /// Takes a user's password away: it cannot log in with one.
    ///
    /// # Errors
    /// There is no such user.
    pub fn clear_password(self, name: &str) -> Result<Ticket, UserError> {
        self.alter("cleared the password of", name, |user| user.password = None)
    }

    /// Gives a user these tags in place of those it has.
    ///
    /// # Errors
    /// There is no such user, or a tag cannot be used.
    pub fn set_tags(self, name: &str, tags: &[&str]) -> Result<Ticket, UserError> {
        let tags = user::tags("user", tags).map_err(UserError::Invalid)?;
        self.alter("set the tags of", name, |user| user.tags = tags)
    }

    /// Sets what a user may have at a time.
    ///
    /// # Errors
    /// There is no such user.
    pub fn set_limits(self, name: &str, limits: UserLimits) -> Result<Ticket, UserError> {
        self.change_limits(name, |own| *own = limits)
    }

    /// Changes what a user may have at a time.
    ///
    /// # Errors
    /// There is no such user.
    pub fn change_limits(
        self,
        name: &str,
        change: impl FnOnce(&mut UserLimits),
    ) -> Result<Ticket, UserError> {
        self.alter("set the limits of", name, |user| change(&mut user.limits))
    }

    /// The user of that name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<User> {
        self.accounts.show(|directory| directory.user(name).cloned())
    }

    /// Deletes a user with all that it may do; its connections are closed.
    ///
    /// # Errors
    /// There is no such user.
    pub fn delete(self, name: &str) -> Result<Ticket, UserError> {
        self.change("deleted", name, |directory| {
            known(directory, name)?;
            Ok(directory.deletion_of(name))
        })
    }

    /// Sets what a user may do in a vhost.
    ///
    /// # Errors
    /// There is no such user or vhost, or a pattern cannot be used.
    pub fn set_permission(self, permission: Permission) -> Result<Ticket, UserError> {
        permission.check().map_err(UserError::Invalid)?;
        let name = permission.user.clone();
        self.change("set a permission of", &name, |directory| {
            known(directory, &name)?;
            check_vhost(directory, &permission.vhost)?;
            Ok(vec![AuthChange::PutPermission(permission)])
        })
    }

    /// Keeps a user out of a vhost. Connections stay, and may do nothing.
    ///
    /// # Errors
    /// There is no such user or vhost.
    pub fn clear_permission(self, name: &str, vhost: &str) -> Result<Ticket, UserError> {
        self.change("cleared a permission of", name, |directory| {
            known(directory, name)?;
            check_vhost(directory, vhost)?;
            let (user, vhost) = (name.to_owned(), vhost.to_owned());
            Ok(vec![AuthChange::DeletePermission { user, vhost }])
        })
    }

    /// Sets which keys a user may use with a topic exchange.
    ///
    /// # Errors
    /// There is no such user or vhost, or a pattern cannot be used.
    pub fn set_topic_permission(self, topic: TopicPermission) -> Result<Ticket, UserError> {
        topic.check().map_err(UserError::Invalid)?;
        let name = topic.user.clone();
        self.change("set a topic permission of", &name, |directory| {
            known(directory, &name)?;
            check_vhost(directory, &topic.vhost)?;
            let others = directory.topic_permissions().filter(|other| other.user == name);
            if others.count() >= TOPICS_MAX {
                return Err(UserError::Invalid(format!("a user has {TOPICS_MAX} topic permissions at most")));
            }
            Ok(vec![AuthChange::PutTopicPermission(topic)])
        })
    }

    /// Lets a user use all keys with an exchange; without one, with all exchanges of the vhost.
    ///
    /// # Errors
    /// There is no such user or vhost.
    pub fn clear_topic_permission(
        self,
        name: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<Ticket, UserError> {
        self.change("cleared topic permissions of", name, |directory| {
            known(directory, name)?;
            check_vhost(directory, vhost)?;
            let topics = directory.topic_permissions().filter(|topic| {
                let named = exchange.is_none_or(|exchange| topic.exchange == exchange);
                named && topic.user == name && topic.vhost == vhost
            });
            let delete = |topic: &TopicPermission| AuthChange::DeleteTopicPermission {
                user: topic.user.clone(),
                vhost: topic.vhost.clone(),
                exchange: topic.exchange.clone(),
            };
            Ok(topics.map(delete).collect())
        })
    }

    fn alter(self, what: &str, name: &str, alter: impl FnOnce(&mut User)) -> Result<Ticket, UserError> {
        self.change(what, name, |directory| {
            let mut user = known(directory, name)?.clone();
            alter(&mut user);
            Ok(vec![AuthChange::PutUser(user)])
        })
    }

    fn change(
        self,
        what: &str,
        name: &str,
        decide: impl FnOnce(&Directory) -> Result<Vec<AuthChange>, UserError>,
    ) -> Result<Ticket, UserError> {
        let (ticket, leaving) = self.accounts.change(decide)?;
        self.vhosts.all().iter().for_each(|vhost| vhost.renew_routes());
        debug!(user = name, connections_closed = leaving.len(), "{what} a user");
        leaving.iter().for_each(|mailbox| mailbox.wake());
        Ok(ticket)
    }
}

fn known<'a>(directory: &'a Directory, name: &str) -> Result<&'a User, UserError> {
    directory.user(name).ok_or_else(|| UserError::NoSuchUser(name.to_owned()))
}

fn put(directory: &Directory, user: User) -> Result<Vec<AuthChange>, UserError> {
    user::check_name("user", &user.name).map_err(UserError::Invalid)?;
    if directory.user(&user.name).is_none() && directory.users().count() >= USERS_MAX {
        return Err(UserError::Invalid(format!("there are {USERS_MAX} users already")));
    }
    Ok(vec![AuthChange::PutUser(user)])
}

fn hash(password: &str) -> Result<PasswordHash, UserError> {
    if password.is_empty() {
        return Err(UserError::Invalid("a password may not be empty".to_owned()));
    }
    Ok(PasswordHash::of(password.as_bytes()))
}

fn check_vhost(directory: &Directory, name: &str) -> Result<(), UserError> {
    directory.vhost(name).map(|_| ()).ok_or_else(|| UserError::NoSuchVHost(name.to_owned()))
}
