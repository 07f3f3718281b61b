//! Where messages go: what clients publish, and what the broker routes itself.

use super::{Exchange, Topology, VHost, exchange};
use crate::blocking;
use crate::error::AmqpError;
use crate::routing::exchange::topic::LongMatches;
use crate::routing::route::{self, Route};
use std::sync::Arc;

/// How often a route is looked for whose matches take long: once for each such exchange on its
/// way.
const ROUNDS: u32 = 8;

impl VHost {
    /// Where a client's message goes.
    ///
    /// # Errors
    /// 403 for an internal exchange, 404 when there is no such exchange, 502 when headers have to
    /// be looked at and do not decode.
    pub fn route(
        &self,
        exchange_name: &[u8],
        routing_key: &[u8],
        properties: &[u8],
    ) -> Result<Arc<Route>, AmqpError> {
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
    ) -> Result<Arc<Route>, AmqpError> {
        let name = String::from_utf8_lossy(exchange_name);
        self.find(keys, properties, |topology| {
            if exchange_name.is_empty() {
                return Ok(None);
            }
            let origin = exchange(topology, &name)?;
            if origin.declared.internal {
                let on = self.on_exchange(&name);
                return Err(AmqpError::AccessRefused(format!("cannot publish to internal {on}")));
            }
            Ok(Some(origin))
        })
    }

    /// Where a message of the broker's own goes, such as a dead letter: internal exchanges are open
    /// to it, and what cannot be routed goes nowhere. None if there is no such exchange.
    #[must_use]
    pub fn route_own(&self, exchange_name: &str, keys: &[&[u8]], properties: &[u8]) -> Option<Arc<Route>> {
        let missing = || AmqpError::no_exchange(&self.name, exchange_name);
        let mut is_missing = false;
        let found = self.find(keys, properties, |topology| {
            let origin = topology.exchange(exchange_name);
            is_missing = origin.is_none() && !exchange_name.is_empty();
            if is_missing { Err(missing()) } else { Ok(origin) }
        });
        (!is_missing).then(|| found.unwrap_or_default())
    }

    /// The route from the exchange that `origin` finds, the default exchange if it finds none.
    /// Matches that take long are made without the lock, up to a number of exchanges in a row.
    fn find(
        &self,
        keys: &[&[u8]],
        properties: &[u8],
        mut origin: impl FnMut(&Topology) -> Result<Option<&Exchange>, AmqpError>,
    ) -> Result<Arc<Route>, AmqpError> {
        let mut long = LongMatches::default();
        for _round in 0..ROUNDS {
            let state = self.read();
            let origin = origin(&state.topology)?;
            let route = route::find(&state.topology, origin, keys, properties, &mut long)?;
            drop(state);
            if !long.are_due() {
                return Ok(Arc::new(route));
            }
            blocking::run(|| long.make());
        }
        long.make_at_once();
        let state = self.read();
        route::find(&state.topology, origin(&state.topology)?, keys, properties, &mut long).map(Arc::new)
    }
}
