//! A data file whose reads, writes and syncs are counted.

use crate::clock::mono_us;
use crate::metrics::{IoCounters, IoTally};
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;

/// A backend, and what was done to it.
#[derive(Debug)]
pub(super) struct Counted<B> {
    backend: B,
    io: Arc<IoCounters>,
}

impl<B> Counted<B> {
    /// Nothing was done to it yet.
    pub(super) fn new(backend: B) -> Self {
        Self { backend, io: Arc::default() }
    }

    /// What is counted.
    pub(super) fn io(&self) -> Arc<IoCounters> {
        Arc::clone(&self.io)
    }
}

/// Does it, and counts it if it could be done.
fn count(tally: &IoTally, bytes: usize, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let began_us = mono_us();
    act()?;
    tally.add(bytes, (began_us, mono_us()));
    Ok(())
}

impl<B: StorageBackend> StorageBackend for Counted<B> {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        count(&self.io.reads, out.len(), || self.backend.read(at, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        count(&self.io.syncs, 0, || self.backend.sync_data())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        count(&self.io.writes, bytes.len(), || self.backend.write(at, bytes))
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn what_is_done_is_counted_and_what_fails_is_not() {
        let file = Counted::new(InMemoryBackend::new());
        let io = file.io();
        file.set_len(10).unwrap();
        file.write(0, b"abcd").unwrap();
        file.write(4, b"ef").unwrap();
        let mut read = [0; 6];
        file.read(0, &mut read).unwrap();
        assert_eq!(&read, b"abcdef");
        file.read(8, &mut read).unwrap_err();
        file.sync_data().unwrap();
        let counts = |tally: &IoTally| (tally.count.get(), tally.bytes.get());
        assert_eq!([&io.reads, &io.writes, &io.syncs].map(counts), [(1, 6), (2, 6), (1, 0)]);
    }
}
