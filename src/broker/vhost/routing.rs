//! Where messages go: what clients publish, and what the broker routes itself.

use super::{VHost, exchange};
use crate::error::AmqpError;
use crate::routing::route::{self, Route};
use std::sync::Arc;

impl VHost {
    /// Where a client's message goes.
    ///
    /// # Errors
    /// 403 for an internal exchange, 404 when there is no such exchange, 502 when headers have to be looked at and do
    /// not decode.
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
        let state = self.read();
        if exchange_name.is_empty() {
            return route::find(&state.topology, None, keys, properties).map(Arc::new);
        }
        let name = String::from_utf8_lossy(exchange_name);
        let origin = exchange(&state.topology, &name)?;
        if origin.declared.internal {
            let on = self.on_exchange(&name);
            return Err(AmqpError::AccessRefused(format!("cannot publish to internal {on}")));
        }
        route::find(&state.topology, Some(origin), keys, properties).map(Arc::new)
    }

    /// Where a message of the broker's own goes, such as a dead letter: internal exchanges are open to it, and what
    /// cannot be routed goes nowhere. None if there is no such exchange.
    #[must_use]
    pub fn route_own(&self, exchange_name: &str, keys: &[&[u8]], properties: &[u8]) -> Option<Arc<Route>> {
        let state = self.read();
        let origin = state.topology.exchange(exchange_name);
        if origin.is_none() && !exchange_name.is_empty() {
            return None;
        }
        Some(route::find(&state.topology, origin, keys, properties).map_or_else(|_| Arc::default(), Arc::new))
    }
}
