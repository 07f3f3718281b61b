//! What a user may do in a vhost: three patterns for names, and two for the keys of each exchange
//! that has some.
//!
//! Records are as the operator wrote them; [`Grants`] is what follows from them for one user in one
//! vhost.

use super::pattern::Pattern;
use super::user::{IMPERSONATOR, User};
use crate::error::{BrokerError, Resource};
use std::collections::BTreeMap;

/// What somebody wants to do with a queue or an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Make or delete it.
    Configure,
    /// Put something into it.
    Write,
    /// Get something out of it.
    Read,
}

impl Right {
    /// As operators write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// Which names a user may configure, write to and read from in a vhost: patterns, found anywhere in
/// a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
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

/// Which routing keys a user may publish and bind with at a topic exchange.
/// `{username}` and `{vhost}` in a pattern stand for themselves, letter by letter: a user called
/// `.*` gains nothing by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPermission {
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

/// What one user may do in one vhost, compiled.
#[derive(Debug)]
pub struct Grants {
    user: String,
    names: Option<Names>,
    topics: BTreeMap<String, Topic>,
    impersonates: bool,
}

#[derive(Debug)]
struct Names {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

#[derive(Debug)]
struct Topic {
    write: Pattern,
    read: Pattern,
}

impl Names {
    fn compile(permission: &Permission) -> Result<Self, String> {
        Ok(Self {
            configure: Pattern::compile(&permission.configure)?,
            write: Pattern::compile(&permission.write)?,
            read: Pattern::compile(&permission.read)?,
        })
    }
}

impl Topic {
    fn compile(permission: &TopicPermission) -> Result<Self, String> {
        let expand = |pattern: &str| {
            let pattern = pattern.replace("{username}", &regex::escape(&permission.user));
            Pattern::compile(&pattern.replace("{vhost}", &regex::escape(&permission.vhost)))
        };
        Ok(Self { write: expand(&permission.write)?, read: expand(&permission.read)? })
    }
}

impl Permission {
    /// Whether its patterns can be used.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn check(&self) -> Result<(), String> {
        Names::compile(self).map(|_| ())
    }
}

impl TopicPermission {
    /// Whether its patterns can be used.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn check(&self) -> Result<(), String> {
        Topic::compile(self).map(|_| ())
    }
}

impl Grants {
    /// Of somebody who may do nothing.
    #[must_use]
    pub fn nothing(user: &str) -> Self {
        Self { user: user.to_owned(), names: None, topics: BTreeMap::new(), impersonates: false }
    }

