//! All users and vhosts, and what each user may do in each vhost.

use super::permission::{Grants, Permission, TopicPermission};
use super::user::User;
use super::vhost::VHostRecord;
use std::collections::{BTreeMap, BTreeSet};

/// How a [`Directory`] becomes another one. What deletes something that is not there changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthChange {
    /// A user is there, like this.
    PutUser(User),
    /// A user is gone. Its permissions go by changes of their own.
    DeleteUser {
        /// Its name.
        name: String,
    },
    /// A user may do this in a vhost.
    PutPermission(Permission),
    /// A user may do nothing in a vhost.
    DeletePermission {
        /// The user.
        user: String,
        /// The vhost.
        vhost: String,
    },
    /// A user may use these keys with an exchange.
    PutTopicPermission(TopicPermission),
    /// A user may use all keys with an exchange.
    DeleteTopicPermission {
        /// The user.
        user: String,
        /// The vhost.
        vhost: String,
        /// The exchange.
        exchange: String,
    },
    /// A vhost is there, like this.
    PutVHost(VHostRecord),
    /// A vhost is gone for everybody. What is in it goes by later changes, in parts; after the last
    /// of them comes [`Self::DeleteVHost`]. The permissions for it go by changes of their own.
    BeginVHostDeletion {
        /// Its name, which no other has before that.
        name: String,
    },
    /// A vhost is gone. What is in it, and the permissions for it, go by changes of their own.
    DeleteVHost {
        /// Its name.
        name: String,
    },
}

/// A user and a vhost.
type UserAndVHost = (String, String);

/// All users, virtual hosts and permissions.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    users: BTreeMap<String, User>,
    permissions: BTreeMap<UserAndVHost, Permission>,
    topics: BTreeMap<UserAndVHost, BTreeMap<String, TopicPermission>>,
    vhosts: BTreeMap<String, VHostRecord>,
    /// Vhosts that are gone, but not all that was in them.
    deleting: BTreeSet<String>,
}

impl Directory {
    /// Makes a change.
    pub fn apply(&mut self, change: AuthChange) {
        match change {
            AuthChange::PutUser(user) => {
                self.users.insert(user.name.clone(), user);
            }
            AuthChange::DeleteUser { name } => {
                self.users.remove(&name);
            }
            AuthChange::PutPermission(permission) => {
                let place = (permission.user.clone(), permission.vhost.clone());
                self.permissions.insert(place, permission);
            }
            AuthChange::DeletePermission { user, vhost } => {
                self.permissions.remove(&(user, vhost));
            }
            AuthChange::PutTopicPermission(topic) => {
                let place = (topic.user.clone(), topic.vhost.clone());
                self.topics.entry(place).or_default().insert(topic.exchange.clone(), topic);
            }
            AuthChange::DeleteTopicPermission { user, vhost, exchange } => {
                let place = (user, vhost);
                if let Some(topics) = self.topics.get_mut(&place) {
                    topics.remove(&exchange);
                    if topics.is_empty() {
                        self.topics.remove(&place);
                    }
                }
            }
            AuthChange::PutVHost(record) => {
                self.vhosts.insert(record.name.clone(), record);
            }
            AuthChange::BeginVHostDeletion { name } => {
                self.vhosts.remove(&name);
                self.deleting.insert(name);
            }
            AuthChange::DeleteVHost { name } => {
                self.vhosts.remove(&name);
                self.deleting.remove(&name);
            }
        }
    }

    /// The user of that name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All users, in order of their names.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// All permissions, in order of users and vhosts.
    pub fn permissions(&self) -> impl Iterator<Item = &Permission> {
        self.permissions.values()
    }

    /// All topic permissions, in order of users, vhosts and exchanges.
    pub fn topic_permissions(&self) -> impl Iterator<Item = &TopicPermission> {
        self.topics.values().flat_map(BTreeMap::values)
    }

