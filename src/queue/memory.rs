//! How much a queue may hold in memory, and the sum that all queues hold.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What waits next in line, bytes: several reads of a page, so that consumers do not wait for each.
const HEAD: usize = 512 << 10;

/// What a queue keeps in memory while memory is plentiful. Persistent messages cost nothing to
/// forget; transient ones have to be written first, which a consumer who is a moment behind should
/// not cause.
pub(super) const BUDGET: MemoryBudget =
    MemoryBudget { bytes: 4 << 20, transient_bytes: 16 << 20, head_bytes: HEAD };

/// What a queue keeps in memory when all queues together hold more than [`MEMORY_PLENTY`].
const BUDGET_TIGHT: MemoryBudget =
    MemoryBudget { bytes: 256 << 10, transient_bytes: 256 << 10, head_bytes: HEAD };

/// What a queue without consumers keeps when all together hold more than [`MEMORY_SHORT`]: ten
/// thousand queues with a backlog each then hold 20 MB. One with consumers keeps its head.
pub(super) const BUDGET_SHORT: MemoryBudget =
    MemoryBudget { bytes: 2 << 10, transient_bytes: 2 << 10, head_bytes: 2 << 10 };

/// What all queues together may hold before each of them is held short.
pub(super) const MEMORY_PLENTY: usize = 20 << 20;

/// What all queues together may hold before those without consumers keep next to nothing.
pub(super) const MEMORY_SHORT: usize = 32 << 20;

/// How much a queue may hold in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryBudget {
    /// Beyond so many bytes it forgets what is stored.
    pub(super) bytes: usize,
    /// Beyond so many it has the disk take what is not persistent.
    pub(super) transient_bytes: usize,
    /// What waits next in line and stays in any case.
    pub(super) head_bytes: usize,
}

/// What a queue keeps in memory when all together hold `memory` bytes.
pub(super) fn budget(memory: usize, has_consumers: bool) -> MemoryBudget {
    match memory {
        ..=MEMORY_PLENTY => BUDGET,
        memory if memory <= MEMORY_SHORT || has_consumers => BUDGET_TIGHT,
        _ => BUDGET_SHORT,
    }
}

/// The bytes that a queue has added to the sum of all queues.
#[derive(Debug, Default)]
pub(super) struct CountedBytes(usize);

impl CountedBytes {
    /// As it was counted last.
    pub(super) fn get(&self) -> usize {
        self.0
    }

    /// The queue holds `resident` bytes now.
    pub(super) fn set(&mut self, resident: usize, all: &AtomicUsize) {
        if resident >= self.0 {
            all.fetch_add(resident - self.0, Ordering::Relaxed);
        } else {
            all.fetch_sub(self.0 - resident, Ordering::Relaxed);
        }
        self.0 = resident;
    }
}
