//! Where changes wait for the commit thread, and who waits for them: one short mutex between
//! everybody and that thread.
//!
//! Changes gather in the open group; its number is the ticket that [`Pending::append`] hands out.
//! The commit thread cuts the group (from then on changes go into the next one) and, when it is on
//! disk, says so. Invariant: the cut happens while nobody holds an atomic batch, so what is
//! appended under one is in one group.

use super::merge::record_bytes;
use crate::blocking;
use crate::ids::Ticket;
use crate::store::change::{Change, Health, Waiter};
use crate::store::error::StoreError;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// How long changes that nobody waits for gather, so that what is consumed meanwhile needs no disk.
const GATHER: Duration = Duration::from_millis(50);

/// Bytes of records that end the gathering: a few rows of the largest size; more would only hold
/// memory.
const GATHER_BYTES: usize = 4 * 1024 * 1024;

/// Changes that end it too: a few milliseconds' work for the commit thread.
const GATHER_CHANGES: usize = 8 * 1024;

/// Changes that are not on disk yet from which on who brings many waits: ten milliseconds' work for
/// the commit thread.
const BEHIND_CHANGES: usize = 4096;

/// Bytes of records of which the same is true, where the file grows by them.
const BEHIND_BYTES: usize = 2 * 1024 * 1024;

/// How long after the last commit the store counts as idle.
const IDLE: Duration = Duration::from_secs(1);

/// How long the store rests between two portions of what is to be tidied.
const MOMENT: Duration = Duration::from_millis(10);

/// How often the disk is looked at again while it is full.
const RETRY: Duration = Duration::from_secs(1);

/// [`Health::Failed`] as it is kept.
const FAILED: u8 = 2;

/// Changes that wait for the commit thread, and the tickets that wait for them.
#[derive(Debug, Default)]
pub(in crate::store) struct Pending {
    open: Mutex<Open>,
    /// The commit thread waits here.
    wake: Condvar,
    /// Who has much to append waits here.
    announced: Condvar,
    /// Held by the one who waits until it may append much at once.
    large: Mutex<()>,
    /// Read by who holds an atomic batch.
    atomic_batches: RwLock<()>,
    /// The commit thread holds it while it waits for the atomic batches to end: who would begin one
    /// after the other waits here, or they would never all have ended.
    turnstile: Mutex<()>,
    /// The commit thread waits for the atomic batches to end.
    is_cutting: AtomicBool,
    /// The newest group that is on disk.
    durable: AtomicU64,
    /// The newest group that is in the tables.
    stored: AtomicU64,
    /// Bytes of records appended and neither on disk nor dropped.
    bytes: AtomicUsize,
    /// How many small changes those count for that were appended and are neither on disk nor
    /// dropped.
    changes: AtomicUsize,
    /// A [`Health`], as `set_health` writes it.
    health: AtomicU8,
    /// As [`Log::has_spare`](crate::store::change::Log::has_spare).
    spare: AtomicBool,
    /// Why it has failed.
    fault: Mutex<Option<StoreError>>,
}

/// What the commit thread does, so that nobody pays for waking it in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ThreadState {
    /// It commits, and will look by itself.
    #[default]
    Working,
    /// It will look by itself before long: only who waits for the disk wakes it.
    Gathering,
    /// It gives consumers a moment before it cuts.
    Lingering,
    /// It waits for changes without end: the first one has to wake it.
    Sleeping,
}

/// The open group and what is asked of the commit thread.
#[derive(Default)]
struct Open {
    /// How many groups were cut before this one.
    cut: u64,
    changes: Vec<Change>,
    /// How many small ones `changes` count for.
    weight: usize,
    /// Bytes of records in `changes`.
    bytes: usize,
    /// How many wait until less is pending.
    crowded: usize,
    /// Who wants to know of the open group.
    waiting: Vec<Arc<dyn Waiter>>,
    /// Who wants to know of groups that are cut and not yet on disk.
    watching: Vec<Arc<dyn Waiter>>,
    stop: Option<Stop>,
    /// Nothing will be written any more: changes are dropped.
    closed: bool,
    thread: ThreadState,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("cut", &self.cut).field("changes", &self.changes.len()).finish()
    }
}

