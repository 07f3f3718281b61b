//! What the table `returns` says of a message that has died and is still in its queue, in the place
//! of the time until which a message waits.
//!
//! ```text
//!   bit 63: 1   62: parked   59-61: why it died   57-58: why it is parked   0-56: its place in the order of deaths
//! ```
//!
//! No time has bit 63 set. The place is milliseconds since 1970 in its upper 42 bits, and tells
//! apart what died in the same one in its lower 15. The column of failed deliveries of a
//! message that is parked has the bytes of its record, that of others 0.

const DEAD: u64 = 1 << 63;
const PARKED: u64 = 1 << 62;
const REASON_SHIFT: u32 = 59;
const REASON_MASK: u64 = 0b111;
const CAUSE_SHIFT: u32 = 57;
const CAUSE_MASK: u64 = 0b11;
const PLACE_MASK: u64 = (1 << CAUSE_SHIFT) - 1;
const SAME_MS_BITS: u32 = 15;

/// Why and when a message died, and whether it is parked, as the table `returns` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Whether it stays until somebody moves it, or is on its way out.
    pub parked: bool,
    /// Why it died: a number below 8.
    pub reason: u8,
    /// Why it is parked: a number below 4.
    pub cause: u8,
    /// Its place in the order of deaths.
    pub place: u64,
}

impl Mark {
    /// The first place of a millisecond since 1970.
    #[must_use]
    pub fn place_at(unix_ms: u64) -> u64 {
        (unix_ms << SAME_MS_BITS) & PLACE_MASK
    }

    /// The millisecond since 1970 of a place.
    #[must_use]
    pub fn ms_of(place: u64) -> u64 {
        place >> SAME_MS_BITS
    }

    /// As a row has it.
    #[must_use]
    pub fn encode(self) -> u64 {
        let parked = if self.parked { PARKED } else { 0 };
        let reason = (u64::from(self.reason) & REASON_MASK) << REASON_SHIFT;
        let cause = (u64::from(self.cause) & CAUSE_MASK) << CAUSE_SHIFT;
        DEAD | parked | reason | cause | self.place & PLACE_MASK
    }

    /// What a row says; none of a message that lives.
    #[must_use]
    pub fn decode(row: u64) -> Option<Self> {
        let bits = |shift: u32, mask: u64| u8::try_from((row >> shift) & mask).unwrap_or_default();
        (row & DEAD != 0).then(|| Self {
            parked: row & PARKED != 0,
            reason: bits(REASON_SHIFT, REASON_MASK),
            cause: bits(CAUSE_SHIFT, CAUSE_MASK),
            place: row & PLACE_MASK,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_were_written() {
        for parked in [false, true] {
            for (reason, cause) in [(0, 0), (4, 3), (7, 1)] {
                let place = Mark::place_at(1_795_000_000_123) + 7;
                let mark = Mark { parked, reason, cause, place };
                assert_eq!(Mark::decode(mark.encode()), Some(mark));
                assert_eq!(Mark::ms_of(mark.place), 1_795_000_000_123);
            }
        }
    }

    #[test]
    fn a_time_is_no_mark() {
        for due_ms in [0, 1, 1_795_000_000_123, (1 << 63) - 1] {
            assert_eq!(Mark::decode(due_ms), None);
        }
    }
}
