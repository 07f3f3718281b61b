//! One queue against a naive one: priorities, time to live, expirations, retry delays and a length
//! limit together, with little memory, by a clock that jumps.

use super::*;
use crate::arguments::{Priorities, Retry};
use crate::message::properties::{self, Properties};

/// Retry delays, milliseconds.
const DELAYS: [u64; 2] = [30, 80];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ready,
    Out,
    /// Until then.
    Waiting(u64),
}

#[derive(Debug, Clone)]
struct Known {
    id: u64,
    lane: u8,
    deadline: Option<u64>,
    deliveries: u32,
    stage: Stage,
    /// Its number in the queue, once it was delivered.
    seq: u64,
}

/// The naive queue: all its messages, in no order.
struct Naive {
    messages: Vec<Known>,
    settings: Settings,
    dead: Vec<(DeathReason, u64)>,
}

impl Naive {
    fn head(&self) -> Option<usize> {
        let ready = self.messages.iter().enumerate().filter(|(_, known)| known.stage == Stage::Ready);
        ready.min_by_key(|(_, known)| (known.lane, known.id)).map(|(index, _)| index)
    }

    fn die(&mut self, index: usize, reason: DeathReason) {
        let known = self.messages.remove(index);
        self.dead.push((reason, known.id));
    }

    fn trim(&mut self) {
        let most = self.settings.length.map_or(u64::MAX, |limit| limit.messages);
        let counts = |known: &&Known| known.stage != Stage::Out;
        while self.messages.iter().filter(counts).count() as u64 > most
            && let Some(head) = self.head()
        {
            self.die(head, DeathReason::MaxLen);
        }
    }

    fn pass_time(&mut self, now: u64) {
        while let Some(head) = self.head()
            && self.messages[head].deadline.is_some_and(|deadline| deadline <= now)
        {
            self.die(head, DeathReason::Expired);
        }
    }

    fn resume(&mut self, now: u64) {
        for known in &mut self.messages {
            if matches!(known.stage, Stage::Waiting(due) if due <= now) {
                known.stage = Stage::Ready;
            }
        }
    }

    fn put_back(&mut self, index: usize, now: u64) {
        let known = &mut self.messages[index];
        known.deliveries += 1;
        if self.settings.retry.is_none() {
            known.stage = Stage::Ready;
        } else if let Some(&delay) = DELAYS.get(known.deliveries as usize - 1) {
            known.stage = Stage::Waiting(now + delay);
        } else {
            self.die(index, DeathReason::DeliveryLimit);
        }
    }
}

struct Pair {
    bench: Bench,
    naive: Naive,
    draw: Draw,
    clock: u64,
    next: u64,
    dead: Vec<(DeathReason, u64)>,
}

