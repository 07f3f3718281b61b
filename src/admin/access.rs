//! Who asks, and whether it may: each operation says beside itself what it takes of a user
//! ([`Requirement`]), and here is the one place where that is looked at, before it is performed.
//!
//! The rules are RabbitMQ's (management.md, access-control.md). A tag says which kinds of
//! operations a user may ask for, its permissions in which vhosts and with which queues. No tag
//! stands for a permission: an administrator sees every queue, and purges those it may read.
//!
//! Who may not know of something gets no guess at its name either.

use super::find;
use super::refusal::{Refusal, RefusalKind};
use crate::auth::permission::{Grants, Right};
use crate::auth::user::{ADMINISTRATOR, MANAGEMENT, MONITORING, POLICYMAKER, User};
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::broker::vhost::access::may_use_keys;
use crate::error::{BrokerError, Resource};
use crate::ids::ConnectionId;
use crate::queue::Queue;
use std::sync::Arc;
use tracing::warn;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requester {
    /// Whoever may use the socket in the data folder or start the broker, and may do everything;
    /// how the log calls it.
    Operator(String),
    /// A user, by its name: it may do what its tags and permissions are for when it asks.
    User(String),
}

/// A tag that operations take of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// What is the user's own, and what is in its vhosts.
    Management,
    /// The policies of its vhosts, too.
    Policymaker,
    /// As [`Tag::Management`]; the broker as a whole, all vhosts, and what is other users', too.
    Monitoring,
    /// Everything that takes a tag.
    Administrator,
}

/// What an operation takes of a user; in any case [`Tag::Management`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement<'a> {
    /// This tag.
    Tag(Tag),
    /// This tag, and the right to enter the vhost, which an administrator does not need.
    VHost(Tag, &'a str),
    /// The right to enter the vhost, or [`Tag::Monitoring`].
    VisibleVHost(&'a str),
    /// As [`Requirement::VHost`] with [`Tag::Management`]; and a permission for a queue that is not
    /// another connection's.
    Queue {
        /// The queue's vhost.
        vhost: &'a str,
        /// Its name.
        queue: &'a str,
        /// What is done with it.
        right: Right,
        /// Where messages are published: an exchange to write to, and a routing key.
        publishes: Option<(&'a str, &'a str)>,
    },
    /// To be that user, or this tag.
    User(Tag, &'a str),
    /// To be the user of that connection, or this tag.
    Connection(Tag, &'a str),
}

/// Somebody who asks, and what it may do at this moment.
pub(super) struct Access<'a> {
    broker: &'a Broker,
    /// None is an operator.
    user: Option<User>,
}

impl Requester {
    /// The user of that name, if the password is right and the user may come from `peer`, which is
    /// an address of this machine or not.
    ///
    /// # Errors
    /// It is refused, which is all that it is told; the log says why.
    pub fn log_in(
        broker: &Broker,
        (name, password): (&str, &[u8]),
        peer: &str,
        is_local: bool,
    ) -> Result<Self, Refusal> {
        match broker.accounts().authenticate(name, password, is_local) {
            Ok(()) => Ok(Self::User(name.to_owned())),
            Err(refusal) => {
                warn!(%peer, user = name, "login refused: {}", refusal.text());
                let why = format!("login was refused for user '{name}'");
                Err(Refusal::new(RefusalKind::Denied, why))
            }
        }
    }

    /// The user, if it is one.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Operator(_) => None,
            Self::User(name) => Some(name),
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        let (Self::Operator(name) | Self::User(name)) = self;
        name
    }

    /// How the log calls it.
    #[must_use]
    pub fn log_name(&self) -> String {
        match self {
            Self::Operator(name) => name.clone(),
            Self::User(name) => format!("user '{name}'"),
        }
    }
}

impl Tag {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Management => MANAGEMENT,
            Self::Policymaker => POLICYMAKER,
            Self::Monitoring => MONITORING,
            Self::Administrator => ADMINISTRATOR,
        }
    }

    /// Whether a user has it, or one that stands for it.
    fn is_of(self, user: &User) -> bool {
        let any: &[&str] = match self {
            Self::Management => &[MANAGEMENT, POLICYMAKER, MONITORING, ADMINISTRATOR],
            Self::Policymaker => &[POLICYMAKER, ADMINISTRATOR],
            Self::Monitoring => &[MONITORING, ADMINISTRATOR],
            Self::Administrator => &[ADMINISTRATOR],
        };
        any.iter().any(|tag| user.has_tag(tag))
    }
}

impl<'a> Access<'a> {
    /// What somebody may do, if that is what takes this.
    ///
    /// # Errors
    /// It may not, what is named does not exist, or the user was deleted.
    pub(super) fn checked(
        broker: &'a Broker,
        who: &Requester,
        requirement: Requirement<'_>,
    ) -> Result<Self, Refusal> {
        let user = match who {
            Requester::Operator(_) => None,
            Requester::User(name) => match broker.users().get(name) {
                Some(user) => Some(user),
                None => return Err(forbidden(format!("user '{name}' was deleted"))),
            },
        };
        let access = Self { broker, user };
        access.user.as_ref().map_or(Ok(()), |user| access.check(user, requirement))?;
        Ok(access)
    }

