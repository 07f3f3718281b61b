//! Routes a connection has used, so that a message for the same exchange and key need not ask the
//! vhost again.
//!
//! Whether the client may publish like that is asked when the route is looked up. A change of what
//! somebody may do renews all routes, so that it is asked again.

use super::budget::LOOKED_AT;
use super::identity::Identity;
use crate::auth::permission::Right;
use crate::broker::vhost::access::may_use_keys;
use crate::error::BrokerError;
use crate::message::Message;
use crate::routing::route::Route;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

/// Routes remembered per connection; an entry is about 150 bytes.
const ROUTES_MAX: usize = 1024;

/// Routes by exchange and key, valid while the vhost's topology is unchanged.
#[derive(Default)]
pub(crate) struct RouteCache {
    epoch: u64,
    /// The newest route, and what it is for when that may be asked again.
    exchange: Vec<u8>,
    routing_key: Vec<u8>,
    known: bool,
    route: Arc<Route>,
    others: HashMap<Box<[u8]>, Arc<Route>>,
    /// Steps that it took to look routes up, and that nobody has counted yet.
    cost: usize,
}

impl RouteCache {
    /// The route found last.
    #[inline]
    pub(crate) fn current(&self) -> &Arc<Route> {
        &self.route
    }

    /// Makes a route that is not to be asked for again the current one.
    pub(crate) fn set_current(&mut self, route: Arc<Route>) {
        self.known = false;
        self.cost += cost(&route);
        self.route = route;
    }

    /// Steps that it took to look routes up since the last [`Self::take_cost`].
    #[inline]
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// As [`Self::cost`], which is counted from now on.
    pub(crate) fn take_cost(&mut self) -> usize {
        mem::take(&mut self.cost)
    }

    /// Finds the queues for a message.
    #[inline]
    pub(crate) fn find(
        &mut self,
        client: &mut Identity,
        message: &Message<'_>,
    ) -> Result<&Arc<Route>, BrokerError> {
        let same = self.known
            && self.routing_key == message.routing_key
            && self.exchange == message.exchange
            && self.epoch == client.vhost.epoch();
        if !same {
            self.look_up(client, message)?;
        }
        Ok(&self.route)
    }

    fn look_up(&mut self, client: &mut Identity, message: &Message<'_>) -> Result<(), BrokerError> {
        self.known = false;
        // Read before the lookup: a change in between makes the route old at once, never too new.
        let epoch = client.vhost.epoch();
        if epoch != self.epoch || self.others.len() >= ROUTES_MAX {
            self.others.clear();
            self.epoch = epoch;
        }
        let length = u8::try_from(message.exchange.len()).unwrap_or(u8::MAX);
        let key = [&[length], message.exchange, message.routing_key].concat();
        if let Some(route) = self.others.get(key.as_slice()) {
            self.route = Arc::clone(route);
        } else {
            let (grants, vhost) = client.grants_in_vhost();
            if !grants.allow(Right::Write, message.exchange) {
                let exchange = String::from_utf8_lossy(message.exchange);
                grants.check(Right::Write, &vhost.on_exchange(&exchange))?;
            }
            self.route = vhost.route(message.exchange, message.routing_key, message.properties)?;
            self.cost += cost(&self.route);
            may_use_keys(grants, vhost, Right::Write, message.exchange, &[message.routing_key])?;
            if !self.route.cacheable {
                return Ok(());
            }
            self.others.insert(key.into(), Arc::clone(&self.route));
        }
        self.exchange.clear();
        self.exchange.extend_from_slice(message.exchange);
        self.routing_key.clear();
        self.routing_key.extend_from_slice(message.routing_key);
        self.known = true;
        Ok(())
    }
}

/// Steps that it took to find a route.
fn cost(route: &Route) -> usize {
    1 + route.effort / LOOKED_AT
}
