//! What the client may do: looked up once, and again when something about users has changed.
//!
//! Publishes are asked for where their route is looked up, see [`super::route_cache`]: a publish
//! whose route is known is allowed.

use crate::auth::permission::Grants;
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use crate::ids::ConnectionId;
use std::sync::Arc;

/// A cache of the client's permissions.
pub(crate) struct CachedGrants {
    /// Of which state of the users `grants` are; 0 for none.
    epoch: u64,
    grants: Arc<Grants>,
    /// The user was deleted, or the vhost.
    gone: bool,
}

impl CachedGrants {
    /// Of somebody who has not logged in.
    pub(crate) fn none() -> Self {
        Self { epoch: 0, grants: Arc::new(Grants::nothing("")), gone: false }
    }

    /// What the client may do now; nothing, once its user or the vhost was deleted.
    pub(crate) fn grants(&mut self, (broker, vhost): (&Broker, &VHost), id: ConnectionId) -> &Arc<Grants> {
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

    /// Whether the user or the vhost was deleted, as far as is known.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }
}
