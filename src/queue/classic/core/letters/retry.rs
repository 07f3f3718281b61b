//! When what is parked is tried again, and how much of it.
//!
//! All of it, when a route may have appeared and every few seconds: it stands in line again, before
//! everything else. When there is room in a queue that refused, only what is in front, so that it
//! costs the same however much waits: the first of those that are parked are tried as long as they
//! go. What is behind them for a queue that has room is found by a try of all.
//!
//! What waits for a queue or a route is not overtaken by what comes after it: until all are tried
//! again it is known which queues refused any, and where there was no route (`waiting`). It is not
//! known of those that were parked before the broker started, or under settings that do not retry:
//! they are tried before anything else is sent.

use super::waiting::Waiting;
use super::{Batch, Entry, Letters, Outcome, park};
use crate::arguments::Settings;
use crate::clock::Now;
use crate::ids::QueueId;
use std::collections::VecDeque;

/// How often all that is parked is tried again where the settings say so.
const RETRY_MS: u64 = 3000;

/// So many parked messages put off the next try of all by a millisecond: trying takes no more than
/// a tenth of the time.
const RETRIED_PER_MS: u64 = 30;

/// A route that appears is looked at no sooner after the last try.
const HASTE_MS: u64 = 100;

/// Room is looked at no sooner after the last try. Trying those in front takes a tenth of it.
const FRONT_HASTE_MS: u64 = 10;

/// What is known of the tries of what is parked.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Where letters were to go that are parked.
    waiting: Waiting,
    /// The same of those in front that are being tried, or were last.
    front_waiting: Waiting,
    /// Some are parked of which it is not known where they are to go.
    is_unknown: bool,
    /// Those in front are being tried.
    tries_front: bool,
    /// When any were last tried.
    tried_ms: u64,
    /// When all were last tried.
    all_tried_ms: u64,
    /// When all are to be tried again.
    all_at_ms: Option<u64>,
    /// When those in front are to be tried again.
    front_at_ms: Option<u64>,
    /// Who has said that there is room, since those in front were last tried.
    room_in: Vec<QueueId>,
    /// The vhost is to say when a route may have appeared.
    listens: bool,
}

impl Retry {
    /// Some are parked of which it is not known where they are to go.
    pub(super) fn doubt(&mut self) {
        self.is_unknown = true;
    }

    /// All are to be tried by then.
    fn all_by(&mut self, at_ms: u64) {
        self.all_at_ms = Some(self.all_at_ms.map_or(at_ms, |before_ms| before_ms.min(at_ms)));
    }
}

/// Adds to a set.
fn add(set: &mut Vec<QueueId>, queue: QueueId) {
    if !set.contains(&queue) {
        set.push(queue);
    }
}

impl Letters {
    /// From where the next batch is taken.
    pub(super) fn source(&self) -> &VecDeque<Entry> {
        if self.tries_front() { &self.parked } else { &self.line }
    }

    /// Whether the next batch is of those parked in front.
    fn tries_front(&self) -> bool {
        self.retry.tries_front && !self.parked.is_empty()
    }

    /// The next batch is about to be taken: whether from those parked in front, and whom its
    /// letters wait behind.
    pub(super) fn next_try(&mut self, settings: &Settings) -> (bool, Waiting) {
        if !settings.retries() {
            self.retry.tries_front = false;
            return (false, Waiting::default());
        }
        if self.tries_front() {
            return (true, self.retry.front_waiting.clone());
        }
        if self.parked.is_empty() {
            self.retry.waiting = Waiting::default();
        }
        (false, self.retry.waiting.clone())
    }

    /// What became of a batch has been taken in.
    pub(super) fn note_tried(&mut self, batch: Batch) {
        let Batch { settings, parts, waiting, of_front, .. } = batch;
        let retry = &mut self.retry;
        retry.waiting.add(&waiting);
        if !settings.retries() {
            retry.is_unknown = true;
        }
        if !of_front {
            return;
        }
        let is_stuck = |(_, outcome): &(u32, Outcome)| matches!(outcome, Outcome::Stuck(_));
        if self.parked.is_empty() || parts.iter().any(|part| part.outcomes.iter().any(is_stuck)) {
            retry.tries_front = false;
            let room_in = std::mem::take(&mut retry.room_in);
            // What waits for these stands farther behind, if anywhere.
            if room_in.iter().any(|&queue| !waiting.is_refused(queue)) {
                retry.all_by(retry.all_tried_ms.saturating_add(HASTE_MS + self.held / RETRIED_PER_MS));
            }
        }
        retry.front_waiting = waiting;
    }

