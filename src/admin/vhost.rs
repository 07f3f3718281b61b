//! Vhosts by name, for operations that are about what is in one.

use super::refusal::{Refusal, RefusalKind};
use crate::broker::Broker;
use crate::broker::vhost::VHost;
use std::sync::Arc;

/// The vhost of that name.
///
/// # Errors
/// There is none.
pub(super) fn find(broker: &Broker, name: &str) -> Result<Arc<VHost>, Refusal> {
    broker.vhosts().get(name).ok_or_else(|| not_found(broker, name))
}

/// There is no vhost of that name.
pub(super) fn not_found(broker: &Broker, name: &str) -> Refusal {
    let known = broker.vhosts().list().into_iter().map(|record| record.name);
    Refusal::missing(RefusalKind::NoVHost, "vhost", name, known)
}
