//! Who a client is: where it comes from, its user and vhost, and its places among the clients.

use super::access::CachedGrants;
use crate::auth::permission::{Grants, Right};
use crate::broker::clients::ClientHandle;
use crate::broker::entry::VHostEntry;
use crate::broker::vhost::VHost;
use crate::broker::{Broker, Permit};
use crate::error::{BrokerError, Resource};
use crate::ids::ConnectionId;
use std::net::SocketAddr;
use std::sync::Arc;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address of its socket.
    pub address: SocketAddr,
    /// The address it came to, if that is known.
    pub local: Option<SocketAddr>,
    /// It speaks TLS.
    pub tls: bool,
    /// The user that its certificate names, if it showed one and that was verified.
    pub certificate_name: Option<String>,
}

impl Peer {
    /// Somebody of whom nothing is known but where it is.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address, local: None, tls: false, certificate_name: None }
    }
}

/// One client, as the broker knows it. A user that has logged in is logged out when this is
/// dropped.
pub(crate) struct Identity {
    broker: Arc<Broker>,
    pub(crate) id: ConnectionId,
    pub(crate) peer: Peer,
    /// Empty until the login succeeded.
    pub(crate) user: String,
    /// The vhost it is in; nowhere to begin with.
    pub(crate) vhost: Arc<VHost>,
    /// Its places among the connections, once it was let in: of all, and of its vhost and user.
    pub(crate) places: Option<(Permit, VHostEntry)>,
    /// Its place among the clients that an operator sees, while it is open.
    pub(crate) handle: Option<ClientHandle>,
    access: CachedGrants,
}

impl Identity {
    /// Somebody who has not logged in.
    pub(crate) fn new(broker: &Arc<Broker>, peer: Peer) -> Self {
        Self {
            broker: Arc::clone(broker),
            id: broker.new_connection_id(),
            peer,
            user: String::new(),
            vhost: Arc::clone(broker.nowhere()),
            places: None,
            handle: None,
            access: CachedGrants::none(),
        }
    }

    /// What the client may do now.
    pub(crate) fn grants(&mut self) -> Arc<Grants> {
        Arc::clone(self.grants_in_vhost().0)
    }

    /// What the client may do now, and where.
    pub(super) fn grants_in_vhost(&mut self) -> (&Arc<Grants>, &Arc<VHost>) {
        (self.access.grants((&self.broker, &self.vhost), self.id), &self.vhost)
    }

    /// Whether the client may do that.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check(&mut self, right: Right, on: &Resource) -> Result<(), BrokerError> {
        self.grants_in_vhost().0.check(right, on)
    }

    /// As [`Self::check`], for a queue.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_queue(&mut self, right: Right, name: &str) -> Result<(), BrokerError> {
        self.check(right, &self.vhost.on_queue(name))
    }

    /// Whether the user or the vhost was deleted.
    #[inline]
    pub(crate) fn is_gone(&mut self) -> bool {
        self.grants_in_vhost();
        self.access.is_gone()
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        if !self.user.is_empty() {
            self.broker.accounts().log_out(self.id);
        }
    }
}
