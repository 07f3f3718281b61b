//! Gives memory back that a table took for more entries than it has any more. A table keeps room
//! for the most it ever had; a client that makes a hundred thousand bindings once would else have
//! them paid for until the end.
//!
//! So much must be empty before anything is done that the work is a small part of what the removals
//! were.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Room for so many entries is never worth giving back.
const KEPT: usize = 1024;

/// Of so many places at most one is taken when a table shrinks; it keeps room for twice what it
/// has.
const PLACES: usize = 8;

/// Whether a table with room for `room` entries and `len` of them is to shrink.
pub fn is_due(len: usize, room: usize) -> bool {
    room > KEPT && room / PLACES >= len
}

/// Shrinks a map that is nearly empty; call it when an entry was removed.
pub fn give_back<K: Hash + Eq, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if is_due(map.len(), map.capacity()) {
        map.shrink_to((2 * map.len()).max(KEPT / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_was_large_becomes_small_again() {
        let mut map: HashMap<u32, u32> = (0..100_000).map(|number| (number, number)).collect();
        for number in 0..50_000 {
            map.remove(&number);
            give_back(&mut map);
        }
        assert!(map.capacity() > 50_000, "half of them are there");
        for number in 50_000..99_900 {
            map.remove(&number);
            give_back(&mut map);
        }
        assert!(map.capacity() <= KEPT, "{}", map.capacity());
        assert_eq!((map.len(), map.get(&99_950)), (100, Some(&99_950)));
    }
}