    fn check(&self, user: &User, requirement: Requirement<'_>) -> Result<(), Refusal> {
        let tag = match requirement {
            Requirement::Tag(tag) | Requirement::VHost(tag, _) => tag,
            _ => Tag::Management,
        };
        if !tag.is_of(user) {
            let (tag, name) = (tag.name(), &user.name);
            return Err(forbidden(format!(
                "this requires the tag '{tag}', which user '{name}' does not have"
            )));
        }
        match requirement {
            Requirement::Tag(_) => Ok(()),
            Requirement::VHost(_, vhost) => self.vhost(user, vhost, Tag::Administrator).map(|_| ()),
            Requirement::VisibleVHost(vhost) => self.vhost(user, vhost, Tag::Monitoring).map(|_| ()),
            Requirement::Queue { vhost, queue, right, publishes } => {
                let place = self.vhost(user, vhost, Tag::Administrator)?;
                self.queue(user, &place, (queue, right), publishes)
            }
            Requirement::User(tag, name) if tag.is_of(user) || user.name == name => Ok(()),
            Requirement::User(_, name) => Err(refused_for(user, "user", name)),
            Requirement::Connection(tag, name) => self.connection(user, tag, name),
        }
    }

    /// The only user whose connections and limits it sees; none if it sees all.
    pub(super) fn sees_only(&self) -> Option<&str> {
        self.user.as_ref().filter(|user| !Tag::Monitoring.is_of(user)).map(|user| user.name.as_str())
    }

    /// Whether it sees a vhost that exists.
    pub(super) fn sees_vhost(&self, vhost: &str) -> bool {
        self.user.as_ref().is_none_or(|user| {
            Tag::Monitoring.is_of(user) || self.grants(user, vhost).is_some_and(|grants| grants.may_enter())
        })
    }

    /// Whether it may read from a queue.
    pub(super) fn reads(&self, queue: &Queue) -> bool {
        self.user.as_ref().is_none_or(|user| {
            let on = queue.on();
            self.grants(user, &on.vhost).is_some_and(|grants| grants.check(Right::Read, &on).is_ok())
        })
    }

    /// What it may do with queues and exchanges of a vhost; none is everything.
    pub(super) fn grants_in(&self, vhost: &str) -> Option<Arc<Grants>> {
        self.user
            .as_ref()
            .map(|user| self.grants(user, vhost).unwrap_or_else(|| Arc::new(Grants::nothing(&user.name))))
    }

    /// The user, if it is one.
    pub(super) fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// What the user may do in a vhost that exists.
    fn grants(&self, user: &User, vhost: &str) -> Option<Arc<Grants>> {
        self.broker.accounts().grants_of(&user.name, vhost)
    }

    /// The vhost, if the user may enter it; who has the tag `all` may enter all.
    fn vhost(&self, user: &User, name: &str, all: Tag) -> Result<Arc<VHost>, Refusal> {
        if all.is_of(user) {
            return find::vhost(self.broker, name);
        }
        let Some(place) = self.broker.vhosts().get(name) else {
            return Err(Refusal::new(RefusalKind::NoVHost, format!("there is no vhost '{name}'")));
        };
        match self.grants(user, name) {
            Some(grants) if grants.may_enter() => Ok(place),
            _ => Err(Refusal { kind: RefusalKind::HiddenVHost, ..refused_for(user, "vhost", name) }),
        }
    }

    fn queue(
        &self,
        user: &User,
        place: &VHost,
        (name, right): (&str, Right),
        publishes: Option<(&str, &str)>,
    ) -> Result<(), Refusal> {
        let queue = find::queue(self.broker, &place.name, name)?;
        let grants = self.grants(user, &place.name);
        let grants = grants.unwrap_or_else(|| Arc::new(Grants::nothing(&user.name)));
        grants.check(right, &queue.on()).map_err(no_permission)?;
        place.queue(&queue.name, ConnectionId(0))?;
        let Some((exchange, key)) = publishes else { return Ok(()) };
        let on = Resource::exchange(&place.name, exchange);
        grants.check(Right::Write, &on).map_err(no_permission)?;
        let keys = [key.as_bytes()];
        may_use_keys(&grants, place, Right::Write, exchange.as_bytes(), &keys).map_err(no_permission)?;
        let mut exchanges = place.list_exchanges().into_iter();
        if exchanges.any(|declared| declared.internal && *declared.name == *exchange) {
            return Err(no_permission(BrokerError::InternalExchange(on)));
        }
        Ok(())
    }

    fn connection(&self, user: &User, tag: Tag, name: &str) -> Result<(), Refusal> {
        match find::connection(self.broker, name) {
            Ok(client) if tag.is_of(user) || client.facts.user == user.name => Ok(()),
            Ok(_) => Err(refused_for(user, "connection", name)),
            Err(refusal) if refusal.kind == RefusalKind::NotFound && self.sees_only().is_some() => {
                Err(Refusal::new(refusal.kind, format!("there is no connection '{name}'")))
            }
            Err(refusal) => Err(refusal),
        }
    }
}

fn refused_for(user: &User, what: &str, name: &str) -> Refusal {
    forbidden(format!("access to {what} '{name}' refused for user '{}'", user.name))
}

fn forbidden(why: String) -> Refusal {
    Refusal::new(RefusalKind::Forbidden, why)
}

/// A permission is missing; the sentence says which.
fn no_permission(error: impl Into<Refusal>) -> Refusal {
    forbidden(error.into().message)
}