impl Pair {
    fn below(&mut self, below: u64) -> u64 {
        self.draw.below(below)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.clock, unix_ms: NOW.unix_ms + self.clock }
    }

    fn new(seed: u64) -> Self {
        let mut draw = Self {
            bench: Bench::new(durable()),
            naive: Naive { messages: Vec::new(), settings: durable(), dead: Vec::new() },
            draw: Draw::new(seed),
            clock: 0,
            next: 0,
            dead: Vec::new(),
        };
        let retry =
            if draw.one_in(2) { Retry::Steps { delays_ms: DELAYS.into(), jitter: 0 } } else { Retry::None };
        let length =
            draw.one_in(2).then_some(LengthLimit { messages: 6, bytes: None, overflow: Overflow::DropHead });
        let settings = Settings {
            delivery_limit: (!retry.is_none()).then_some(2),
            retry,
            length,
            ttl_ms: draw.one_in(2).then_some(100),
            priorities: draw.one_in(2).then_some(Priorities { most: 3, unset: 0 }),
            dead_letter_exchange: Some("dlx".into()),
            ..durable()
        };
        draw.bench = Bench::new(settings.clone());
        draw.naive.settings = settings;
        // Memory is short: whatever is stored may be forgotten.
        draw.bench.queue.context.memory.fetch_add(2 * MEMORY_SHORT, Ordering::Relaxed);
        draw
    }

    /// Takes in what a call brought, and plays the pager.
    fn serve(&mut self, effects: Effects) {
        let id = |(reason, body): (DeathReason, String)| (reason, body[..8].parse().unwrap());
        self.dead.extend(self.bench.letters(effects, self.now()).into_iter().map(id));
    }

    fn publish(&mut self) {
        let mut builder = BlockBuilder::default();
        for _ in 0..=self.below(4) {
            let (id, now) = (self.next, self.now().unix_ms);
            self.next += 1;
            let priority = self.one_in(2).then(|| u8::try_from(self.below(5)).unwrap());
            let own = self.one_in(3).then(|| self.below(120));
            let text = own.map(|ms| ms.to_string());
            let mut raw = Vec::new();
            let expiration = text.as_deref().map(str::as_bytes);
            properties::encode(&Properties { expiration, ..Properties::default() }, &mut raw);
            let body = format!("{id:08}{}", "x".repeat(300));
            let persistent = !self.one_in(4);
            builder.push(&Message {
                arrived_at_ms: now,
                expires: own.is_some(),
                priority,
                properties: &raw,
                ..message(body.as_bytes(), persistent)
            });
            let settings = &self.naive.settings;
            let lane = settings.priorities.map_or(0, |of| of.most - priority.unwrap_or(0).min(of.most));
            let deadline = own.into_iter().chain(settings.ttl_ms).min().map(|ttl| now + ttl);
            let stage = Stage::Ready;
            self.naive.messages.push(Known { id, lane, deadline, deliveries: 0, stage, seq: 0 });
        }
        let effects = self.bench.queue.enqueue(&Arc::new(builder.build()), self.now()).1;
        self.serve(effects);
        self.naive.trim();
    }

    fn get(&mut self, at: &str) {
        let (now, mailbox) = (self.now(), Arc::clone(&self.bench.mailbox));
        self.naive.pass_time(now.unix_ms);
        let expected = self.naive.head();
        loop {
            let (got, effects) = self.bench.queue.get(false, &mailbox, now);
            self.serve(effects);
            match got {
                Got::Paging => {}
                Got::Empty => return assert_eq!(expected, None, "{at}"),
                Got::Message { first, block, index, deliveries, .. } => {
                    let known = &mut self.naive.messages[expected.expect(at)];
                    let body = block.message(index).body;
                    assert_eq!(&body[..8], format!("{:08}", known.id).as_bytes(), "{at}");
                    assert_eq!(deliveries, known.deliveries, "{at}");
                    (known.stage, known.seq) = (Stage::Out, first);
                    return;
                }
            }
        }
    }

    fn settle(&mut self) {
        let out: Vec<usize> = (0..self.naive.messages.len())
            .filter(|&index| self.naive.messages[index].stage == Stage::Out)
            .collect();
        if out.is_empty() {
            return;
        }
        let index = out[usize::try_from(self.below(out.len() as u64)).unwrap()];
        let settled = [Settled { consumer: None, range: SeqRange::of(self.naive.messages[index].seq, 1) }];
        let now = self.now();
        let effects = match self.below(3) {
            0 => {
                self.naive.messages.remove(index);
                self.bench.queue.settle(&settled, now)
            }
            1 => {
                self.naive.put_back(index, now.unix_ms);
                self.naive.trim();
                self.bench.queue.put_back(&settled, Requeue::Failed, now)
            }
            _ => {
                self.naive.die(index, DeathReason::Rejected);
                self.bench.queue.reject(&settled, now)
            }
        };
        self.serve(effects);
    }

    fn step(&mut self, at: &str) {
        match self.below(8) {
            0 | 1 => self.publish(),
            2 | 3 => self.get(at),
            4 | 5 => self.settle(),
            6 => self.clock += self.below(60),
            _ => {
                let now = self.now();
                self.naive.resume(now.unix_ms);
                let effects = self.bench.queue.tick(now);
                self.serve(effects);
            }
        }
        // Whatever was done, the queue has looked at the clock, unless nothing was.
        let effects = self.bench.queue.dispatch_again(self.now());
        self.serve(effects);
        self.naive.pass_time(self.now().unix_ms);
        self.dead.sort_unstable_by_key(|&(_, id)| id);
        self.naive.dead.sort_unstable_by_key(|&(_, id)| id);
        assert_eq!(self.dead, self.naive.dead, "{at}: who died");
        self.dead.clear();
        self.naive.dead.clear();
        let count =
            |is: fn(Stage) -> bool| self.naive.messages.iter().filter(|known| is(known.stage)).count() as u64;
        let expected = (count(|stage| stage == Stage::Ready), count(|stage| stage == Stage::Out));
        assert_eq!(self.bench.counts(), expected, "{at}");
    }
}

fn check_against_a_naive_one(seed: u64) {
    let mut pair = Pair::new(seed);
    for step in 0..1_500 {
        pair.step(&format!("seed {seed:#x}, step {step}"));
    }
}

#[test]
fn agrees_with_a_naive_queue() {
    seeds(4).for_each(check_against_a_naive_one);
    (0..11).filter_map(|_| seeds(0).next()).for_each(check_against_a_naive_one);
}
