//! Messages looked at and taken out by their numbers, whatever else happens to a queue.

use super::*;
use crate::arguments::{Requeue, Retry};
use crate::draw::for_seeds;
use crate::queue::browse::{LookedRun, MessageState, Named, NotTaken};

/// A queue, and the numbers of what was fetched from it and is not settled.
struct Looked {
    bench: Bench,
    now: Now,
    held: Vec<u64>,
}

impl Looked {
    fn new(settings: Settings) -> Self {
        Self { bench: Bench::new(settings), now: NOW, held: Vec::new() }
    }

    /// What has died finds no way out.
    fn park(&self, effects: Effects) {
        self.bench.letters_with(effects, self.now, PLENTY, |_| Outcome::Stuck(Cause::NoRoute));
    }

    fn settled(&mut self, draw: &mut Draw) -> Option<[Settled; 1]> {
        if self.held.is_empty() {
            return None;
        }
        let seq = self.held.swap_remove(draw.index(self.held.len()));
        Some([Settled { consumer: None, range: SeqRange::of(seq, 1) }])
    }

    /// One thing that happens in the life of a queue.
    fn step(&mut self, draw: &mut Draw) {
        let (now, queue) = (self.now, Arc::clone(&self.bench.queue));
        match draw.below(9) {
            0 | 1 => self.park(self.bench.publish(&["a", "b", "c"], true)),
            2..=4 => {
                let (got, effects) = queue.get(false, &self.bench.mailbox, now);
                if let Got::Message { first, .. } = got {
                    self.held.push(first);
                }
                self.park(effects);
            }
            5 => self.settled(draw).into_iter().for_each(|held| self.park(queue.settle(&held, now))),
            6 => self.settled(draw).into_iter().for_each(|held| self.park(queue.reject(&held, now))),
            7 => self
                .settled(draw)
                .into_iter()
                .for_each(|held| self.park(queue.put_back(&held, Requeue::Failed, now))),
            _ => {
                self.now.unix_ms += draw.below(100);
                self.park(queue.tick(self.now));
            }
        }
    }

    /// All there is, from either end.
    fn all(&self, back: bool) -> Vec<(u64, MessageState)> {
        let (mut at, mut all) = (if back { u64::MAX } else { 0 }, Vec::new());
        while let Some(look) = self.bench.queue.look(at, back) {
            let numbers = |run: &LookedRun| {
                let state = run.state;
                (run.range.first..run.range.end).map(move |seq| (seq, state))
            };
            let mut found: Vec<_> = look.runs.iter().flat_map(numbers).collect();
            if back {
                found.reverse();
            }
            assert!(!found.is_empty(), "a window has something in it");
            all.append(&mut found);
            at = if back { look.window.first } else { look.window.end };
        }
        all
    }

    /// Looking finds what the queue counts.
    fn check(&self) -> Vec<(u64, MessageState)> {
        let all = self.all(false);
        let mut from_the_end = self.all(true);
        from_the_end.reverse();
        assert_eq!(all, from_the_end);
        assert!(all.is_sorted_by(|(one, _), (next, _)| one < next));
        let count =
            |is_it: fn(&MessageState) -> bool| all.iter().filter(|(_, state)| is_it(state)).count() as u64;
        let stats = self.bench.queue.stats();
        assert_eq!(count(|state| *state == MessageState::Ready), stats.ready);
        assert_eq!(count(|state| *state == MessageState::Unacknowledged), stats.unacked);
        assert_eq!(count(|state| matches!(state, MessageState::Dead { .. })), stats.parked);
        let waiting = self.bench.queue.purgeable() - stats.ready;
        assert_eq!(count(|state| matches!(state, MessageState::Delayed { .. })), waiting);
        let in_time = self.bench.queue.delayed_from((0, 0), usize::MAX);
        assert_eq!(in_time.len() as u64, waiting);
        assert!(in_time.is_sorted());
        let held: Vec<u64> = all
            .iter()
            .filter(|(_, state)| *state == MessageState::Unacknowledged)
            .map(|(seq, _)| *seq)
            .collect();
        let mut known = self.held.clone();
        known.sort_unstable();
        assert_eq!(held, known, "it is known what was fetched");
        all
    }
}

fn named(seq: u64) -> Named {
    let bytes = message(b"a", true).record_len() as u64;
    Named { seq, bytes, own_due_ms: 0 }
}

/// Every way in which a message can stand.
fn varied() -> Settings {
    let retry = Retry::Steps { delays_ms: [50, 200].into(), jitter: 0 };
    Settings { retry, delivery_limit: Some(2), dead_letter_exchange: Some("dlx".into()), ..durable() }
}

