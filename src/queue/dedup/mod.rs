//! Deduplication: a queue or an exchange that takes in each message once, told by the value of a
//! header.
//!
//! A publisher that does not know whether its message arrived sends it again, and it is there once;
//! after a restart of the broker too. A duplicate counts as delivered: it is confirmed, once the
//! message that it repeats is on disk, and not returned. What is remembered reaches the disk in the
//! commit that holds the message, so that neither is there without the other. What the broker moves
//! itself, as a dead letter, is no duplicate of what it was. An exchange looks at what is published
//! to it, not at what comes along a binding from another exchange (as in LavinMQ).
//!
//! [`rules`] say which messages are the same, [`cache`] remembers, here is the lock around it, and
//! `turn` is what happens under that. Lock order: exchange's memory -> queue's memory -> queue; no
//! two of either at a time.

pub mod cache;
pub mod rules;
pub mod turn;

use self::cache::Cache;
use self::rules::Rules;
use crate::clock::Now;
use crate::message::Message;
use crate::message::table::FieldTable;
use crate::store::change::Change;
use crate::store::seen::{SeenBy, SeenRecord};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What one queue or exchange has seen.
pub struct Deduplicator {
    by: SeenBy,
    /// What it has seen survives a restart, as far as the messages do.
    durable: bool,
    rules: Rules,
    memory: Mutex<Memory>,
}

struct Memory {
    cache: Cache,
    /// Its owner is gone: nothing is remembered any more.
    closed: bool,
}

impl Deduplicator {
    /// For an owner that is declared with such arguments; nothing when they do not ask for it.
    #[must_use]
    pub fn new(by: SeenBy, durable: bool, arguments: &FieldTable) -> Option<Arc<Self>> {
        let rules = Rules::new(arguments)?;
        let memory = Memory { cache: Cache::new(rules.size), closed: false };
        Some(Arc::new(Self { by, durable, rules, memory: Mutex::new(memory) }))
    }

    /// Brings back what was on disk, in ascending order of numbers.
    pub fn restore(&self, record: &SeenRecord) {
        let value: Arc<[u8]> = record.value.as_slice().into();
        self.lock().cache.restore(record.number, &value, record.until_ms);
    }

    /// Whether such a message is a duplicate.
    #[must_use]
    pub fn knows(&self, message: &Message<'_>, now: Now) -> bool {
        let id = self.rules.id_of(message, now.unix_ms);
        id.is_some_and(|id| self.lock().cache.find(&id.value, now.unix_ms).is_some())
    }

    /// Its owner is gone: nothing is written from here on, and the change takes back what was.
    pub fn close(&self) -> Option<Change> {
        self.lock().closed = true;
        self.durable.then(|| Change::Forget(self.by.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Deduplicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deduplicator").field("by", &self.by).finish_non_exhaustive()
    }
}
