//! Samples of a few series, packed: an entry is written only when something has changed, as the
//! differences to the entry before, so that what stands still takes nothing.
//!
//! An entry, all of it in LEB128: ticks since the entry before; a bit for each series that has
//! changed; of each of those the difference, zigzag.

use std::collections::VecDeque;

/// A step function of `N` series over time, whose old part is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ring<const N: usize> {
    /// What was before the first entry.
    base: [u64; N],
    base_tick: u32,
    newest: [u64; N],
    newest_tick: u32,
    entries: VecDeque<u8>,
}

impl<const N: usize> Ring<N> {
    /// Nothing has changed yet since it had these values.
    pub(super) fn starting(values: [u64; N]) -> Self {
        Self { base: values, base_tick: 0, newest: values, newest_tick: 0, entries: VecDeque::new() }
    }

    /// The newest values.
    pub(super) fn newest(&self) -> &[u64; N] {
        &self.newest
    }

    /// When the values changed last; 0 if they never have.
    pub(super) fn newest_tick(&self) -> u32 {
        self.newest_tick
    }

    /// From `tick` on it has these values. What is not after the newest entry is left out.
    pub(super) fn record(&mut self, tick: u32, values: [u64; N]) {
        if values == self.newest || tick <= self.newest_tick {
            return;
        }
        write(&mut self.entries, u64::from(tick - self.newest_tick));
        let changed = values.iter().zip(&self.newest).enumerate();
        let changed = changed.filter(|(_, (value, before))| value != before);
        write(&mut self.entries, changed.clone().fold(0, |mask, (at, _)| mask | 1 << at));
        for (_, (value, before)) in changed {
            write(&mut self.entries, zigzag(value.wrapping_sub(*before)));
        }
        (self.newest, self.newest_tick) = (values, tick);
    }

    /// Forgets all but the values in force at `tick` and what came after.
    pub(super) fn forget(&mut self, tick: u32) {
        let mut used = 0;
        let mut reader = Reader { bytes: self.entries.iter().copied(), used: 0 };
        while let Some((at, values)) = reader.next(self.base_tick, &self.base)
            && at <= tick
        {
            (self.base, self.base_tick, used) = (values, at, reader.used);
        }
        self.entries.drain(..used);
        if self.entries.capacity() > 4 * self.entries.len() + 64 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Shows each set of values, and the tick from which on it was in force, from the oldest on.
    /// The first was so before its tick, too.
    pub(super) fn each(&self, mut show: impl FnMut(u32, &[u64; N])) {
        let mut reader = Reader { bytes: self.entries.iter().copied(), used: 0 };
        let (mut tick, mut values) = (self.base_tick, self.base);
        show(tick, &values);
        while let Some((at, next)) = reader.next(tick, &values) {
            (tick, values) = (at, next);
            show(tick, &values);
        }
    }

    /// Bytes of memory beside the ring itself.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity()
    }
}

/// Reads entries.
struct Reader<I> {
    bytes: I,
    used: usize,
}

impl<I: Iterator<Item = u8>> Reader<I> {
    /// The next entry after the one of `tick` with these values.
    fn next<const N: usize>(&mut self, tick: u32, values: &[u64; N]) -> Option<(u32, [u64; N])> {
        let (passed, mask) = (self.number()?, self.number()?);
        let mut next = *values;
        for (at, value) in next.iter_mut().enumerate() {
            if mask & 1 << at != 0 {
                *value = value.wrapping_add(unzigzag(self.number()?));
            }
        }
        Some((tick.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX)), next))
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.bytes.next()?;
            self.used += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 || shift >= 63 {
                return Some(number);
            }
            shift += 7;
        }
    }
}

fn write(bytes: &mut VecDeque<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push_back((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push_back((number & 0x7f) as u8);
}

/// A difference (wrapping), small where the value has changed little in either direction.
fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ if difference >> 63 == 1 { u64::MAX } else { 0 }
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ if number & 1 == 1 { u64::MAX } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ring: &Ring<2>) -> Vec<(u32, [u64; 2])> {
        let mut all = Vec::new();
        ring.each(|tick, values| all.push((tick, *values)));
        all
    }

    #[test]
    fn changes_are_kept_and_the_oldest_forgotten() {
        let mut ring = Ring::starting([0, 7]);
        let values = [(100, [1, 7]), (101, [1, 7]), (103, [u64::MAX, 0]), (900, [5, 300])];
        for (tick, values) in values {
            ring.record(tick, values);
        }
        ring.record(900, [6, 6]);
        assert_eq!(
            shown(&ring),
            [(0, [0, 7]), (100, [1, 7]), (103, [u64::MAX, 0]), (900, [5, 300])],
            "what does not change, or comes twice, is not kept"
        );
        ring.forget(102);
        assert_eq!(shown(&ring), [(100, [1, 7]), (103, [u64::MAX, 0]), (900, [5, 300])]);
        ring.forget(5000);
        assert_eq!(shown(&ring), [(900, [5, 300])]);
        assert_eq!(ring.entries.len(), 0);
    }

    #[test]
    fn differences_of_any_size_come_back() {
        for difference in [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 12_345] {
            assert_eq!(unzigzag(zigzag(difference)), difference);
        }
        assert_eq!(zigzag(u64::MAX), 1, "one less is small");
    }

    #[test]
    fn a_queue_that_is_always_busy_takes_few_bytes() {
        let mut ring = Ring::starting([0; 10]);
        for tick in 1..=600_u32 {
            let n = u64::from(tick) * 5_000;
            ring.record(tick, [n, n, n, 0, 0, 0, 0, 0, n % 97, n % 89]);
            ring.forget(tick.saturating_sub(120));
        }
        let per_sample = ring.entries.len() / 120;
        assert!(per_sample <= 16, "{per_sample}");
        assert!(ring.bytes() < 5000, "{}", ring.bytes());
    }
}