    /// All that is parked is to be sent, before everything else.
    fn retry_all(&mut self, now_unix_ms: u64) {
        self.retry = Retry {
            tried_ms: now_unix_ms,
            all_tried_ms: now_unix_ms,
            listens: self.retry.listens,
            ..Retry::default()
        };
        self.parked.append(&mut self.line);
        std::mem::swap(&mut self.parked, &mut self.line);
    }

    /// What is tried again and has not been sent is parked as before: somebody moves or drops it.
    pub(super) fn stop_retry(&mut self) {
        if self.line.iter().any(|entry| entry.cause.is_some()) {
            let (tried, new): (VecDeque<Entry>, _) =
                self.line.drain(..).partition(|entry| entry.cause.is_some());
            self.line = new;
            tried.into_iter().for_each(|entry| park(&mut self.parked, entry));
            self.retry.all_at_ms.get_or_insert(self.retry.tried_ms.saturating_add(RETRY_MS));
        }
    }

    /// Whether a try of all has not come to its end.
    fn tries_all(&self) -> bool {
        self.line.front().is_some_and(|entry| entry.cause.is_some())
    }

    /// When all are to be tried again: at once, if it is not known what they wait for. One try
    /// comes to its end before the next.
    fn all_due(&self) -> Option<u64> {
        let is_unknown = self.retry.is_unknown;
        let at_ms = self.retry.all_at_ms.filter(|_| !is_unknown).unwrap_or_default();
        (is_unknown || !self.tries_all()).then_some(at_ms)
    }

    fn front_due(&self) -> Option<u64> {
        self.retry.front_at_ms.filter(|_| !self.retry.tries_front)
    }
}

impl Letters {
    /// What is parked is to be tried again: says when, unless that is known. Whether the vhost is
    /// to be asked to tell of routes that appear.
    pub(in crate::queue::classic) fn listen(&mut self, now: Now) -> bool {
        if self.parked.is_empty() {
            if !self.tries_all() {
                (self.retry.all_at_ms, self.retry.front_at_ms) = (None, None);
            }
            return false;
        }
        let wait_ms = RETRY_MS + self.held / RETRIED_PER_MS;
        self.retry.all_at_ms.get_or_insert(now.unix_ms.saturating_add(wait_ms));
        !std::mem::replace(&mut self.retry.listens, true)
    }

    /// There is room in that queue, or a route may have appeared: whether there is something to try
    /// again, soon, or may be once it is known what became of a batch.
    pub(in crate::queue::classic) fn retry_soon(&mut self, room_in: Option<QueueId>) -> bool {
        let waits = !self.parked.is_empty() || self.batch_is_out || self.tries_all();
        let retry = &mut self.retry;
        retry.listens &= room_in.is_some();
        match room_in {
            Some(queue) if waits => {
                add(&mut retry.room_in, queue);
                retry.front_at_ms.get_or_insert(retry.tried_ms.saturating_add(FRONT_HASTE_MS));
            }
            None if waits => retry.all_by(retry.tried_ms.saturating_add(HASTE_MS)),
            Some(_) | None => {}
        }
        waits
    }

    /// What is parked is to be sent again, if it is time and it overtakes nothing.
    pub(in crate::queue::classic) fn retry_if_due(&mut self, now: Now) {
        if self.batch_is_out || self.parked.is_empty() {
            return;
        }
        let is_due = |at: Option<u64>| at.is_some_and(|at_ms| at_ms <= now.unix_ms);
        if is_due(self.all_due()) {
            self.retry_all(now.unix_ms);
        } else if is_due(self.front_due()) {
            self.retry.tries_front = true;
            self.retry.front_waiting = Waiting::default();
            (self.retry.tried_ms, self.retry.front_at_ms) = (now.unix_ms, None);
        }
    }

    /// When what is parked is to be tried again. While others are being sent, that is asked again
    /// after it.
    pub(in crate::queue::classic) fn retry_at(&self) -> Option<u64> {
        if self.batch_is_out || self.parked.is_empty() {
            return None;
        }
        self.all_due().into_iter().chain(self.front_due()).min()
    }
}
