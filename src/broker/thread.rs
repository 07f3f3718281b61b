//! Threads without which the broker cannot go on.

use crate::store::StoreError;
use crate::store::change::Log;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

/// Starts a thread that does `work`. A panic there ends the broker by way of its log: what the
/// thread has taken over is not done any more, and queues would wait for it for ever.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(
    name: &'static str,
    log: &Arc<dyn Log>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    // The log ends with the broker, and the thread after it.
    let log = Arc::downgrade(log);
    let guarded = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work))
            && let Some(log) = log.upgrade()
        {
            log.fail(StoreError::panicked(&format!("the thread {name}"), &*panic));
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(guarded).map(drop)
}
