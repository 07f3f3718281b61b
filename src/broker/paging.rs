//! Who reads pages from disk for the queues.
//!
//! One thread, so that a queue's lock is never held during a read and sessions never wait for the
//! disk. A queue asks for one page at a time, so there are no more requests than queues. A read
//! that fails is tried again until it does not: the messages are not given up, and the store tells
//! by itself when it is beyond help.

use super::thread;
use crate::clock::{self, Now};
use crate::ids::SeqRange;
use crate::queue::Queue;
use crate::store::change::{Log, Page, PageSource};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of records that one request brings: enough to read sequentially, little enough for the
/// memory of many queues.
pub(super) const PAGE_BYTES: usize = 512 * 1024;

/// How long after a read that failed it is tried again. While the disk is full the store cannot be
/// read for a second or so after each commit that failed.
const RETRY_MS: u64 = 500;

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
    requests: Receiver<PageRequest>,
    deliver: impl Fn(&PageRequest, Vec<Page>) + Send + 'static,
) -> std::io::Result<()> {
    thread::start("leveret-pager", log, move || serve(&requests, &*pages, deliver))
}

fn serve(
    requests: &Receiver<PageRequest>,
    pages: &dyn PageSource,
    deliver: impl Fn(&PageRequest, Vec<Page>),
) {
    let mut failed: Vec<PageRequest> = Vec::new();
    let mut retry_at_ms = 0_u64;
    loop {
        let next = if failed.is_empty() {
            requests.recv().map_err(|_all_gone| RecvTimeoutError::Disconnected)
        } else {
            let left_ms = retry_at_ms.saturating_sub(clock::mono_ms());
            requests.recv_timeout(Duration::from_millis(left_ms))
        };
        match next {
            Ok(request) => match pages.load(request.queue.id, request.wanted, PAGE_BYTES) {
                Ok(loaded) => deliver(&request, loaded),
                Err(why) => {
                    tracing::error!(queue = %request.queue.name, %why, "cannot read messages: the queue waits");
                    if failed.is_empty() {
                        retry_at_ms = clock::mono_ms() + RETRY_MS;
                    }
                    failed.push(request);
                }
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !failed.is_empty() && clock::mono_ms() >= retry_at_ms {
            failed.retain(|request| match pages.load(request.queue.id, request.wanted, PAGE_BYTES) {
                Ok(loaded) => {
                    tracing::info!(queue = %request.queue.name, "messages are readable again");
                    deliver(request, loaded);
                    false
                }
                Err(_still) => true,
            });
            retry_at_ms = clock::mono_ms() + RETRY_MS;
        }
    }
}
