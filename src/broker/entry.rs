//! How a connection enters a vhost, and the places it takes there: of the vhost, and of its user.
//!
//! A place is given back when its connection is dropped, however that ends. Whether there is one is
//! decided under the lock of the accounts, where vhosts and users are also deleted: nobody enters
//! what is on its way out.

use super::accounts::Accounts;
use super::quotas::{Permit, Quotas};
use super::vhost::VHost;
use crate::auth::user::UserLimits;
use crate::error::BrokerError;
use crate::ids::ConnectionId;
use std::sync::Arc;

/// What a connection has while it is in a vhost.
#[derive(Debug)]
pub struct VHostEntry {
    /// Where its channels take their places.
    pub user: Arc<Quotas>,
    _places: [Permit; 2],
}

impl Quotas {
    /// For a user with these limits.
    pub(super) fn of(limits: UserLimits) -> Self {
        let places = Self::default();
        places.set_limits(limits);
        places
    }

    /// There are so many from now on. Who is there stays.
    pub(super) fn set_limits(&self, limits: UserLimits) {
        let UserLimits { connections_max, channels_max } = limits;
        self.connections.set_max(connections_max.map_or(u64::MAX, u64::from));
        self.channels.set_max(channels_max.map_or(u64::MAX, u64::from));
    }
}

impl Accounts {
    /// Lets a connection that has logged in enter a vhost, whose deletion it will then hear of. In
    /// RabbitMQ's order: the vhost's places come before the user's, and both before what the user
    /// may do.
    ///
    /// # Errors
    /// The vhost or the user is gone, or has as many connections as it may have.
    pub fn enter(&self, connection: ConnectionId, vhost: &Arc<VHost>) -> Result<VHostEntry, BrokerError> {
        let mut state = self.write();
        let name = &vhost.name;
        if vhost.is_deleted() {
            return Err(no_vhost(name));
        }
        let Some(login) = state.logins.get_mut(&connection) else {
            return Err(BrokerError::UserDeleted);
        };
        let user = login.user.clone();
        let place = vhost.connections.take().map_err(|max| {
            let (vhost, user) = (Arc::clone(name), user.clone());
            BrokerError::VHostConnectionLimit { vhost, user, max }
        })?;
        login.vhost = Some(Arc::clone(name));
        let limits = state.directory.user(&user).map(|user| user.limits).unwrap_or_default();
        let places = state.places.entry(user.clone()).or_insert_with(|| Arc::new(Quotas::of(limits)));
        let of_user =
            places.connections.take().map_err(|max| BrokerError::UserConnectionLimit { user, max })?;
        Ok(VHostEntry { user: Arc::clone(places), _places: [place, of_user] })
    }
}

/// What those are told who open a vhost that is not there.
#[must_use]
pub fn no_vhost(name: &str) -> BrokerError {
    BrokerError::NoVHost(name.to_owned())
}
