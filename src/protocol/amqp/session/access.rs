//! What the client may do: looked up once, and again when something about users has changed.
//!
//! Publishes are asked for where their route is looked up, see [`super::routes`]: a publish whose
//! route is known is allowed.

use super::connection_state::ConnectionState;
use crate::auth::permission::{Grants, Right};
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::error::{BrokerError, Resource};
use crate::ids::ConnectionId;
use crate::protocol::amqp::fault::AmqpError;
use std::sync::Arc;

/// A cache of the client's permissions.
pub(super) struct Access {
    /// Of which state of the users `grants` are; 0 for none.
    epoch: u64,
    grants: Arc<Grants>,
    /// The user was deleted, or the vhost.
    gone: bool,
}

impl Access {
    /// Of somebody who has not logged in.
    pub(super) fn none() -> Self {
        Self { epoch: 0, grants: Arc::new(Grants::nothing("")), gone: false }
    }

    /// What the client may do now; nothing, once its user or the vhost was deleted.
    pub(super) fn grants(&mut self, (broker, vhost): (&Broker, &VHost), id: ConnectionId) -> &Arc<Grants> {
        // Read before the grants: a change in between makes them old at once, never too new.
        let epoch = broker.accounts().epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            let grants = broker.accounts().grants(id, &vhost.name);
            match grants.filter(|_| !vhost.is_deleted()) {
                Some(grants) => self.grants = grants,
                None => {
                    self.gone = true;
                    self.grants = Arc::new(Grants::nothing(self.grants.user()));
                }
            }
        }
        &self.grants
    }
}

impl ConnectionState {
    /// What the client may do now.
    pub(super) fn grants(&mut self) -> Arc<Grants> {
        Arc::clone(self.access.grants((&self.broker, &self.vhost), self.id))
    }

    /// Whether the client may do that.
    ///
    /// # Errors
    /// 403 if not.
    pub(super) fn check(&mut self, right: Right, on: &Resource) -> Result<(), BrokerError> {
        self.access.grants((&self.broker, &self.vhost), self.id).check(right, on)
    }

    /// As [`ConnectionState::check`], for a queue.
    ///
    /// # Errors
    /// 403 if not.
    pub(super) fn check_queue(&mut self, right: Right, name: &str) -> Result<(), BrokerError> {
        self.check(right, &self.vhost.on_queue(name))
    }

    /// Whether the user and the vhost are still there.
    ///
    /// # Errors
    /// 320 if not.
    #[inline]
    pub(super) fn check_presence(&mut self) -> Result<(), AmqpError> {
        self.access.grants((&self.broker, &self.vhost), self.id);
        if !self.access.gone {
            return Ok(());
        }
        self.vhost.check()?;
        Err(AmqpError::UserDeleted(self.user.clone()))
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        if !self.user.is_empty() {
            self.broker.accounts().log_out(self.id);
        }
    }
}