    /// Of `user`, from what is kept of one vhost.
    ///
    /// # Errors
    /// A pattern cannot be used.
    pub fn compile<'a>(
        user: &User,
        permission: Option<&Permission>,
        topics: impl Iterator<Item = &'a TopicPermission>,
    ) -> Result<Self, String> {
        let topics = topics.map(|topic| Ok((topic.exchange.clone(), Topic::compile(topic)?)));
        Ok(Self {
            user: user.name.clone(),
            names: permission.map(Names::compile).transpose()?,
            topics: topics.collect::<Result<_, String>>()?,
            impersonates: user.has_tag(IMPERSONATOR),
        })
    }

    /// Whose they are.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the user may enter the vhost: there is a permission for it, even if that allows
    /// nothing.
    #[must_use]
    pub fn may_enter(&self) -> bool {
        self.names.is_some()
    }

    /// Whether the user may set `user-id` to anybody's name.
    #[must_use]
    pub fn may_impersonate(&self) -> bool {
        self.impersonates
    }

    /// Whether the user may do this. The default exchange goes by `amq.default`.
    #[must_use]
    pub fn allow(&self, right: Right, name: &[u8]) -> bool {
        let name = if name.is_empty() { b"amq.default" } else { name };
        self.names.as_ref().is_some_and(|names| match right {
            Right::Configure => names.configure.matches(name),
            Right::Write => names.write.matches(name),
            Right::Read => names.read.matches(name),
        })
    }

    /// Whether any permission says something of the keys of an exchange.
    #[must_use]
    pub fn limits_keys_of(&self, exchange: &[u8]) -> bool {
        !self.topics.is_empty() && self.topic(exchange).is_some()
    }

    fn topic(&self, exchange: &[u8]) -> Option<&Topic> {
        self.topics.get(str::from_utf8(exchange).ok()?)
    }

    /// As [`Grants::allow`], for a queue or an exchange.
    ///
    /// # Errors
    /// [`BrokerError::NoPermission`] if not.
    pub fn check(&self, right: Right, on: &Resource) -> Result<(), BrokerError> {
        if self.allow(right, on.name.as_bytes()) {
            return Ok(());
        }
        let user = self.user.clone();
        Err(BrokerError::NoPermission { right: right.name(), on: on.clone(), user })
    }

    /// Whether the user may use a key with a topic exchange.
    ///
    /// # Errors
    /// [`BrokerError::NoKeyPermission`] if not.
    pub fn check_key(&self, right: Right, exchange: &Resource, key: &[u8]) -> Result<(), BrokerError> {
        let allowed = self.topic(exchange.name.as_bytes()).is_none_or(|topic| match right {
            Right::Read => topic.read.matches(key),
            Right::Configure | Right::Write => topic.write.matches(key),
        });
        if allowed {
            return Ok(());
        }
        Err(BrokerError::NoKeyPermission {
            right: right.name(),
            key: String::from_utf8_lossy(key).into(),
            exchange: exchange.clone(),
            user: self.user.as_str().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::UserLimits;
    use std::sync::Arc;

    fn user(tags: &[&str]) -> User {
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        User { name: "a.b".into(), password: None, tags, limits: UserLimits::default() }
    }

    fn permission(configure: &str, write: &str, read: &str) -> Permission {
        let [user, vhost, configure, write, read] = ["a.b", "/", configure, write, read].map(str::to_owned);
        Permission { user, vhost, configure, write, read }
    }

    fn topic(write: &str, read: &str) -> TopicPermission {
        let [user, vhost, exchange, write, read] = ["a.b", "/", "t", write, read].map(str::to_owned);
        TopicPermission { user, vhost, exchange, write, read }
    }

    fn text(refused: Result<(), BrokerError>) -> String {
        refused.unwrap_err().to_string()
    }

    #[test]
    fn each_right_has_a_pattern_of_its_own() {
        let grants = Grants::compile(&user(&[]), Some(&permission("^c", "^w", "^r")), [].iter()).unwrap();
        let (root, queue) = (Arc::from("/"), |name: &str| Resource::queue(&Arc::from("/"), name));
        assert_eq!(grants.check(Right::Configure, &queue("c1")), Ok(()));
        assert_eq!(grants.check(Right::Write, &queue("w1")), Ok(()));
        assert_eq!(grants.check(Right::Read, &queue("r1")), Ok(()));
        assert_eq!(
            text(grants.check(Right::Configure, &queue("w1"))),
            "configure access to queue 'w1' in vhost '/' refused for user 'a.b'"
        );
        assert_eq!(
            text(grants.check(Right::Write, &Resource::exchange(&root, ""))),
            "write access to exchange 'amq.default' in vhost '/' refused for user 'a.b'"
        );
        assert!(grants.may_enter() && !grants.may_impersonate());
    }

    #[test]
    fn the_default_exchange_has_a_name_here() {
        let grants =
            Grants::compile(&user(&[]), Some(&permission("", "^amq\\.default$", "")), [].iter()).unwrap();
        assert!(grants.allow(Right::Write, b""));
        assert!(!grants.allow(Right::Write, b"jobs"));
    }

    #[test]
    fn no_permission_is_no_entry_and_an_empty_one_is() {
        let none = Grants::compile(&user(&[IMPERSONATOR]), None, [].iter()).unwrap();
        assert!(!none.may_enter() && none.may_impersonate() && !none.allow(Right::Read, b"q"));
        let empty = Grants::compile(&user(&[]), Some(&permission("", "^$", "")), [].iter()).unwrap();
        assert!(empty.may_enter() && !empty.allow(Right::Write, b"q"));
        assert!(!Grants::nothing("u").may_enter());
    }

    #[test]
    fn keys_are_limited_where_a_permission_says_so() {
        let topics = [topic("^{username}\\.", "^{vhost}$")];
        let grants = Grants::compile(&user(&[]), Some(&permission(".*", ".*", ".*")), topics.iter()).unwrap();
        assert!(
            grants.limits_keys_of(b"t")
                && !grants.limits_keys_of(b"other")
                && !grants.limits_keys_of(b"\xff")
        );
        let exchange = |name: &str| Resource::exchange(&Arc::from("/"), name);
        assert_eq!(grants.check_key(Right::Write, &exchange("t"), b"a.b.x"), Ok(()));
        assert_eq!(grants.check_key(Right::Read, &exchange("t"), b"/"), Ok(()));
        let all = permission(".*", ".*", ".*");
        let literal =
            Grants::compile(&user(&[]), Some(&all), [topic("^{client_id}\\.", "^$")].iter()).unwrap();
        // Only MQTT has a client id.
        assert_eq!(literal.check_key(Right::Write, &exchange("t"), b"{client_id}.x"), Ok(()));
        assert!(literal.check_key(Right::Write, &exchange("t"), b"a.x").is_err());
        assert_eq!(literal.check_key(Right::Read, &exchange("t"), b""), Ok(()), "an empty key is there");
        assert_eq!(grants.check_key(Right::Write, &exchange("other"), b"x"), Ok(()));
        assert_eq!(
            text(grants.check_key(Right::Write, &exchange("t"), b"aXb.x")),
            "write access to topic 'aXb.x' in exchange 't' in vhost '/' refused for user 'a.b'"
        );
    }

    #[test]
    fn patterns_that_cannot_be_used_are_found_before_they_are_kept() {
        assert!(permission("(", "", "").check().is_err());
        assert!(permission("", "", "(").check().is_err());
        assert!(topic("", "(").check().is_err());
        assert_eq!(topic("{username}", "").check(), Ok(()));
    }
}
