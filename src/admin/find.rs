//! What an operation names, found; or a refusal with the name that was probably meant.

use super::refusal::{Refusal, RefusalKind};
use crate::broker::Broker;
use crate::broker::clients::Client;
use crate::broker::vhost::VHost;
use crate::queue::Queue;
use std::sync::Arc;

/// The vhost of that name.
///
/// # Errors
/// There is none.
pub(super) fn vhost(broker: &Broker, name: &str) -> Result<Arc<VHost>, Refusal> {
    broker.vhosts().get(name).ok_or_else(|| Refusal::no_vhost(broker, name))
}

/// The queue of that name.
///
/// # Errors
/// There is none, or no such vhost.
pub(super) fn queue(broker: &Broker, vhost: &str, name: &str) -> Result<Arc<Queue>, Refusal> {
    let place = self::vhost(broker, vhost)?;
    place.find_queue(name).ok_or_else(|| {
        let known = place.list_queues();
        Refusal::not_found("queue", name, known.iter().map(|queue| &*queue.name))
    })
}

/// The connection of that name; of a name, the part before the arrow will do where it is told by
/// that.
///
/// # Errors
/// There is none, or there are several.
pub(super) fn connection(broker: &Broker, name: &str) -> Result<Arc<Client>, Refusal> {
    let all = broker.clients().list();
    let is_it = |client: &&Arc<Client>| client.facts.name() == name || client.facts.peer.to_string() == name;
    let mut found = all.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(client), None) => Ok(Arc::clone(client)),
        (Some(_), Some(_)) => {
            let why = format!("there are several connections from '{name}': give the whole name of one");
            Err(Refusal::new(RefusalKind::Conflict, why))
        }
        (None, _) => {
            Err(Refusal::not_found("connection", name, all.iter().map(|client| client.facts.name())))
        }
    }
}
