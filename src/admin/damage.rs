//! Messages that are damaged on disk: which there are, and what is left of them. They are in no
//! queue and are never delivered.

use super::{Caller, Performed, Refusal, RefusalKind, Row};
use crate::broker::Broker;
use crate::store::StoreError;
use crate::store::change::DamagedRun;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// Consecutive messages that are damaged, as they are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DamagedRow {
    /// The name of their queue; empty if there is none with that id any more.
    pub queue: String,
    /// Its vhost.
    pub vhost: String,
    /// The id of their queue in the data file.
    pub queue_id: u64,
    /// The number of the first one in its queue.
    pub first: u64,
    /// How many there are; 0 when that cannot be told.
    pub messages: u32,
    /// Bytes of their records.
    pub bytes: u64,
    /// The records as they are on disk, in hexadecimal digits, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
}

/// Lists them, with the bytes that are left of them or without.
///
/// # Errors
/// The store cannot be read.
pub(super) fn list(broker: &Arc<Broker>, records: bool, caller: &Caller) -> Result<Performed, Refusal> {
    let unreadable = |error: StoreError| Refusal::new(RefusalKind::Unavailable, error.to_string());
    let runs = broker.damaged().map_err(unreadable)?;
    let mut names = HashMap::new();
    broker.each_queue(|queue| {
        names.insert(queue.id, (queue.name.to_string(), queue.home().name.to_string()));
    });
    if records {
        tracing::info!(by = caller.who.log_name(), runs = runs.len(), "exporting damaged messages");
    }
    let broker = Arc::clone(broker);
    Ok(Performed::rows(runs.into_iter().map(move |run| {
        let (queue, vhost) = names.get(&run.queue).cloned().unwrap_or_default();
        Row::Damaged(DamagedRow {
            queue,
            vhost,
            queue_id: run.queue.0,
            first: run.first,
            messages: run.messages,
            bytes: run.bytes,
            records: records.then(|| hexadecimal(&broker, &run)),
        })
    })))
}

fn hexadecimal(broker: &Broker, run: &DamagedRun) -> String {
    let bytes = broker.damaged_records(run).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot read damaged messages");
        Vec::new()
    });
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
