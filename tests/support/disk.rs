//! A disk in memory that fails on demand: it loses power, returns errors, or is full.
//!
//! Between two `sync_data` calls every write is only pending. A power cut keeps the synced bytes,
//! and of each pending write, by a seeded draw: none of it, a prefix of it (torn), some of its
//! sectors (reordered), or all of it. The calls go on after the cut as if nothing had happened, to
//! nobody's use: what counts is the image that the cut leaves behind.
//!
//! A file takes room block by block, when something is written there or it is asked for; a longer
//! one has a hole at its end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::draw::Draw;
use leveret::store::Blocks;
use redb::StorageBackend;
use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// What a file takes of the disk at a time.
const BLOCK: usize = 4096;

/// A handle; clones share the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    live: Vec<u8>,
    /// Which blocks of it were written to.
    blocks: BTreeSet<usize>,
    /// What is safe.
    synced: Vec<u8>,
    /// What was written since.
    pending: Vec<Write>,
    /// Calls that change something, so far.
    calls: u64,
    /// Bytes that were written, so far.
    written: u64,
    /// When power is cut, and the seed of what it leaves.
    cut: Option<(When, u64)>,
    cuts: Vec<Cut>,
    progress: (usize, usize),
    /// The call that fails, and how.
    fault: Option<(When, io::ErrorKind)>,
    /// The disk has room for this many bytes.
    capacity: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// At this call, counted from 1.
    Call(u64),
    /// At each call, as if each were the last.
    Always,
}

/// A power cut.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The call it came at.
    pub(crate) call: u64,
    /// What it left behind.
    pub(crate) image: Vec<u8>,
    /// What [`SimDisk::set_progress`] said last before it.
    pub(crate) progress: (usize, usize),
}

#[derive(Debug, Clone)]
enum Write {
    Bytes(usize, Vec<u8>),
    Len(usize),
}

/// Has `work` done on one disk after the other, whose power goes at every `step`th of its calls in
/// turn, until it needs fewer; gives `check` what the disk holds then and what came of the work.
/// `work` is told at which call the power goes.
pub(crate) fn cut_everywhere<T>(
    (seed, step): (u64, u64),
    work: impl Fn(&SimDisk, u64) -> T,
    check: impl Fn(SimDisk, T, &str),
) {
    let mut reached = 0;
    for at in (1..).map(|n| n * step) {
        let disk = SimDisk::default().cut_at(at, seed ^ at);
        let known = work(&disk, at);
        let Some(cut) = disk.take_cuts().pop() else { break };
        reached += 1;
        check(SimDisk::holding(cut.image), known, &format!("seed {seed:#x}, cut at call {at}"));
    }
    assert!(reached >= 10, "seed {seed:#x}: only {reached} cuts were reached");
}

impl SimDisk {
    /// A disk that holds `image`.
    pub(crate) fn holding(image: Vec<u8>) -> Self {
        let blocks = (0..image.len().div_ceil(BLOCK)).collect();
        Self(Arc::new(Mutex::new(State { live: image.clone(), blocks, synced: image, ..State::default() })))
    }

    /// Cuts power at call number `call`, counted from 1.
    pub(crate) fn cut_at(self, call: u64, seed: u64) -> Self {
        self.state().cut = Some((When::Call(call), seed));
        self
    }

    /// Cuts power at every call, each time as if it had not been cut before.
    pub(crate) fn cut_everywhere(self, seed: u64) -> Self {
        self.state().cut = Some((When::Always, seed));
        self
    }

    /// Notes how far a workload has come: what must survive, and what may.
    pub(crate) fn set_progress(&self, durable: usize, tried: usize) {
        self.state().progress = (durable, tried);
    }

    /// The cuts there have been.
    pub(crate) fn take_cuts(&self) -> Vec<Cut> {
        mem::take(&mut self.state().cuts)
    }

    /// What a power cut leaves that comes now.
    pub(crate) fn cut_now(&self, seed: u64) -> Vec<u8> {
        self.state().cut_power(seed)
    }

    /// Has power cut `calls` calls from now, which fails; nothing is asked of the disk after that.
    pub(crate) fn cut_and_fail_in(&self, calls: u64, seed: u64) {
        let mut state = self.state();
        let at = When::Call(state.calls + calls);
        (state.cut, state.fault) = (Some((at, seed)), Some((at, io::ErrorKind::Other)));
    }

    /// Takes back what [`SimDisk::cut_and_fail_in`] has announced, if it has not come yet.
    pub(crate) fn withdraw_cut(&self) {
        let mut state = self.state();
        if state.cuts.is_empty() {
            (state.cut, state.fault) = (None, None);
        }
    }

    /// Has call number `call`, counted from 1, return an error of `kind`.
    pub(crate) fn fail_at(self, call: u64, kind: io::ErrorKind) -> Self {
        self.state().fault = Some((When::Call(call), kind));
        self
    }

    /// From now on each call returns an error of this kind, until there is none.
    pub(crate) fn set_failing(&self, kind: Option<io::ErrorKind>) {
        self.state().fault = kind.map(|kind| (When::Always, kind));
    }

