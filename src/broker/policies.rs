//! How policies change. Who may ask for a change is not looked at here: operators and users ask
//! through `admin`.
//!
//! Each operation is in effect when it returns, for all queues and exchanges that there are. It is
//! on disk once its ticket is durable.

use super::effects::EffectHandler;
use super::registry::Registry;
use super::vhost::VHost;
use super::vhost::apply_policies::PolicyDifference;
use crate::clock::Now;
use crate::ids::Ticket;
use crate::policy::book::{Book, InEffect};
use crate::policy::{Object, Policy, PolicyChange, Rank};
use crate::store::change::{Change, Log};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use tracing::debug;

/// Policies of both ranks in all vhosts that there may be: each new queue is held against all of
/// its vhost.
pub(super) const POLICIES_MAX: usize = 1000;

/// All policies of a running broker. The lock is a leaf but for the log.
pub struct PolicyBook {
    book: RwLock<Book>,
    pub(super) log: Arc<dyn Log>,
}

/// Why an operation is refused, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyError {
    /// There is no such policy.
    NoSuchPolicy(String),
    /// There is no such vhost.
    NoSuchVHost(String),
    /// Something of it cannot be used; RabbitMQ's words, where it has any.
    Invalid(String),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPolicy(name) => write!(f, "there is no policy '{name}'"),
            Self::NoSuchVHost(name) => write!(f, "there is no vhost '{name}'"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PolicyError {}

impl PolicyBook {
    /// The policies that were on disk.
    pub(super) fn recover(recovered: Vec<PolicyChange>, log: Arc<dyn Log>) -> Self {
        let mut book = Book::default();
        recovered.into_iter().for_each(|change| book.apply(change));
        Self { book: RwLock::new(book), log }
    }

    /// What is in effect for an object.
    #[must_use]
    pub fn in_effect(&self, vhost: &str, object: Object, name: &str) -> InEffect {
        self.show(|book| book.in_effect(vhost, object, name))
    }

    /// Deletes all policies of a vhost, which goes.
    pub(super) fn forget(&self, vhost: &str) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        for rank in [Rank::User, Rank::Operator] {
            let of_vhost = book.policies(rank).filter(|policy| policy.vhost == vhost);
            gone.extend(of_vhost.map(|policy| PolicyChange::Delete {
                rank,
                vhost: vhost.to_owned(),
                name: policy.name.clone(),
            }));
        }
        gone.iter().cloned().for_each(|change| book.apply(change));
        if !gone.is_empty() {
            self.log.append(&mut gone.into_iter().map(Change::Policy).collect());
        }
    }

    /// Puts these, which were looked at before; what is so already is not changed.
    pub(super) fn put(&self, policies: &[(Rank, Policy)]) -> Ticket {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::new();
        for (rank, policy) in policies {
            if !has(&book, *rank, policy) {
                let change = PolicyChange::Put(*rank, policy.clone());
                book.apply(change.clone());
                changes.push(Change::Policy(change));
            }
        }
        self.log.append(&mut changes)
    }

    /// Whether this very policy is there.
    pub(super) fn has(&self, rank: Rank, policy: &Policy) -> bool {
        self.show(|book| has(book, rank, policy))
    }

    fn show<R>(&self, look: impl FnOnce(&Book) -> R) -> R {
        look(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(
        &self,
        decide: impl FnOnce(&Book) -> Result<PolicyChange, PolicyError>,
    ) -> Result<Ticket, PolicyError> {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let change = decide(&book)?;
        book.apply(change.clone());
        Ok(self.log.append(&mut vec![Change::Policy(change)]))
    }
}

fn has(book: &Book, rank: Rank, policy: &Policy) -> bool {
    book.policies(rank).any(|known| known == policy)
}

/// An operator's operations on policies.
#[derive(Clone, Copy)]
pub struct Policies<'a> {
    pub(super) vhosts: &'a Registry,
    /// For what queues do under another policy.
    pub(super) effects: &'a EffectHandler,
}

impl<'a> Policies<'a> {
    /// What would be in effect otherwise if a policy were set; nothing is.
    ///
    /// # Errors
    /// There is no such vhost, or something of it cannot be used.
    pub fn preview(self, rank: Rank, policy: Policy) -> Result<Vec<PolicyDifference>, PolicyError> {
        let vhost = self.vhost(&policy.vhost)?;
        policy.check(rank).map_err(PolicyError::Invalid)?;
        let mut book = Book::default();
        for rank in [Rank::User, Rank::Operator] {
            let of_vhost = self.list(rank).into_iter().filter(|known| known.vhost == policy.vhost);
            of_vhost.for_each(|known| book.apply(PolicyChange::Put(rank, known)));
        }
        book.apply(PolicyChange::Put(rank, policy));
        Ok(vhost.policies().compared_with(&book))
    }

    /// All policies of a rank: by vhost, and there the highest priority first.
    #[must_use]
    pub fn list(self, rank: Rank) -> Vec<Policy> {
        self.book().show(|book| book.policies(rank).cloned().collect())
    }

    /// Sets a policy, in place of any of its name. It returns when all queues have followed: one
    /// whose bytes are limited for the first time is read from disk for that, so it may take as
    /// long as reading a backlog.
    ///
    /// # Errors
    /// There is no such vhost, something of it cannot be used, or there are too many.
    pub fn set(self, rank: Rank, policy: Policy, now: Now) -> Result<Ticket, PolicyError> {
        let _alone = self.vhosts.change();
        let vhost = self.vhost(&policy.vhost)?;
        policy.check(rank).map_err(PolicyError::Invalid)?;
        let name = policy.name.clone();
        let ticket = self.book().change(|book| {
            let known = book.policies(rank).any(|of| of.vhost == policy.vhost && of.name == policy.name);
            if !known && book.len() >= POLICIES_MAX {
                return Err(PolicyError::Invalid(format!("there are {POLICIES_MAX} policies already")));
            }
            Ok(PolicyChange::Put(rank, policy))
        })?;
        let (queues, operator) = (self.apply(&vhost, now), rank == Rank::Operator);
        debug!(vhost = %vhost.name, policy = name, operator, queues, "set a policy");
        Ok(ticket)
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// There is no such vhost or policy.
    pub fn delete(self, rank: Rank, vhost: &str, name: &str, now: Now) -> Result<Ticket, PolicyError> {
        let _alone = self.vhosts.change();
        let of = self.vhost(vhost)?;
        let ticket = self.book().change(|book| {
            let known = book.policies(rank).any(|of| of.vhost == vhost && of.name == name);
            if !known {
                return Err(PolicyError::NoSuchPolicy(name.to_owned()));
            }
            Ok(PolicyChange::Delete { rank, vhost: vhost.to_owned(), name: name.to_owned() })
        })?;
        let (queues, operator) = (self.apply(&of, now), rank == Rank::Operator);
        debug!(vhost, policy = name, operator, queues, "deleted a policy");
        Ok(ticket)
    }

    /// The policies that there are.
    pub(super) fn book(self) -> &'a PolicyBook {
        &self.vhosts.context().policies
    }

    fn vhost(self, name: &str) -> Result<Arc<VHost>, PolicyError> {
        self.vhosts.get(name).ok_or_else(|| PolicyError::NoSuchVHost(name.to_owned()))
    }

    /// Makes queues and exchanges follow the policies that there are now; how many queues had to.
    /// The registry's lock for changes is held meanwhile, so that the last change is the last to be
    /// followed.
    pub(super) fn apply(self, vhost: &VHost, now: Now) -> usize {
        let queues = vhost.policies().queues_to_update();
        queues.iter().for_each(|(queue, next)| queue.announce(next));
        vhost.policies().apply_to_exchanges();
        let count = queues.len();
        for (queue, next) in queues {
            let effects = queue.apply_policy(next, &*self.effects.pages, now);
            self.effects.carry_out(&queue, &effects, now, None);
        }
        // A queue that does not refuse messages any more, or send them, need not be asked to.
        vhost.renew_routes();
        count
    }
}
