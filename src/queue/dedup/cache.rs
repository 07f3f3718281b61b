//! The values that were seen last: pure state, time passed in.
//!
//! Values are numbered as they come, and the newest
//! `size` numbers are remembered: a number takes the slot `number % size` on disk, where it
//! replaces the one that is forgotten for it. To be seen again makes a value no younger (as in
//! LavinMQ), so a duplicate costs the disk nothing.

use crate::ids::Ticket;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// What the values of one cache may take in memory, [`OVERHEAD`] for each: beyond it the oldest are
/// forgotten early. The largest header that there is fits in 128 times, the default number of
/// values.
const BYTES_MAX: usize = 128 << 20;

/// About what a value costs beside its bytes.
const OVERHEAD: usize = 128;

/// How many values are in one map. To make room in one that has about a million took 240 ms, and
/// all confirms waited for it.
const PART_MAX: usize = 8192;

/// In how many maps they are if there are more: of the most that there can be, each has about twice
/// as many.
const PARTS: usize = 64;

/// When values came: one map, or many if there are many values.
#[derive(Debug)]
struct Known {
    hasher: RandomState,
    parts: Vec<HashMap<Arc<[u8]>, Seen>>,
}

impl Known {
    fn new() -> Self {
        Self { hasher: RandomState::new(), parts: vec![HashMap::new()] }
    }

    fn part(&self, value: &[u8]) -> usize {
        match self.parts.len() {
            1 => 0,
            parts => usize::try_from(self.hasher.hash_one(value) % parts as u64).unwrap_or_default(),
        }
    }

    fn get(&self, value: &[u8]) -> Option<&Seen> {
        self.parts[self.part(value)].get(value)
    }

    fn get_mut(&mut self, value: &[u8]) -> Option<&mut Seen> {
        let part = self.part(value);
        self.parts[part].get_mut(value)
    }

    fn remove(&mut self, value: &[u8]) {
        let part = self.part(value);
        self.parts[part].remove(value);
    }

    fn insert(&mut self, value: &Arc<[u8]>, seen: Seen) {
        if self.parts.len() == 1 && self.parts[0].len() >= PART_MAX {
            let all = std::mem::take(&mut self.parts[0]);
            self.parts.resize_with(PARTS, HashMap::new);
            for (value, seen) in all {
                let part = self.part(&value);
                self.parts[part].insert(value, seen);
            }
        }
        let part = self.part(value);
        self.parts[part].insert(Arc::clone(value), seen);
    }
}

/// The most recently seen deduplication values, with expiry.
#[derive(Debug)]
pub struct Cache {
    size: u64,
    known: Known,
    /// The values with the numbers from `first` on; nothing where a number was not recovered.
    line: VecDeque<Option<Arc<[u8]>>>,
    first: u64,
    bytes: usize,
    bytes_max: usize,
}

/// When a value came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// When that is durable, so is what came with the value.
    pub ticket: Ticket,
    until_ms: u64,
}

impl Cache {
    /// Remembers `size` values at most.
    #[must_use]
    pub fn new(size: u64) -> Self {
        let size = size.clamp(1, (BYTES_MAX / OVERHEAD) as u64);
        Self { size, known: Known::new(), line: VecDeque::new(), first: 0, bytes: 0, bytes_max: BYTES_MAX }
    }

    /// The slot that a number has on disk.
    #[must_use]
    pub fn slot(&self, number: u64) -> u64 {
        number % self.size
    }

    /// Whether a value is remembered, and since when.
    pub fn find(&mut self, value: &[u8], now_unix_ms: u64) -> Option<Seen> {
        let seen = self.known.get(value)?;
        if now_unix_ms < seen.until_ms {
            return Some(*seen);
        }
        self.known.remove(value);
        None
    }

    /// Remembers a value that is not known; the number that it has got.
    pub fn insert(&mut self, value: &Arc<[u8]>, until_ms: u64) -> u64 {
        let number = self.first + self.line.len() as u64;
        self.push(number, value, until_ms);
        number
    }

