//! How much is defined, in bytes as it is kept: what the disk has of it, and nearly what memory
//! has.

use super::{Binding, Declared, encoded};
use crate::message::table::FieldTable;
use crate::queue::Queue;
use std::ops::{AddAssign, SubAssign};

/// What anything takes beside its names and arguments.
const EACH: usize = 256;

/// How much queues, exchanges and bindings are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defined {
    /// Bytes of all of them.
    pub all: usize,
    /// Bytes of those that are on disk.
    pub durable: usize,
}

impl Defined {
    /// A thing with so many bytes of names and arguments.
    #[must_use]
    pub fn of(bytes: usize, durable: bool) -> Self {
        let all = bytes + EACH;
        Self { all, durable: if durable { all } else { 0 } }
    }

    /// A queue or an exchange.
    #[must_use]
    pub fn named(name: &str, arguments: &FieldTable, durable: bool) -> Self {
        let bytes = if arguments.is_empty() { 0 } else { encoded(arguments).len() };
        Self::of(name.len() + bytes, durable)
    }

    pub(super) fn of_queue(queue: &Queue) -> Self {
        Self::named(&queue.name, &queue.settings.arguments, queue.settings.durable)
    }

    pub(super) fn of_exchange(declared: &Declared) -> Self {
        Self::named(&declared.name, &declared.arguments, declared.durable)
    }

    pub(super) fn of_binding(source: &Declared, binding: &Binding) -> Self {
        let durable = source.durable && binding.target.is_durable();
        Self::of(binding.key.len() + binding.arguments.len(), durable)
    }
}

impl AddAssign for Defined {
    fn add_assign(&mut self, more: Self) {
        self.all += more.all;
        self.durable += more.durable;
    }
}

impl SubAssign for Defined {
    fn sub_assign(&mut self, less: Self) {
        self.all = self.all.saturating_sub(less.all);
        self.durable = self.durable.saturating_sub(less.durable);
    }
}
