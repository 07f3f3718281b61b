//! How vhosts come, change and go. Who may ask for that is not looked at here: operators and users
//! ask through `admin`.
//!
//! Each operation is in effect when it returns: the connections of a deleted vhost are on their way
//! out, and nobody finds it any more. It is on disk once its ticket is durable.
//!
//! A vhost in which there is little is deleted with it in one atomic batch. Of a large one the
//! deletion itself is a row: from then on it is gone for everybody, after a restart as well, and no
//! other may have its name. What was in it goes in parts, by `sweeps` or by who wants the name, and
//! with the last of them that row. A start goes on with those that it finds.
//!
//! A vhost that exists is in the directory of [`super::accounts`], which is what is kept of it, and
//! in the registry, where its queues are. Both change while the registry's lock for changes is
//! held.

use super::accounts::Accounts;
use super::registry::Registry;
use super::vhost::VHost;
use crate::auth::directory::{AuthChange, Directory};
use crate::auth::vhost::{VHostLimits, VHostRecord};
use crate::blocking;
use crate::ids::Ticket;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, MutexGuard};
use tracing::debug;

/// Why an operation is refused, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VHostError {
    /// There is no such vhost.
    NoSuchVHost(String),
    /// There are as many as there may be.
    TooMany {
        /// The one that was to be added.
        name: String,
        /// `limits.vhosts_max`.
        max: u32,
    },
    /// It is protected from deletion.
    Protected(String),
    /// A name, a tag, a type or a description cannot be used.
    Invalid(String),
}

impl fmt::Display for VHostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchVHost(name) => write!(f, "there is no vhost '{name}'"),
            Self::TooMany { name, max } => {
                write!(f, "cannot create vhost '{name}': vhost limit of {max} is reached")
            }
            Self::Protected(name) => {
                write!(f, "Refusing to delete virtual host '{name}' because it is protected from deletion")
            }
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for VHostError {}

/// What an operator says of a vhost; what is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VHostMetadata {
    /// What it is for.
    pub description: Option<String>,
    /// Whatever the operator likes.
    pub tags: Option<Vec<String>>,
    /// The type of a queue whose declaration names none.
    pub default_queue_type: Option<String>,
}

/// An operator's operations on virtual hosts.
#[derive(Clone, Copy)]
pub struct VHosts<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) registry: &'a Registry,
}

impl<'a> VHosts<'a> {
    /// All vhosts as they are kept, in order of their names.
    #[must_use]
    pub fn list(self) -> Vec<VHostRecord> {
        self.accounts.show(|directory| directory.vhosts().cloned().collect())
    }

    /// A vhost as it is kept.
    #[must_use]
    pub fn record(self, name: &str) -> Option<VHostRecord> {
        self.accounts.show(|directory| directory.vhost(name).cloned())
    }

