//! How much a session does before others have their turn.
//!
//! A session counts what it does in steps, a step being what takes about a microsecond. It counts
//! where something is done that takes as long, and not for each message: what is cheap enough is
//! limited by the size of a read. A session has two budgets, so that a client that sends without a
//! pause still gets what its consumers are dealt.

/// Steps of one kind before others have their turn. With both budgets spent, and a step that takes
/// twice as long as it should, a turn stays below 5 ms.
pub(crate) const STEPS: usize = 1000;

/// A turn that took so many steps had something in it that cannot be cut.
pub(crate) const LONG: usize = 5 * STEPS / 2;

/// Bindings, nodes of a trie or queues that are looked at in one step.
pub(crate) const LOOKED_AT: usize = 16;

/// Steps of a method that declares, binds, deletes or asks.
pub(crate) const METHOD: usize = 8;

/// Steps that it takes to put a block into one queue.
pub(crate) const QUEUE: usize = 2;

/// Steps that it takes to copy a message to the firehose.
pub(crate) const COPY: usize = 16;

/// Deliveries that are encoded in one step.
pub(crate) const DELIVERIES: usize = 16;

/// Steps that were taken since the budget was renewed.
#[derive(Debug, Default)]
pub(crate) struct StepBudget {
    taken: usize,
}

impl StepBudget {
    #[inline]
    pub(crate) fn take(&mut self, steps: usize) {
        self.taken = self.taken.saturating_add(steps);
    }

    /// Steps that were taken, in spite of the budget perhaps: what is begun is ended.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.taken >= STEPS
    }

    pub(crate) fn renew(&mut self) {
        self.taken = 0;
    }
}