    /// A value that was given this number does not count after all.
    pub fn forget(&mut self, value: &[u8], number: u64) {
        if self.known.get(value).is_some_and(|seen| seen.number == number) {
            self.known.remove(value);
        }
    }

    /// What came with a value is durable with `ticket`.
    pub fn set_ticket(&mut self, value: &[u8], number: u64, ticket: Ticket) {
        if let Some(seen) = self.known.get_mut(value).filter(|seen| seen.number == number) {
            seen.ticket = ticket;
        }
    }

    /// Brings back what was on disk, in ascending order of numbers; some may be missing.
    pub fn restore(&mut self, number: u64, value: &Arc<[u8]>, until_ms: u64) {
        let next = self.first + self.line.len() as u64;
        if number < next {
            return;
        }
        if number - next >= self.size {
            *self = Self { first: number, ..Self::new(self.size) };
        } else {
            (next..number).for_each(|_| self.line.push_back(None));
        }
        self.push(number, value, until_ms);
    }

    fn push(&mut self, number: u64, value: &Arc<[u8]>, until_ms: u64) {
        self.bytes += value.len() + OVERHEAD;
        self.line.push_back(Some(Arc::clone(value)));
        self.known.insert(value, Seen { number, ticket: Ticket(0), until_ms });
        while self.line.len() as u64 > self.size || (self.bytes > self.bytes_max && self.line.len() > 1) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(value) = self.line.pop_front().flatten() {
            self.bytes -= value.len() + OVERHEAD;
            self.forget(&value, self.first);
        }
        self.first += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, seeds};
    use std::collections::BTreeMap;

    const EVER: u64 = u64::MAX;

    fn add(cache: &mut Cache, value: &str, until_ms: u64) -> u64 {
        cache.insert(&Arc::from(value.as_bytes()), until_ms)
    }

    #[track_caller]
    fn check(cache: &mut Cache, now: u64, known: &[&str], unknown: &[&str]) {
        let mut found = |value: &&str| cache.find(value.as_bytes(), now).is_some();
        assert!(known.iter().all(&mut found), "{known:?} are known");
        assert!(!unknown.iter().any(found), "{unknown:?} are not");
    }

    #[test]
    fn the_newest_values_are_remembered() {
        let mut cache = Cache::new(3);
        for value in ["a", "b", "c", "d"] {
            check(&mut cache, 0, &[], &[value]);
            add(&mut cache, value, EVER);
        }
        check(&mut cache, 0, &["b", "c", "d"], &["a"]);
        // To be asked for makes it no younger.
        assert_eq!(add(&mut cache, "e", EVER), 4);
        check(&mut cache, 0, &["c", "d", "e"], &["a", "b"]);
        assert_eq!((cache.slot(4), cache.slot(5)), (1, 2));
    }

    #[test]
    fn a_value_is_forgotten_when_its_time_is_over() {
        let mut cache = Cache::new(3);
        add(&mut cache, "a", 10);
        add(&mut cache, "b", EVER);
        check(&mut cache, 9, &["a", "b"], &[]);
        check(&mut cache, 10, &["b"], &["a"]);
        // It comes anew, and the place of the old one has no say over it.
        add(&mut cache, "a", 30);
        add(&mut cache, "c", EVER);
        check(&mut cache, 20, &["a", "b", "c"], &[]);
        add(&mut cache, "d", EVER);
        check(&mut cache, 20, &["a", "c", "d"], &["b"]);
        check(&mut cache, 30, &["c", "d"], &["a"]);
    }