    /// The vhost of that name, for use.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Arc<VHost>> {
        self.registry.get(name)
    }

    /// Those for use, in order of their names.
    #[must_use]
    pub fn all(self) -> Vec<Arc<VHost>> {
        self.registry.all()
    }

    /// Adds a vhost, in which nobody may do anything yet. One of that name stays as it is
    /// (RabbitMQ: `add_vhost`).
    ///
    /// # Errors
    /// There are too many, or something of it cannot be used.
    pub fn create(self, record: VHostRecord) -> Result<Ticket, VHostError> {
        let record = record.checked().map_err(VHostError::Invalid)?;
        let (name, max) = (record.name.clone(), self.registry.context().limits.get().vhosts_max);
        let _alone = self.change_without(&[name.as_str()].into_iter());
        let (ticket, _nobody) = self.accounts.change(|directory| {
            if directory.vhost(&name).is_some() {
                return Ok(Vec::new());
            }
            if directory.vhosts().count() >= max as usize {
                return Err(VHostError::TooMany { name: name.clone(), max });
            }
            Ok(vec![AuthChange::PutVHost(record.clone())])
        })?;
        // What is declared in it comes later on disk than the vhost itself.
        if self.get(&name).is_none() {
            self.registry.add(&record);
            debug!(vhost = name, "added a vhost");
        }
        Ok(ticket)
    }

    /// Says something else of a vhost.
    ///
    /// # Errors
    /// There is no such vhost, or something cannot be used.
    pub fn set_metadata(self, name: &str, metadata: VHostMetadata) -> Result<Ticket, VHostError> {
        self.alter("set the metadata of", name, |record| {
            let VHostMetadata { description, tags, default_queue_type } = metadata;
            record.description = description.unwrap_or_else(|| std::mem::take(&mut record.description));
            record.tags = tags.unwrap_or_else(|| std::mem::take(&mut record.tags));
            record.default_queue_type = default_queue_type.or_else(|| record.default_queue_type.take());
        })
    }

    /// Sets what there may be in a vhost at a time. What is there stays.
    ///
    /// # Errors
    /// There is no such vhost.
    pub fn set_limits(self, name: &str, limits: VHostLimits) -> Result<Ticket, VHostError> {
        self.change_limits(name, |own| *own = limits)
    }

    /// Changes what there may be in a vhost at a time. What is there stays.
    ///
    /// # Errors
    /// There is no such vhost.
    pub fn change_limits(
        self,
        name: &str,
        change: impl FnOnce(&mut VHostLimits),
    ) -> Result<Ticket, VHostError> {
        self.alter("set the limits of", name, |record| change(&mut record.limits))
    }

    /// From now on a vhost cannot be deleted, or can.
    ///
    /// # Errors
    /// There is no such vhost.
    pub fn protect(self, name: &str, protected: bool) -> Result<Ticket, VHostError> {
        self.alter("protected or unprotected", name, |record| record.protected = protected)
    }

    /// Deletes a vhost with all that is in it and all permissions and policies for it; its
    /// connections are closed.
    ///
    /// # Errors
    /// There is no such vhost, or it is protected.
    pub fn delete(self, name: &str) -> Result<Ticket, VHostError> {
        let _alone = self.registry.change();
        let no_such_vhost = || VHostError::NoSuchVHost(name.to_owned());
        let record = self.record(name).ok_or_else(no_such_vhost)?;
        let vhost = self.get(name).ok_or_else(no_such_vhost)?;
        if record.protected {
            return Err(VHostError::Protected(name.to_owned()));
        }
        if !vhost.shut() {
            return Ok(self.begin_deletion(vhost));
        }
        let changes = vhost.clear();
        let (ticket, leaving) = {
            // The rows about the vhost and those of what is in it reach the disk together.
            let _batch = self.registry.context().log.atomic_batch();
            let (ticket, leaving) =
                self.accounts.change(|directory| Ok::<_, VHostError>(directory.deletion_of_vhost(name)))?;
            self.registry.context().policies.forget(name);
            let emptied = vhost.append_cleared(changes);
            self.registry.remove(name);
            (ticket.max(emptied), leaving)
        };
        debug!(vhost = name, connections_closed = leaving.len(), "deleted a vhost");
        leaving.iter().for_each(|mailbox| mailbox.wake());
        Ok(ticket)
    }

    /// Deletes a vhost in which there is much: all but that.
    fn begin_deletion(self, vhost: Arc<VHost>) -> Ticket {
        let name = Arc::clone(&vhost.name);
        let (ticket, leaving) = {
            let _batch = self.registry.context().log.atomic_batch();
            let begin = |directory: &Directory| Ok::<_, Infallible>(directory.beginning_of_deletion(&name));
            let Ok(begun) = self.accounts.change(begin);
            self.registry.context().policies.forget(&name);
            begun
        };
        self.registry.leave(vhost);
        debug!(vhost = %name, connections_closed = leaving.len(), "deleted a vhost: what was in it goes now");
        leaving.iter().for_each(|mailbox| mailbox.wake());
        ticket
    }

    /// Deletes a part of what is left of a vhost that is deleted; whether there is more.
    pub(super) fn sweep(self, vhost: &Arc<VHost>) -> bool {
        if vhost.sweep() {
            return true;
        }
        self.registry.let_go(vhost, || {
            let last = vec![AuthChange::DeleteVHost { name: vhost.name.to_string() }];
            let Ok(_ticket) = self.accounts.change(|_directory| Ok::<_, Infallible>(last));
            debug!(vhost = %vhost.name, "nothing is left of a deleted vhost");
        });
        false
    }

    /// Whether something is left of a deleted vhost of this name, or of any: who adds one waits,
    /// and helps to delete that.
    #[must_use]
    pub fn is_leaving(self, name: Option<&str>) -> bool {
        self.registry.is_leaving(name)
    }

    /// Keeps others from adding, altering and deleting, once nothing is left of deleted vhosts that
    /// had these names: whoever wants one helps to delete that.
    pub(super) fn change_without<'n>(
        self,
        names: &(impl Iterator<Item = &'n str> + Clone),
    ) -> MutexGuard<'a, ()> {
        loop {
            let alone = self.registry.change();
            let found = names.clone().find_map(|name| self.registry.leaving_from(name));
            let Some(vhost) = found else { return alone };
            drop(alone);
            blocking::run(|| while self.sweep(&vhost) {});
        }
    }

    fn alter(
        self,
        what: &str,
        name: &str,
        alter: impl FnOnce(&mut VHostRecord),
    ) -> Result<Ticket, VHostError> {
        let _alone = self.registry.change();
        let mut record = self.record(name).ok_or_else(|| VHostError::NoSuchVHost(name.to_owned()))?;
        alter(&mut record);
        let record = record.checked().map_err(VHostError::Invalid)?;
        let put = |_: &_| Ok::<_, VHostError>(vec![AuthChange::PutVHost(record.clone())]);
        let (ticket, _nobody) = self.accounts.change(put)?;
        if let Some(vhost) = self.get(name) {
            vhost.configure(&record);
        }
        debug!(vhost = name, "{what} a vhost");
        Ok(ticket)
    }
}