#[test]
fn looking_finds_what_the_queue_counts() {
    for_seeds(|draw| {
        let mut looked = Looked::new(varied());
        for _step in 0..400 {
            looked.step(draw);
            looked.check();
        }
    });
}

#[test]
fn what_is_taken_out_and_put_back_stands_where_it_stood() {
    for_seeds(|draw| {
        let mut looked = Looked::new(varied());
        for _step in 0..300 {
            looked.step(draw);
            let before = looked.check();
            let Some(&(seq, state)) = before.get(draw.index(before.len().max(1))) else { continue };
            let queue = &looked.bench.queue;
            match queue.withdraw(&[named(seq)]).pop().unwrap() {
                Err(why) => {
                    assert_eq!((why, state), (NotTaken::Unacknowledged, MessageState::Unacknowledged))
                }
                Ok(withdrawn) => looked.park(queue.return_withdrawn(&[], &[withdrawn], looked.now)),
            }
            assert_eq!(looked.check(), before);
        }
    });
}

#[test]
fn what_is_deleted_is_gone_from_the_queue_and_the_disk() {
    for_seeds(|draw| {
        let mut looked = Looked::new(varied());
        for _step in 0..300 {
            looked.step(draw);
            let before = looked.check();
            let Some(&(seq, _)) = before.get(draw.index(before.len().max(1))) else { continue };
            if draw.one_in(2) {
                continue;
            }
            let queue = &looked.bench.queue;
            let Ok(withdrawn) = queue.withdraw(&[named(seq)]).pop().unwrap() else { continue };
            looked.park(queue.return_withdrawn(&[withdrawn], &[], looked.now));
            let left: Vec<_> = before.into_iter().filter(|(other, _)| *other != seq).collect();
            assert_eq!(looked.check(), left);
            assert!(!looked.bench.disk.kept().rows.contains_key(&seq));
            assert_eq!(queue.withdraw(&[named(seq)]).pop().unwrap().unwrap_err(), NotTaken::Gone);
        }
    });
}

#[test]
fn a_message_from_the_middle_leaves_the_order_of_the_others() {
    let bench = Bench::new(durable());
    let _ = bench.publish(&["a", "b", "c", "d"], true);
    let withdrawn = bench.queue.withdraw(&[named(2)]).pop().unwrap().unwrap();
    let _ = bench.queue.return_withdrawn(&[withdrawn], &[], NOW);
    bench.subscribe(bench.consumer(1, 0));
    assert_eq!(bench.dealt(), ["1:a", "1:b", "1:d"], "and none may have been delivered before");
}

#[test]
fn a_delayed_message_is_ready_when_it_is_brought_forward() {
    let bench = Bench::new(varied());
    let _ = bench.publish(&["a", "b"], true);
    bench.subscribe(bench.consumer(1, 1));
    let _ = bench.queue.put_back(&held(1, 0, 1), Requeue::Failed, NOW);
    assert_eq!(bench.dealt(), ["1:a", "1:b"]);
    assert_eq!(bench.queue.bring_forward(named(1), NOW).unwrap_err(), NotTaken::Unacknowledged);
    let effects = bench.queue.bring_forward(named(0), NOW).unwrap().unwrap();
    assert!(effects.ticket > Ticket(0));
    let told = bench.disk.kept();
    let last = told.told.last().unwrap();
    assert!(matches!(last, Change::Requeue { seq: 0, deliveries: 1, due_ms: 0, .. }), "{last:?}");
    drop(told);
    assert_eq!(bench.queue.bring_forward(named(0), NOW).unwrap_err(), NotTaken::Ready);
    let _ = bench.queue.settle(&held(1, 1, 1), NOW);
    assert_eq!(bench.dealt(), ["1:a!"]);
}

#[test]
fn a_window_is_bounded_however_much_there_is() {
    let bench = Bench::new(durable());
    let bodies = ["a"; 3000];
    for _block in 0..3 {
        let _ = bench.publish(&bodies, true);
    }
    let look = bench.queue.look(1, false).unwrap();
    assert_eq!((look.window, look.runs.len()), (SeqRange { first: 1, end: 4097 }, 2));
    let look = bench.queue.look(u64::MAX, true).unwrap();
    assert_eq!(look.window, SeqRange { first: 9000 - 4096, end: 9000 });
    assert!(bench.queue.look(9000, false).is_none() && bench.queue.look(0, true).is_none());
}
