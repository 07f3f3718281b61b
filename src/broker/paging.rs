//! Who reads pages from disk for the queues.
//!
//! One thread, so that a queue's lock is never held during a read and sessions never wait for the
//! disk. A queue asks for one page at a time, so there are no more requests than queues. A read
//! that fails is tried again until it does not: the messages are not given up, and the store tells
//! by itself when it is beyond help.
//!
//! While too much lies ready for clients that do not take it, a message that is longer than a page
//! is not brought: it would lie there too.

use super::thread;
use crate::clock::{self, Now};
use crate::ids::SeqRange;
use crate::queue::Queue;
use crate::queue::unread::Unread;
use crate::store::StoreError;
use crate::store::change::{Log, Page, PageSource};
use std::collections::VecDeque;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of records that one request brings: enough to read sequentially, little enough for the
/// memory of many queues.
pub(super) const PAGE_BYTES: usize = 512 * 1024;

/// How long after a read that failed it is tried again. While the disk is full the store cannot be
/// read for a second or so after each commit that failed.
const RETRY_MS: u64 = 500;

/// How often it is looked whether clients have taken enough for the next long message.
const LOOK_MS: u64 = 50;

/// A queue that waits for messages from disk.
#[derive(Debug)]
pub(super) struct PageRequest {
    pub(super) queue: Arc<Queue>,
    pub(super) wanted: SeqRange,
    /// When they were asked for: no time passes for the queue until they come.
    pub(super) now: Now,
}

/// A thread that reads pages from disk for queues, and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Pager {
    requests: Mutex<Sender<PageRequest>>,
}

impl Pager {
    /// A pager, and the requests for which [`start`] starts its thread.
    pub(super) fn new() -> (Self, Receiver<PageRequest>) {
        let (sender, receiver) = channel();
        (Self { requests: Mutex::new(sender) }, receiver)
    }

    /// Asks for a page.
    pub(super) fn request(&self, request: PageRequest) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(unsent) = requests.send(request) {
            tracing::error!(queue = %unsent.0.queue.name, "messages not read: the thread that reads them has ended");
        }
    }
}

/// Starts the thread of a pager; `deliver` gets what was read.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(
    log: &Arc<dyn Log>,
    pages: Arc<dyn PageSource>,
    unread: Arc<Unread>,
    requests: Receiver<PageRequest>,
    deliver: impl Fn(&PageRequest, Vec<Page>) + Send + 'static,
) -> std::io::Result<()> {
    let reader =
        Reader { pages, unread, deliver, failed: Vec::new(), retry_at_ms: 0, deferred: VecDeque::new() };
    thread::start("leveret-pager", log, move || reader.serve(&requests))
}

/// What the thread has, and the requests that it could not answer at once.
struct Reader<D> {
    pages: Arc<dyn PageSource>,
    unread: Arc<Unread>,
    deliver: D,
    /// Those whose pages could not be read.
    failed: Vec<PageRequest>,
    /// When they are tried again.
    retry_at_ms: u64,
    /// Those that wait until clients have taken what lies ready for them.
    deferred: VecDeque<PageRequest>,
}

impl<D: Fn(&PageRequest, Vec<Page>)> Reader<D> {
    fn serve(mut self, requests: &Receiver<PageRequest>) {
        loop {
            let retry_ms = self.retry_at_ms.saturating_sub(clock::mono_ms());
            let look_ms = if self.unread.is_high() { LOOK_MS } else { 0 };
            let waits = [(!self.failed.is_empty(), retry_ms), (!self.deferred.is_empty(), look_ms)];
            let next = match waits.into_iter().filter_map(|(waits, ms)| waits.then_some(ms)).min() {
                None => requests.recv().map_err(|_all_gone| RecvTimeoutError::Disconnected),
                Some(ms) => requests.recv_timeout(Duration::from_millis(ms)),
            };
            match next {
                Ok(request) => self.read(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.unread.is_high()
                && let Some(request) = self.deferred.pop_front()
            {
                self.read(request);
            }
            self.unread.set_awaited(!self.deferred.is_empty());
            if !self.failed.is_empty() && clock::mono_ms() >= self.retry_at_ms {
                self.retry();
            }
        }
    }

    fn load(&self, request: &PageRequest) -> Result<Vec<Page>, StoreError> {
        self.pages.load(request.queue.id, request.wanted, PAGE_BYTES)
    }

    fn read(&mut self, request: PageRequest) {
        match self.load(&request) {
            Ok(loaded) if self.unread.is_high() && is_long(&loaded) => self.deferred.push_back(request),
            Ok(loaded) => (self.deliver)(&request, loaded),
            Err(why) => {
                tracing::error!(queue = %request.queue.name, %why, "cannot read messages: the queue waits");
                if self.failed.is_empty() {
                    self.retry_at_ms = clock::mono_ms() + RETRY_MS;
                }
                self.failed.push(request);
            }
        }
    }

    /// Tries again what could not be read.
    fn retry(&mut self) {
        let failed = mem::take(&mut self.failed);
        let still = failed.into_iter().filter_map(|request| match self.load(&request) {
            Ok(loaded) => {
                tracing::info!(queue = %request.queue.name, "messages are readable again");
                (self.deliver)(&request, loaded);
                None
            }
            Err(_still) => Some(request),
        });
        self.failed = still.collect();
        self.retry_at_ms = clock::mono_ms() + RETRY_MS;
    }
}

/// Whether these are more than a page: a long message, and perhaps what came before it.
fn is_long(pages: &[Page]) -> bool {
    pages.iter().map(|page| page.block.bytes_of(0..page.block.len())).sum::<usize>() > PAGE_BYTES
}
