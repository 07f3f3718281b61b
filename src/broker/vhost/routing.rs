//! Where messages go: what clients publish, and what the broker routes itself.

use super::{Exchange, Topology, VHost, exchange};
use crate::blocking;
use crate::error::BrokerError;
use crate::routing::exchange::RoutingInput;
use crate::routing::exchange::topic::LongMatches;
use crate::routing::explain::{Explained, explain};
use crate::routing::route::{self, Route};
use crate::routing::topology::Target;
use std::sync::Arc;

/// How often a route is looked for whose matches take long: once for each such exchange on its
/// way.
const ROUNDS: u32 = 8;

/// Matches of a message that take long: they are put off while the lock is held, or an atomic batch
/// of the log, made without, and found made when the message is routed again. Keep it for no longer
/// than that, since what is bound afterwards is not in it.
#[derive(Default)]
pub struct PutOff {
    /// The routing keys of the message.
    keys: Vec<Vec<u8>>,
    long: LongMatches<Target>,
    rounds: u32,
}

impl PutOff {
    /// Whether some are still to be made.
    #[must_use]
    pub fn are_due(&self) -> bool {
        self.long.are_due()
    }

    /// Makes those that are due; call it without a lock and without an atomic batch.
    pub fn make(&mut self) {
        if self.are_due() {
            self.rounds += 1;
            blocking::run(|| self.long.make());
        }
        if self.rounds == ROUNDS {
            self.long.make_at_once();
        }
    }

    fn begin(&mut self, keys: &[&[u8]]) {
        if self.keys != keys {
            *self = Self { keys: keys.iter().map(|key| key.to_vec()).collect(), ..Self::default() };
        }
    }
}

/// Where a message of the broker's own goes.
#[derive(Clone)]
pub enum OwnRoute {
    /// To these queues.
    Found(Arc<Route>),
    /// Nowhere: there is no such exchange.
    NoExchange,
    /// Some of its matches were put off: route it again when they are made.
    Due,
}

impl VHost {
    /// Where a client's message goes.
    ///
    /// # Errors
    /// The exchange is internal, or there is none of that name.
    pub fn route(
        &self,
        exchange_name: &[u8],
        routing_key: &[u8],
        properties: &[u8],
    ) -> Result<Arc<Route>, BrokerError> {
        self.route_copies(exchange_name, &[routing_key], properties)
    }

    /// As [`Self::route`], for a message with one routing key or more.
    ///
    /// # Errors
    /// As [`Self::route`].
    pub fn route_copies(
        &self,
        exchange_name: &[u8],
        keys: &[&[u8]],
        properties: &[u8],
    ) -> Result<Arc<Route>, BrokerError> {
        let name = String::from_utf8_lossy(exchange_name);
        self.find(keys, properties, |topology| {
            if exchange_name.is_empty() {
                return Ok(None);
            }
            let origin = exchange(topology, &name)?;
            if origin.declared.internal {
                let on = self.on_exchange(&name);
                return Err(BrokerError::InternalExchange(on));
            }
            Ok(Some(origin))
        })
    }

    /// Where a message of the broker's own goes, such as a dead letter: internal exchanges are open
    /// to it, and what cannot be routed goes nowhere. None if there is no such exchange.
    #[must_use]
    pub fn route_own(&self, exchange_name: &str, keys: &[&[u8]], properties: &[u8]) -> Option<Arc<Route>> {
        self.route_own_by(exchange_name, keys, properties, &mut PutOff::default())
    }

    /// As [`Self::route_own`], for one of several messages with the same keys, whose matches that
    /// take long are made once.
    #[must_use]
    pub fn route_own_by(
        &self,
        exchange_name: &str,
        keys: &[&[u8]],
        properties: &[u8],
        put_off: &mut PutOff,
    ) -> Option<Arc<Route>> {
        loop {
            match self.route_under_batch(exchange_name, keys, properties, put_off).0 {
                OwnRoute::Found(route) => return Some(route),
                OwnRoute::NoExchange => return None,
                OwnRoute::Due => put_off.make(),
            }
        }
    }

    /// As [`Self::route_own`], under an atomic batch of the log, for which the commit thread waits
    /// and everybody behind it; and the revision of the topology by which that is so.
    #[must_use]
    pub fn route_under_batch(
        &self,
        exchange_name: &str,
        keys: &[&[u8]],
        properties: &[u8],
        put_off: &mut PutOff,
    ) -> (OwnRoute, u64) {
        put_off.begin(keys);
        let state = self.objects.read();
        let (origin, revision) = (state.topology.exchange(exchange_name), state.topology.revision());
        if origin.is_none() && !exchange_name.is_empty() {
            return (OwnRoute::NoExchange, revision);
        }
        let found = route::find(&state.topology, origin, keys, properties, &mut put_off.long);
        drop(state);
        let found = if put_off.are_due() { OwnRoute::Due } else { OwnRoute::Found(Arc::new(found)) };
        (found, revision)
    }

    /// Where a message would go from an exchange, and by which bindings; none if there is no such
    /// exchange. The default exchange has no bindings to tell of.
    #[must_use]
    pub fn explain(&self, exchange_name: &str, message: RoutingInput<'_>) -> Option<Explained> {
        let mut put_off = PutOff::default();
        loop {
            let state = self.objects.read();
            let origin = state.topology.exchange(exchange_name)?;
            let explained = explain(&state.topology, origin, message, &mut put_off.long);
            drop(state);
            if !put_off.are_due() {
                return Some(explained);
            }
            put_off.make();
        }
    }

    /// The route from the exchange that `origin` finds, the default exchange if it finds none.
    /// Matches that take long are made without the lock, up to a number of exchanges in a row.
    fn find(
        &self,
        keys: &[&[u8]],
        properties: &[u8],
        mut origin: impl FnMut(&Topology) -> Result<Option<&Exchange>, BrokerError>,
    ) -> Result<Arc<Route>, BrokerError> {
        let mut put_off = PutOff::default();
        loop {
            let state = self.objects.read();
            let origin = origin(&state.topology)?;
            let route = route::find(&state.topology, origin, keys, properties, &mut put_off.long);
            drop(state);
            if !put_off.are_due() {
                return Ok(Arc::new(route));
            }
            put_off.make();
        }
    }
}
