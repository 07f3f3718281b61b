//! For tests only: random choices that can be repeated, since everything follows from the seed,
//! which a failing test names. The tests in `tests/` have this file, too.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A source of choices (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// As [`Self::below`], of something with this length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }

    /// One of `from`, which is not empty.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }
}

/// Seeds to try: the same ones every time, and one that nobody has tried.
pub(crate) fn seeds(fixed: u64) -> impl Iterator<Item = u64> {
    (1..=fixed).chain([RandomState::new().hash_one(fixed)])
}

/// Runs `test` with one fixed seed and a fresh one; a failure names its seed.
#[expect(clippy::print_stderr, reason = "a failing seed must be seen, to be run again")]
pub(crate) fn for_seeds(test: impl Fn(&mut Draw)) {
    for seed in seeds(1) {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| test(&mut Draw::new(seed)))) {
            eprintln!("failed with seed {seed:#x}");
            resume_unwind(failure);
        }
    }
}