impl Open {
    fn has_nothing(&self) -> bool {
        self.changes.is_empty() && !self.is_urgent()
    }

    /// Whether there is enough to write.
    fn is_much(&self) -> bool {
        self.bytes >= GATHER_BYTES || self.weight >= GATHER_CHANGES
    }

    /// Whether the group must be committed now.
    fn is_urgent(&self) -> bool {
        self.stop.is_some() || !self.waiting.is_empty() || self.crowded > 0 || self.is_much()
    }
}

/// How the commit thread is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Stop {
    /// Write what is pending and mark the stop as clean.
    Clean,
    /// Leave things as they are on disk.
    Abandon,
}

/// What the commit thread is to do next.
#[derive(Debug)]
pub(in crate::store) enum Next {
    /// Commit these changes; when there is a `Stop`, it is the last one.
    Commit(Cut),
    /// Nothing has happened for a while.
    Rest,
}

/// What was cut at a time: the changes of a group.
#[derive(Debug)]
pub(in crate::store) struct Cut {
    pub(in crate::store) number: Ticket,
    pub(in crate::store) changes: Vec<Change>,
    pub(in crate::store) stop: Option<Stop>,
}

/// How long the commit thread waits for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum WaitTimeout {
    /// There is nothing to do without.
    None,
    /// There may be a rest once the store is idle.
    Idle,
    /// There may be one after a moment: something is still to be tidied.
    Soon,
    /// Something could not be written: it is tried again in a while, and not before.
    Retry,
}

