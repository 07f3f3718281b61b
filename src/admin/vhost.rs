//! Vhosts by name, for operations that are about what is in one.

use super::refusal::Refusal;
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use std::sync::Arc;

/// The vhost of that name.
///
/// # Errors
/// There is none.
pub(super) fn find(broker: &Broker, name: &str) -> Result<Arc<VHost>, Refusal> {
    broker.vhosts().get(name).ok_or_else(|| Refusal::no_vhost(broker, name))
}