    #[test]
    fn a_ticket_belongs_to_one_coming() {
        let mut cache = Cache::new(2);
        let first = add(&mut cache, "a", 10);
        cache.set_ticket(b"a", first, Ticket(3));
        let ticket = |cache: &mut Cache, now| cache.find(b"a", now).map(|seen| seen.ticket);
        assert_eq!(ticket(&mut cache, 0), Some(Ticket(3)));
        assert_eq!(ticket(&mut cache, 10), None);
        let second = add(&mut cache, "a", 20);
        cache.set_ticket(b"a", first, Ticket(4));
        assert_eq!(ticket(&mut cache, 10), Some(Ticket(0)));
        cache.set_ticket(b"a", second, Ticket(5));
        assert_eq!(ticket(&mut cache, 10), Some(Ticket(5)));
        cache.forget(b"a", first);
        assert!(cache.find(b"a", 10).is_some());
        cache.forget(b"a", second);
        assert_eq!(cache.find(b"a", 10), None);
        cache.set_ticket(b"z", 9, Ticket(6));
    }

    #[test]
    fn memory_has_a_limit() {
        let mut cache = Cache::new(u64::MAX);
        cache.bytes_max = 4 * (1001 + OVERHEAD);
        for count in 0..10_u8 {
            let value: Arc<[u8]> = vec![count; 1001].into();
            cache.insert(&value, EVER);
            assert!(cache.bytes <= cache.bytes_max);
        }
        assert_eq!((cache.line.len(), cache.known.parts[0].len(), cache.first), (4, 4, 6));
        let huge: Arc<[u8]> = vec![0; 9000].into();
        cache.insert(&huge, EVER);
        assert!(cache.find(&huge, 0).is_some(), "the newest is always remembered");
        add(&mut cache, "a", EVER);
        assert_eq!((cache.line.len(), cache.bytes), (1, 1 + OVERHEAD));
    }

    /// However many there are, none is lost as they are divided, and no map of them is large.
    #[test]
    fn many_values_are_in_many_maps() {
        const MANY: u32 = 100_000;
        let mut cache = Cache::new(u64::from(MANY) / 2);
        for count in 0..MANY {
            let number = cache.insert(&Arc::from(count.to_be_bytes()), EVER);
            cache.set_ticket(&count.to_be_bytes(), number, Ticket(u64::from(count)));
            let largest = cache.known.parts.iter().map(HashMap::len).max().unwrap();
            assert!(largest <= PART_MAX);
        }
        let known = (0..MANY).filter(|count| {
            let seen = cache.find(&count.to_be_bytes(), 0);
            seen.is_some_and(|seen| seen.ticket == Ticket(u64::from(*count)))
        });
        assert!(known.eq(MANY / 2..MANY));
        assert_eq!(cache.known.parts.len(), PARTS);
    }

    /// What is in the slots brings back the values that were written, and no older ones.
    #[test]
    fn slots_bring_back_what_was_in_them() {
        for seed in seeds(1) {
            let mut draw = Draw::new(seed);
            let mut below = |n: u64| draw.below(n);
            for round in 0..300 {
                let size = 1 + below(6);
                let mut cache = Cache::new(size);
                let mut slots = BTreeMap::new();
                let mut written = BTreeMap::new();
                for now in 0..below(60) {
                    let value: Arc<[u8]> = vec![u8::try_from(below(12)).unwrap()].into();
                    if cache.find(&value, now).is_some() {
                        continue;
                    }
                    let until = if below(2) == 0 { EVER } else { now + below(20) };
                    let number = cache.insert(&value, until);
                    written.remove(&value);
                    if below(3) > 0 {
                        slots.insert(cache.slot(number), (number, value.clone(), until));
                        written.insert(value, number);
                    }
                    if below(20) == 0 {
                        let mut rows: Vec<_> = slots.values().cloned().collect();
                        rows.sort_unstable();
                        let mut again = Cache::new(size);
                        for (number, value, until) in &rows {
                            again.restore(*number, value, *until);
                        }
                        for value in 0..12 {
                            let value: Arc<[u8]> = vec![value].into();
                            let expected = cache.find(&value, now).is_some() && written.contains_key(&value);
                            let found = again.find(&value, now).is_some();
                            assert!(found || !expected, "seed {seed}, round {round}: {value:?} is lost");
                        }
                        assert!(again.line.len() as u64 <= size);
                    }
                }
            }
        }
    }
}