impl Pending {
    pub(in crate::store) fn append(&self, changes: &mut Vec<Change>) -> Ticket {
        let (bytes, weight) = changes
            .iter()
            .fold((0, 0), |(bytes, weight), change| (bytes + record_bytes(change), weight + change.weight()));
        let mut open = self.open();
        let ticket = Ticket(open.cut + 1);
        if open.closed {
            // A ticket that will never be durable.
            changes.clear();
            return ticket;
        }
        if changes.is_empty() {
            // Whatever the caller did before is in the open group, if that has anything in it.
            return if open.changes.is_empty() { Ticket(open.cut) } else { ticket };
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.changes.fetch_add(weight, Ordering::Relaxed);
        let was_much = open.is_much();
        open.changes.append(changes);
        open.weight += weight;
        open.bytes += bytes;
        let wake = match open.thread {
            ThreadState::Working => false,
            ThreadState::Gathering | ThreadState::Lingering => open.is_much() && !was_much,
            ThreadState::Sleeping => true,
        };
        drop(open);
        if wake {
            self.wake.notify_one();
        }
        ticket
    }

    pub(in crate::store) fn atomic_batch(&self) -> RwLockReadGuard<'_, ()> {
        if self.is_cutting.load(Ordering::Relaxed) {
            blocking::wait(|| drop(self.turnstile.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        self.atomic_batches.try_read().unwrap_or_else(|_taken| {
            blocking::wait(|| self.atomic_batches.read().unwrap_or_else(PoisonError::into_inner))
        })
    }

    /// Waits while much is pending, but for no more than what is pending now. Nobody may wait for
    /// the caller meanwhile: it holds no lock and no atomic batch.
    pub(in crate::store) fn wait_for_room(&self) {
        let mut open = self.open();
        let last = open.cut + 1;
        let is_behind = || self.changes() > BEHIND_CHANGES || self.bytes() > BEHIND_BYTES;
        if !is_behind() {
            return;
        }
        open.crowded += 1;
        if matches!(open.thread, ThreadState::Gathering | ThreadState::Sleeping) {
            self.wake.notify_one();
        }
        let waits = |open: &mut Open| {
            let goes_on = open.stop.is_none() && !open.closed && self.health() == Health::Good;
            goes_on && self.durable().0 < last && is_behind()
        };
        while waits(&mut open) {
            open = self.announced.wait_timeout(open, RETRY).unwrap_or_else(PoisonError::into_inner).0;
        }
        open.crowded -= 1;
    }

    /// As [`Self::wait_for_room`], for who appends so much at once that nothing of the kind should
    /// be in the same group: they go on one after the other, each when the one before is on disk,
    /// as a rule. Who goes on has not appended yet when the next one looks.
    pub(in crate::store) fn wait_for_turn(&self) {
        let _turn = blocking::wait(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        self.wait_for_room();
    }

    pub(in crate::store) fn durable(&self) -> Ticket {
        Ticket(self.durable.load(Ordering::Acquire))
    }

    pub(in crate::store) fn stored(&self) -> Ticket {
        Ticket(self.stored.load(Ordering::Acquire))
    }

    /// For the commit thread: everything up to and including `number` is in the tables.
    pub(in crate::store) fn set_stored(&self, number: Ticket) {
        self.stored.fetch_max(number.0, Ordering::Release);
    }

    pub(in crate::store) fn notify(&self, ticket: Ticket, waiter: &Arc<dyn Waiter>) {
        let mut open = self.open();
        let durable = self.durable();
        if ticket <= durable {
            drop(open);
            return waiter.durable(durable);
        }
        if open.closed {
            return;
        }
        if ticket.0 <= open.cut {
            return watch(&mut open.watching, waiter);
        }
        watch(&mut open.waiting, waiter);
        if matches!(open.thread, ThreadState::Gathering | ThreadState::Sleeping) {
            drop(open);
            self.wake.notify_one();
        }
    }

    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(in crate::store) fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// `bytes` of records are on disk or dropped.
    pub(in crate::store) fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(in crate::store) fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Good,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    pub(in crate::store) fn has_spare(&self) -> bool {
        self.spare.load(Ordering::Relaxed)
    }

    /// For the commit thread, beside [`Pending::set_health`].
    pub(in crate::store) fn set_spare(&self, spare: bool) {
        self.spare.store(spare, Ordering::Relaxed);
    }

    pub(in crate::store) fn set_health(&self, health: Health) {
        let code = match health {
            Health::Good => 0,
            Health::Full => 1,
            Health::Failed => FAILED,
        };
        // Whoever else has found out meanwhile that it has failed is right.
        let _kept = self
            .health
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |was| (was != FAILED).then_some(code));
    }

    /// Nothing is confirmed from now on, because of `fault`; the commit thread is told to end.
    pub(in crate::store) fn fail(&self, fault: StoreError) {
        let mut first = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if self.health() != Health::Failed {
            if matches!(fault, StoreError::NotLeading) {
                tracing::info!("{fault}: nothing more is confirmed here");
            } else {
                tracing::error!(error = %fault, "the store has failed: nothing is confirmed any more");
            }
            // What was found out first explains the rest.
            *first = Some(fault);
        }
        self.set_health(Health::Failed);
        drop(first);
        self.close();
        self.stop(Stop::Abandon);
    }

    /// It has failed because of `fault`; what is told to who came upon that.
    pub(in crate::store) fn give_up(&self, fault: StoreError) -> StoreError {
        self.fail(fault);
        StoreError::Stopped
    }

    /// Why it has failed, if it has; told once.
    pub(in crate::store) fn take_fault(&self) -> Option<StoreError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has the commit thread stop.
    pub(in crate::store) fn stop(&self, stop: Stop) {
        self.open().stop.get_or_insert(stop);
        self.wake.notify_one();
    }

    /// For the commit thread: waits for something to do, and cuts the open group, at the earliest
    /// `moment` after somebody has come to wait for it.
    pub(in crate::store) fn next(&self, timeout: WaitTimeout, moment: Duration) -> Next {
        let mut open = self.open();
        if timeout == WaitTimeout::Retry {
            open = self.wait(open, ThreadState::Lingering, Some(RETRY), |open| open.stop.is_none());
        } else {
            open = self.wait(open, ThreadState::Gathering, Some(GATHER), |open| !open.is_urgent());
            if open.has_nothing() {
                let most = match timeout {
                    WaitTimeout::Idle => Some(IDLE),
                    WaitTimeout::Soon => Some(MOMENT),
                    WaitTimeout::None | WaitTimeout::Retry => None,
                };
                open = self.wait(open, ThreadState::Sleeping, most, |open| open.has_nothing());
                if open.has_nothing() {
                    open.thread = ThreadState::Working;
                    return Next::Rest;
                }
                open = self.wait(open, ThreadState::Gathering, Some(GATHER), |open| !open.is_urgent());
            }
            if !moment.is_zero() {
                let unhurried = |open: &Open| open.stop.is_none() && !open.is_much();
                open = self.wait(open, ThreadState::Lingering, Some(moment), unhurried);
            }
        }
        open.thread = ThreadState::Working;
        drop(open);
        Next::Commit(self.cut())
    }

    /// Waits while `reason` holds, `most` at the most.
    fn wait<'a>(
        &self,
        mut open: MutexGuard<'a, Open>,
        state: ThreadState,
        most: Option<Duration>,
        reason: impl Fn(&Open) -> bool,
    ) -> MutexGuard<'a, Open> {
        open.thread = state;
        let reason = |open: &mut Open| reason(open);
        match most {
            None => self.wake.wait_while(open, reason).unwrap_or_else(PoisonError::into_inner),
            Some(most) => {
                self.wake.wait_timeout_while(open, most, reason).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn cut(&self) -> Cut {
        // Taken first and for an instant: whoever holds it has not appended all that belongs
        // together.
        let turnstile = self.turnstile.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_cutting.store(true, Ordering::Relaxed);
        let none_held = self.atomic_batches.write().unwrap_or_else(PoisonError::into_inner);
        self.is_cutting.store(false, Ordering::Relaxed);
        drop(turnstile);
        let mut open = self.open();
        let cut =
            Cut { number: Ticket(open.cut + 1), changes: mem::take(&mut open.changes), stop: open.stop };
        open.cut += 1;
        (open.weight, open.bytes) = (0, 0);
        let mut waiting = mem::take(&mut open.waiting);
        open.watching.append(&mut waiting);
        drop(open);
        drop(none_held);
        cut
    }

    /// For the commit thread: everything up to and including `number` is on disk. Tells who waits.
    pub(in crate::store) fn announce(&self, number: Ticket) {
        let mut open = self.open();
        if open.closed {
            // It has failed meanwhile.
            return;
        }
        self.durable.store(number.0, Ordering::Release);
        // All that was cut is on disk.
        self.changes.store(open.weight, Ordering::Relaxed);
        self.announced.notify_all();
        let mut watching = mem::take(&mut open.watching);
        drop(open);
        watching.sort_unstable_by_key(address);
        watching.dedup_by_key(|waiter| address(waiter));
        for waiter in watching {
            waiter.durable(number);
        }
    }

    /// For the commit thread: nothing more will be written. Waiters are let go unanswered.
    pub(in crate::store) fn close(&self) {
        let mut open = self.open();
        open.closed = true;
        self.announced.notify_all();
        open.waiting.clear();
        open.watching.clear();
        open.changes.clear();
        open.weight = 0;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a waiter, unless it was the last one to come; those that came before are found on telling.
fn watch(list: &mut Vec<Arc<dyn Waiter>>, waiter: &Arc<dyn Waiter>) {
    if list.last().is_none_or(|last| address(last) != address(waiter)) {
        list.push(Arc::clone(waiter));
    }
}

/// What tells waiters apart. Not `Arc::ptr_eq`, which also compares the tables of functions.
fn address(waiter: &Arc<dyn Waiter>) -> usize {
    Arc::as_ptr(waiter).cast::<()>().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{QueueId, SeqRange};
    use std::thread;

    #[derive(Default)]
    struct Told(Mutex<Vec<Ticket>>);

    impl Waiter for Told {
        fn durable(&self, up_to: Ticket) {
            self.0.lock().unwrap().push(up_to);
        }
    }

    fn append(pending: &Pending) -> Ticket {
        pending.append(&mut vec![Change::Settle { queue: QueueId(1), range: SeqRange::of(0, 1) }])
    }

    /// More than may be pending before others wait.
    fn append_many(pending: &Pending) -> Ticket {
        let one = || Change::Settle { queue: QueueId(1), range: SeqRange::of(0, 1) };
        let mut changes = Vec::new();
        changes.resize_with(BEHIND_CHANGES + 1, one);
        pending.append(&mut changes)
    }

    fn cut(pending: &Pending) -> Cut {
        match pending.next(WaitTimeout::None, Duration::ZERO) {
            Next::Commit(group) => group,
            Next::Rest => panic!("there is something to do"),
        }
    }

    #[test]
    fn what_is_appended_under_one_gate_is_one_group() {
        let pending = Pending::default();
        let waiter: Arc<dyn Waiter> = Arc::new(Told::default());
        thread::scope(|scope| {
            let atomic_batch = pending.atomic_batch();
            let first = append(&pending);
            pending.notify(first, &waiter);
            let group = scope.spawn(|| cut(&pending));
            // The other thread has every chance to cut too early.
            (0..1000).for_each(|_| thread::yield_now());
            let second = append(&pending);
            drop(atomic_batch);
            let group = group.join().unwrap();
            assert_eq!((first, second, group.number, group.changes.len()), (first, first, first, 2));
        });
    }

    #[test]
    fn who_has_much_to_append_waits_for_what_is_pending_and_for_no_more() {
        let pending = Pending::default();
        pending.wait_for_room();
        let first = append_many(&pending);
        thread::scope(|scope| {
            let waits = scope.spawn(|| pending.wait_for_room());
            // Somebody waits: the group is cut without gathering.
            let group = cut(&pending);
            assert_eq!((group.number, waits.is_finished()), (first, false));
            // Others bring as much meanwhile.
            append_many(&pending);
            pending.announce(first);
            waits.join().unwrap();
        });
        thread::scope(|scope| {
            let waits = scope.spawn(|| pending.wait_for_room());
            pending.fail(StoreError::Stopped);
            waits.join().unwrap();
        });
    }

    #[test]
    fn of_those_who_append_much_at_once_one_waits_for_the_other() {
        let pending = Pending::default();
        thread::scope(|scope| {
            let turn = pending.large.lock().unwrap();
            let waits = scope.spawn(|| pending.wait_for_turn());
            // The other thread has every chance to go on too early.
            (0..1000).for_each(|_| thread::yield_now());
            assert!(!waits.is_finished());
            drop(turn);
            waits.join().unwrap();
        });
        let first = append_many(&pending);
        thread::scope(|scope| {
            let waits = scope.spawn(|| pending.wait_for_turn());
            assert_eq!((cut(&pending).number, waits.is_finished()), (first, false));
            pending.announce(first);
            waits.join().unwrap();
        });
    }

    #[test]
    fn what_is_large_counts_for_many_small_changes() {
        let pending = Pending::default();
        let value = Some("x".repeat(16 * 1024));
        pending.append(&mut vec![Change::Parameter { name: "a".to_owned(), value }]);
        assert_eq!(pending.changes(), 65);
        let first = cut(&pending).number;
        append(&pending);
        pending.announce(first);
        assert_eq!(pending.changes(), 1, "what was appended since");
    }

    #[test]
    fn who_begins_one_batch_after_the_other_lets_the_commit_thread_in() {
        let pending = Pending::default();
        let waiter: Arc<dyn Waiter> = Arc::new(Told::default());
        for _round in 0..100 {
            thread::scope(|scope| {
                let batch = pending.atomic_batch();
                let first = append(&pending);
                pending.notify(first, &waiter);
                let group = scope.spawn(|| cut(&pending));
                while !pending.is_cutting.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                drop(batch);
                let _again = pending.atomic_batch();
                assert_eq!(append(&pending), Ticket(first.0 + 1));
                assert_eq!(group.join().unwrap().number, first);
            });
        }
    }

    /// The thread sleeps without end, gathers, or is on its way there: whenever a change comes, it
    /// is found.
    #[test]
    fn a_change_is_found_whatever_the_thread_is_about() {
        let pending = Pending::default();
        let waiter: Arc<dyn Waiter> = Arc::new(Told::default());
        for round in 0..40 {
            thread::scope(|scope| {
                let group = scope.spawn(|| cut(&pending));
                let asleep = || pending.open().thread == ThreadState::Sleeping;
                while round % 3 == 0 && !asleep() {
                    thread::yield_now();
                }
                let ticket = append(&pending);
                if round % 2 == 0 {
                    pending.notify(ticket, &waiter);
                }
                assert_eq!(group.join().unwrap().number, ticket);
            });
        }
    }

    #[test]
    fn each_waiter_is_told_once_and_of_what_it_waits_for() {
        let pending = Pending::default();
        let told: [Arc<Told>; 2] = Default::default();
        let waiters = told.clone().map(|told| -> Arc<dyn Waiter> { told });
        let first = append(&pending);
        for index in [0, 1, 0, 1, 1] {
            pending.notify(first, &waiters[index]);
        }
        assert_eq!(cut(&pending).number, first);
        let second = append(&pending);
        pending.notify(first, &waiters[0]);
        pending.notify(second, &waiters[1]);
        let heard = || told.each_ref().map(|told| told.0.lock().unwrap().clone());
        assert_eq!(heard(), [[], []]);
        pending.announce(first);
        assert_eq!(heard(), [vec![first], vec![first]]);
        pending.notify(first, &waiters[0]);
        assert_eq!(heard(), [vec![first, first], vec![first]], "told at once");
        assert_eq!(cut(&pending).number, second);
        pending.announce(second);
        assert_eq!(heard(), [vec![first, first], vec![first, second]]);
        assert_eq!(pending.append(&mut Vec::new()), second, "nothing new to wait for");
    }

    #[test]
    fn after_a_failure_nothing_is_announced_and_nothing_is_well_again() {
        let pending = Pending::default();
        let told = Arc::new(Told::default());
        let waiter: Arc<dyn Waiter> = Arc::<Told>::clone(&told);
        let ticket = append(&pending);
        pending.notify(ticket, &waiter);
        assert_eq!(cut(&pending).number, ticket);
        pending.fail(StoreError::Stopped);
        pending.announce(ticket);
        pending.set_health(Health::Good);
        assert!(told.0.lock().unwrap().is_empty() && pending.durable() < ticket);
        assert_eq!(pending.health(), Health::Failed);
        assert_eq!(cut(&pending).stop, Some(Stop::Abandon));
    }

    #[test]
    fn a_closed_log_takes_nothing_and_tells_nobody() {
        let pending = Pending::default();
        let told = Arc::new(Told::default());
        let waiter: Arc<dyn Waiter> = Arc::<Told>::clone(&told);
        let before = append(&pending);
        pending.notify(before, &waiter);
        pending.close();
        let after = append(&pending);
        pending.notify(after, &waiter);
        assert_eq!((pending.bytes(), Arc::strong_count(&told)), (0, 2), "the waiter is let go");
        assert!(told.0.lock().unwrap().is_empty());
    }
}