    /// From now on there is room for this many bytes.
    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// Bytes that the disk has room for; all there are, if that is not known.
    pub(crate) fn capacity(&self) -> usize {
        self.state().capacity.unwrap_or(usize::MAX)
    }

    /// Bytes that were written.
    pub(crate) fn written(&self) -> u64 {
        self.state().written
    }

    /// Calls that changed something.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.state().used()
    }

    /// Bytes in use of `range`.
    pub(crate) fn bytes_in(&self, range: Range<usize>) -> usize {
        self.state().blocks.range(blocks(range)).count() * BLOCK
    }

    /// What a process finds that comes after this one, without a power cut.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.state().live.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn used(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    /// A call that writes to these blocks.
    fn call(&mut self, blocks: Range<usize>) -> io::Result<()> {
        self.calls += 1;
        if let Some((when, seed)) = self.cut
            && (when == When::Always || when == When::Call(self.calls))
        {
            let image = self.cut_power(seed);
            self.cuts.push(Cut { call: self.calls, image, progress: self.progress });
        }
        match self.fault {
            Some((when, kind)) if when == When::Always || when == When::Call(self.calls) => Err(kind.into()),
            _ => {
                let new = blocks.len() - self.blocks.range(blocks.clone()).count();
                if new > 0 && self.capacity.is_some_and(|capacity| capacity < self.used() + new * BLOCK) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.blocks.extend(blocks);
                Ok(())
            }
        }
    }

    fn cut_power(&self, seed: u64) -> Vec<u8> {
        let mut image = self.synced.clone();
        let mut draw = Draw::new(seed ^ self.calls);
        for write in &self.pending {
            let keep = match (draw.below(5), write) {
                (0, _) => continue,
                (1, Write::Bytes(_, bytes)) => usize::try_from(draw.below(bytes.len() as u64 + 1)).unwrap(),
                (2, Write::Bytes(at, bytes)) => {
                    for sector in sectors(*at, bytes) {
                        if draw.one_in(2) {
                            sector.apply(&mut image, usize::MAX);
                        }
                    }
                    continue;
                }
                _ => usize::MAX,
            };
            write.apply(&mut image, keep);
        }
        image
    }
}

impl Write {
    /// Applies this write, of which at most `keep` bytes.
    fn apply(&self, image: &mut Vec<u8>, keep: usize) {
        match self {
            Self::Len(len) => image.resize(*len, 0),
            Self::Bytes(at, bytes) => {
                let bytes = &bytes[..keep.min(bytes.len())];
                image.resize(image.len().max(at + bytes.len()), 0);
                image[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// A write as a disk does it: sector by sector, in whatever order.
fn sectors(at: usize, bytes: &[u8]) -> impl Iterator<Item = Write> {
    let first = (SECTOR - at % SECTOR).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let rest = rest.chunks(SECTOR).enumerate();
    let rest = rest.map(move |(index, part)| Write::Bytes(at + first + index * SECTOR, part.to_vec()));
    [Write::Bytes(at, head.to_vec())].into_iter().chain(rest)
}

/// The blocks that bytes lie in.
fn blocks(bytes: Range<usize>) -> Range<usize> {
    bytes.start / BLOCK..bytes.end.div_ceil(BLOCK)
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

impl StorageBackend for SimDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state();
        let bytes = state.live.get(place(at)..place(at) + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.state();
        state.call(0..0)?;
        let _beyond = state.blocks.split_off(&place(len).div_ceil(BLOCK));
        let write = Write::Len(place(len));
        write.apply(&mut state.live, usize::MAX);
        state.pending.push(write);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.state();
        state.call(0..0)?;
        for write in mem::take(&mut state.pending) {
            write.apply(&mut state.synced, usize::MAX);
        }
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), io::Error> {
        let mut state = self.state();
        state.call(blocks(place(at)..place(at) + bytes.len()))?;
        state.written += bytes.len() as u64;
        let write = Write::Bytes(place(at), bytes.to_vec());
        write.apply(&mut state.live, usize::MAX);
        state.pending.push(write);
        Ok(())
    }
}

/// What is in a reserve is nothing: a power cut makes no difference to it.
impl Blocks for SimDisk {
    fn allocate(&self, range: Range<u64>) -> io::Result<()> {
        assert!(range.end <= StorageBackend::len(self)?, "it is within the file");
        self.state().call(blocks(place(range.start)..place(range.end)))
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let (mut state, range) = (self.state(), place(range.start)..place(range.end));
        state.call(0..0)?;
        if state.live[range.clone()].iter().any(|&byte| byte != 0) {
            let zeros = Write::Bytes(range.start, vec![0; range.len()]);
            zeros.apply(&mut state.live, usize::MAX);
            state.pending.push(zeros);
        }
        let given = range.start.div_ceil(BLOCK)..range.end / BLOCK;
        state.blocks.retain(|block| !given.contains(block));
        Ok(())
    }
}
