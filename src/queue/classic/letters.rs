//! What becomes of the messages that have died in a queue: the broker sends them, operators see and
//! move what is parked, and what is parked is tried again as the settings say. A stream has none.

use super::Classic;
use super::core::expiry::NextExpiry;
use super::core::letters::parked::ParkedRun;
use super::core::letters::{Batch, LetterTally, Letters, ParkedMax};
use crate::blocking;
use crate::clock::Now;
use crate::ids::{QueueId, SeqRange, Ticket};
use crate::queue::{Effects, Queue};
use crate::store::change::Page;
use std::sync::{MutexGuard, PoisonError, Weak};

/// Entries of parked messages that are dropped in one go at most: so long the queue's lock is held.
const DROPPED_MAX: usize = 1024;

impl Queue {
    /// Who sends holds this; taken after an atomic batch of the log and before any queue.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        let waited = |_taken| blocking::wait(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        self.turn.try_lock().unwrap_or_else(waited)
    }

    /// Takes the next letters out of the line. They stay in the queue until
    /// [`Queue::letters_sent`].
    pub(crate) fn next_letters(&self) -> Option<Batch> {
        let routes = self.home().stranded.changes();
        self.of_classic(|classic| classic.core.next_letters(&classic.settings, routes))
    }

    /// Whether letters stand in line.
    pub(crate) fn has_letters(&self) -> bool {
        self.of_letters(|letters| letters.is_due())
    }

    /// The letters in front, if they have to be read first.
    pub(crate) fn unread_letters(&self) -> Option<SeqRange> {
        self.of_classic(|classic| classic.core.unread_letters())
    }

    /// Takes in pages of the letters in front.
    pub(crate) fn read_letters(&self, wanted: SeqRange, pages: &[Page]) {
        let lost = self.of_classic(|classic| classic.core.read_letters(wanted, pages)).unwrap_or_default();
        if lost > 0 {
            tracing::error!(queue = %self.name, lost, "dead letters are missing from the store or damaged: they are not sent");
        }
    }

    /// Somebody else is going to send what stands in line; whether nobody was before.
    pub(crate) fn claim_letters(&self) -> bool {
        self.of_letters(Letters::claim)
    }

    /// What became of a batch: those that are elsewhere leave the queue, and the others are parked
    /// as far as they may be.
    pub(crate) fn letters_sent(&self, batch: Batch, most: ParkedMax, now: Now) -> (Effects, LetterTally) {
        self.of_classic(|classic| classic.letters_sent(self, batch, most, now))
    }

    /// There is room in that queue, or a route may have appeared: what is parked is tried again.
    pub(crate) fn retry_soon(&self, room_in: Option<QueueId>) {
        self.of_classic(|classic| classic.retry_soon(self, room_in));
    }

    /// What stands in line is dead on disk, too.
    pub(crate) fn keep_letters(&self) -> Ticket {
        self.of_classic(|classic| {
            if !self.is_durable() || classic.deleted {
                return Ticket(0);
            }
            classic.core.mark_letters();
            classic.flush(self)
        })
    }

    /// The parked messages after the first `skipped`.
    pub(crate) fn parked_run(&self, skipped: u64) -> Option<ParkedRun> {
        self.of_classic(|classic| classic.core.parked_run(skipped))
    }

    /// The first parked messages, if they are on disk and no page of them was shown.
    pub(crate) fn unread_parked(&self) -> Option<SeqRange> {
        self.of_classic(|classic| classic.core.unread_parked())
    }

    /// Takes in pages for [`Queue::next_parked`].
    pub(crate) fn show_parked(&self, pages: Vec<Page>) {
        self.of_letters(|letters| letters.show_parked(pages));
    }

    /// Takes out the first parked messages,
    /// `most` at most, which stay in the queue until [`Queue::letters_sent`]. None if there are
    /// none, or they have to be read first.
    pub(crate) fn next_parked(&self, most: u64) -> Option<Batch> {
        let routes = self.home().stranded.changes();
        self.of_classic(|classic| classic.core.next_parked(&classic.settings, (most, routes)))
    }

    /// Drops parked messages, some at a time: how many, and when that is durable. None once there
    /// are no more.
    pub(crate) fn drop_parked(&self, now: Now) -> Option<(u64, Effects)> {
        self.of_classic(|classic| {
            let dropped = classic.core.drop_parked(DROPPED_MAX)?;
            classic.used_at_ms = now.unix_ms;
            (dropped > 0).then(|| (dropped, classic.finish(self, now)))
        })
    }

    /// What `ask` finds in the letters of a queue; the default if there never was one.
    fn of_letters<T: Default>(&self, ask: impl FnOnce(&mut Letters) -> T) -> T {
        self.of_classic(|classic| classic.core.letters.as_deref_mut().map(ask).unwrap_or_default())
    }
}

impl Classic {
    fn letters_sent(
        &mut self,
        queue: &Queue,
        batch: Batch,
        most: ParkedMax,
        now: Now,
    ) -> (Effects, LetterTally) {
        if self.deleted {
            return (Effects::default(), LetterTally::default());
        }
        let routes = batch.routes;
        let tally = self.core.settle_letters(&self.settings, batch, most);
        if let Some(letters) = self.core.letters.as_deref_mut() {
            letters.tell(queue, tally, now);
            let listens = self.settings.retries() && letters.listen(now);
            if listens && !queue.home().stranded.add(Weak::clone(&queue.this), routes) {
                // While the batch was on its way.
                letters.retry_soon(None);
            }
        }
        (self.finish(queue, now), tally)
    }

    fn retry_soon(&mut self, queue: &Queue, room_in: Option<QueueId>) {
        let letters = self.core.letters.as_deref_mut().filter(|_| !self.deleted);
        if letters.is_some_and(|letters| letters.retry_soon(room_in)) {
            self.arm(queue, NextExpiry::default());
        }
    }

    /// Tries again what is parked, if it is time.
    pub(super) fn retry_letters(&mut self, now: Now) {
        if self.settings.retries()
            && let Some(letters) = self.core.letters.as_deref_mut()
        {
            letters.retry_if_due(now);
        }
    }

    /// Logs what was parked, if it is time.
    pub(super) fn tell_of_letters(&mut self, queue: &Queue, now: Now) {
        if let Some(letters) = self.core.letters.as_deref_mut() {
            letters.tell(queue, LetterTally::default(), now);
        }
    }

    /// When what is parked is to be tried again, or to be logged.
    pub(super) fn letters_due(&self) -> Option<u64> {
        let letters = self.core.letters.as_deref()?;
        let retry = letters.retry_at().filter(|_| self.settings.retries());
        retry.into_iter().chain(letters.tell_at()).min()
    }
}
