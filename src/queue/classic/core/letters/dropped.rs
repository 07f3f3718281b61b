//! What is dropped where nobody wants dead letters, counted by why.

use super::DeathReason;

/// Messages that died in a queue without a dead-letter exchange and were dropped, by reason.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Rejected by a consumer.
    pub rejected: u64,
    /// Delivered in vain too often.
    pub delivery_limit: u64,
    /// Their time was up.
    pub expired: u64,
    /// Their queue was full.
    pub max_len: u64,
}

impl Dropped {
    pub(in crate::queue::classic::core) fn add(&mut self, reason: DeathReason, count: u64) {
        match reason {
            DeathReason::Rejected => self.rejected += count,
            DeathReason::DeliveryLimit => self.delivery_limit += count,
            DeathReason::Expired => self.expired += count,
            DeathReason::MaxLen => self.max_len += count,
            // It is no death.
            DeathReason::Delayed => {}
        }
    }
}
