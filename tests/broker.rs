//! The broker as a whole, without sockets.

mod dead_letters;
mod dedup;
mod definitions;
mod fixtures;
mod full_disk;
mod golden;
mod limits;
mod model;
mod moves;
mod one_commit;
mod paging;
mod policies;
mod power_cut;
mod streams;
mod threads;
mod time;
mod transactions;
mod users;
mod vhosts;

use leveret::broker::{Broker, BrokerSettings};
use leveret::clock::Now;
use leveret::store::{Opened, StoreError};
use std::sync::Arc;

/// Starts a broker as a node does that finds nothing wrong: the default user is on disk.
fn start_broker(opened: Opened, settings: BrokerSettings, now: Now) -> Result<Arc<Broker>, StoreError> {
    let broker = Broker::start(opened, settings, now)?;
    broker.accounts().keep_default_user();
    Ok(broker)
}
