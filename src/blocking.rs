//! Work that takes longer than a few milliseconds and cannot be cut, kept away from the runtime's
//! workers.
//!
//! A worker serves many connections in turn, so whoever holds it makes all of them wait. What can
//! be cut into steps counts them and yields (see the budget of a session). What cannot (a fanout to
//! 100,000 queues, the end of a queue with a million bindings) runs by [`run`]: the worker's other
//! tasks go on in another thread meanwhile, and only the caller waits.
//!
//! Such work may hold a lock. Who waits for that lock by [`wait`] does not hold a worker either.
//!
//! Invariant: nobody who calls [`run`] needs another thread to get on, so that a limit on threads
//! delays and never deadlocks.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Elements that are worked through on a worker: about a millisecond, if each takes half a
/// microsecond.
pub const FEW: usize = 2048;

/// How often [`Waiting::let_in`] yields at most: about a millisecond, if nothing else runs.
const YIELDS: usize = 1000;

/// How many threads are in [`run`].
static RUNNING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

/// Counts one more while it lives, so that a panic in the work does not leave it counted.
struct Running;

impl Running {
    fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who waits for a lock that somebody takes over and over for something long. Without it that one
/// would have the lock again before who waits has woken.
#[derive(Debug, Default)]
pub struct Waiting(AtomicUsize);

/// Waits while it lives.
#[must_use]
#[derive(Debug)]
pub struct OneWaiting<'a>(&'a AtomicUsize);

impl Waiting {
    /// One more waits.
    pub fn one(&self) -> OneWaiting<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        OneWaiting(&self.0)
    }

    /// Lets those get the lock who wait for it. Call it without the lock.
    pub fn let_in(&self) {
        for _yield in 0..YIELDS {
            if self.0.load(Ordering::Relaxed) == 0 {
                return;
            }
            thread::yield_now();
        }
    }
}

impl Drop for OneWaiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Does work that may take long. Take a lock that others wait for inside of `work`, not around it,
/// where that is possible: then nobody waits for it before it is known that it takes long.
pub fn run<R>(work: impl FnOnce() -> R) -> R {
    let _running = Running::begin();
    RUNS.set(RUNS.get() + 1);
    aside(work)
}

/// Does work on `count` elements: by [`run`] if they are more than a few.
pub fn run_many<R>(count: usize, work: impl FnOnce() -> R) -> R {
    if count > FEW { run(work) } else { work() }
}

/// Waits for a lock that is taken at the moment: `lock` takes it. It costs no more than `lock`
/// alone unless something in [`run`] may be what holds it.
pub fn wait<R>(lock: impl FnOnce() -> R) -> R {
    if RUNNING.load(Ordering::Relaxed) == 0 { lock() } else { aside(lock) }
}

/// How often this thread has called [`run`]: what tests count instead of milliseconds.
#[must_use]
pub fn runs() -> u64 {
    RUNS.get()
}

/// Has other threads take this worker's tasks, if this is a worker.
fn aside<R>(work: impl FnOnce() -> R) -> R {
    let has_workers =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if !has_workers {
        return work();
    }
    let (mut work, mut done) = (Some(work), None);
    in_place(&mut || done = work.take().map(|work| work()));
    match done {
        Some(done) => done,
        None => unreachable!("in_place has called it"),
    }
}

/// The runtime's part, which is compiled once, and not for each kind of work.
fn in_place(work: &mut dyn FnMut()) {
    block_in_place(work);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tokio::runtime::Builder;

    #[test]
    fn the_tasks_of_a_worker_go_on_while_one_of_them_blocks() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (done, has_run) = mpsc::channel();
        let blocked = runtime.spawn(async move {
            let other = tokio::spawn(async move { done.send(()).unwrap() });
            // The only worker is here, and this ends after the other task only.
            run(|| has_run.recv().unwrap());
            other.await.unwrap();
            runs()
        });
        runtime.block_on(blocked).unwrap();
    }

    #[test]
    fn what_is_short_stays_where_it_is() {
        let before = runs();
        assert_eq!(run_many(FEW, || 7), 7);
        assert_eq!(runs(), before);
        assert_eq!(run_many(FEW + 1, || 8), 8);
        assert_eq!(runs(), before + 1);
    }

    #[test]
    fn it_works_without_workers() {
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { run(|| 7) }), 7);
    }
}