    /// The vhost of that name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&VHostRecord> {
        self.vhosts.get(name)
    }

    /// All vhosts, in order of their names.
    pub fn vhosts(&self) -> impl Iterator<Item = &VHostRecord> {
        self.vhosts.values()
    }

    /// The names of the vhosts that are gone, but not all that was in them; in order.
    pub fn deleting(&self) -> impl Iterator<Item = &str> {
        self.deleting.iter().map(String::as_str)
    }

    /// The changes by which a user goes with all its permissions.
    #[must_use]
    pub fn deletion_of(&self, name: &str) -> Vec<AuthChange> {
        let mut changes = self.without(|user, _vhost| user == name);
        changes.extend(self.user(name).map(|_| AuthChange::DeleteUser { name: name.to_owned() }));
        changes
    }

    /// The changes by which a vhost goes with all permissions for it.
    #[must_use]
    pub fn deletion_of_vhost(&self, name: &str) -> Vec<AuthChange> {
        let mut changes = self.without(|_user, vhost| vhost == name);
        changes.extend(self.vhost(name).map(|_| AuthChange::DeleteVHost { name: name.to_owned() }));
        changes
    }

    /// As [`Self::deletion_of_vhost`], where what is in the vhost goes later.
    #[must_use]
    pub fn beginning_of_deletion(&self, name: &str) -> Vec<AuthChange> {
        let mut changes = self.without(|_user, vhost| vhost == name);
        changes.extend(self.vhost(name).map(|_| AuthChange::BeginVHostDeletion { name: name.to_owned() }));
        changes
    }

    /// The changes by which those permissions go that `doomed` picks by user and vhost.
    fn without(&self, doomed: impl Fn(&str, &str) -> bool) -> Vec<AuthChange> {
        let permissions = self.permissions().filter(|it| doomed(&it.user, &it.vhost));
        let permissions = permissions
            .map(|it| AuthChange::DeletePermission { user: it.user.clone(), vhost: it.vhost.clone() });
        let topics = self.topic_permissions().filter(|it| doomed(&it.user, &it.vhost));
        let topics = topics.map(|it| AuthChange::DeleteTopicPermission {
            user: it.user.clone(),
            vhost: it.vhost.clone(),
            exchange: it.exchange.clone(),
        });
        permissions.chain(topics).collect()
    }

    /// What a user may do in a vhost; nothing, if one of its patterns cannot be used any more.
    #[must_use]
    pub fn grants(&self, user: &str, vhost: &str) -> Grants {
        let Some(known) = self.user(user) else { return Grants::nothing(user) };
        let place = (user.to_owned(), vhost.to_owned());
        let topics = self.topics.get(&place).into_iter().flat_map(BTreeMap::values);
        let grants = Grants::compile(known, self.permissions.get(&place), topics);
        grants.unwrap_or_else(|_unusable| Grants::nothing(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::permission::Right;
    use crate::auth::user::UserLimits;

    fn put_user(name: &str) -> AuthChange {
        let (password, limits) = (None, UserLimits::default());
        AuthChange::PutUser(User { name: name.to_owned(), password, tags: Vec::new(), limits })
    }

    fn put_permission(user: &str, vhost: &str, pattern: &str) -> AuthChange {
        let [user, vhost, configure] = [user, vhost, pattern].map(str::to_owned);
        let (write, read) = (configure.clone(), configure.clone());
        AuthChange::PutPermission(Permission { user, vhost, configure, write, read })
    }

    fn put_topic(user: &str, exchange: &str) -> AuthChange {
        let [user, vhost, exchange] = [user, "/", exchange].map(str::to_owned);
        let (write, read) = (String::new(), String::new());
        AuthChange::PutTopicPermission(TopicPermission { user, vhost, exchange, write, read })
    }

    #[test]
    fn permissions_are_of_one_user_in_one_vhost() {
        let mut directory = Directory::default();
        for change in
            [put_user("a"), put_user("b"), put_permission("a", "/", ".*"), put_permission("b", "v", ".*")]
        {
            directory.apply(change);
        }
        assert!(directory.grants("a", "/").allow(Right::Read, b"q"));
        assert!(!directory.grants("a", "v").may_enter());
        assert!(!directory.grants("b", "/").may_enter());
        assert!(!directory.grants("c", "/").may_enter());
        directory.apply(put_permission("a", "/", ""));
        assert!(!directory.grants("a", "/").allow(Right::Read, b"q"));
        directory.apply(AuthChange::DeletePermission { user: "a".into(), vhost: "/".into() });
        assert!(!directory.grants("a", "/").may_enter());
    }

    #[test]
    fn a_user_goes_with_all_that_it_may_do() {
        let mut directory = Directory::default();
        for name in ["a", "b"] {
            directory.apply(put_user(name));
            directory.apply(put_permission(name, "/", ".*"));
            directory.apply(put_permission(name, "v", ".*"));
            directory.apply(put_topic(name, "t"));
        }
        let deletion = directory.deletion_of("a");
        assert_eq!(deletion.len(), 4);
        deletion.into_iter().for_each(|change| directory.apply(change));
        assert_eq!(directory.users().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(directory.permissions().all(|permission| permission.user == "b"));
        assert!(directory.topic_permissions().all(|topic| topic.user == "b"));
        assert_eq!(directory.deletion_of("a"), []);
    }

    #[test]
    fn an_unusable_pattern_allows_nothing() {
        let mut directory = Directory::default();
        directory.apply(put_user("a"));
        directory.apply(put_permission("a", "/", "("));
        assert!(!directory.grants("a", "/").may_enter());
    }
}
