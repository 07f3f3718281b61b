//! Redb's trees read without redb: whether each page is as it was written.
//!
//! Redb writes a checksum of each page beside each pointer to it, and looks at them only after a
//! crash that left nothing better to go by, when it walks the whole file. What it then does with a
//! page that was changed is anything: it reads other rows, takes pages for free that are not,
//! panics. So a start looks at all pages but the leaves with runs of records, which have checksums
//! of ours (see `segment`), so that a run that was changed can be left out: of those it looks at
//! what leads to their rows.
//!
//! A repair finds the bit that was turned, if it was one: with it turned back, the page matches its
//! checksum again. That one of 2^15 other pages matches 128 bits by chance does not happen.
//!
//! What redb's format 3 looks like, as far as this needs it; little-endian:
//!
//! ```text
//! header    0 u8*9 magic | 9 u8: bit 0 = the second slot counts, bit 1 = it was not closed, bit 2 = it was committed in two phases
//!           | 12 u32 bytes of a page | 16 u32 0 | 20 u32 pages of a region | 24 u32 whole regions | 28 u32 pages behind them
//!           | ... | 64 slot | 192 slot
//! slot      0 u8 3 | 1 u8 there is a data root | 2 u8 there is a system root | 8 data root | 40 system root | 104 u64 commit
//!           | 112 checksum of all before
//! root      u64 page | checksum | u64 how many rows
//! page      bits 59 to 63: order, 20 to 39: region, 0 to 19: index; it has 4096 << order bytes
//! leaf      u8 1 | u8 | u16 n | u32 end of a key, n times | u32 end of a value, n times | keys | values
//! branch    u8 2 | u8 | u16 n | u32 | checksum, n + 1 times | u64 page, n + 1 times | u32 end of a key, n times | keys
//! table     its name | u8 1 | u64 rows | u8 there is a root | root | u8 there is a width | u32 width of keys | u8 | u32 of values | ...
//! checksum  XXH3 of 128 bits, of a page up to the end of its last value or key
//! ```
//!
//! There are no ends of keys or values that have a width. Both roots lead to tables: their names,
//! and what is drawn as `table`.

use super::disk::Disk;
use super::segment::SegmentView;
use super::table;
use crate::store::error::StoreError;
use redb::StorageBackend;
use std::collections::BTreeSet;
use std::ops::Range;
use twox_hash::XxHash3_128;

const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";
const HEADER: usize = 320;
const FLAGS_AT: usize = 9;
const REGIONS_AT: usize = 24;
const REST_AT: usize = 28;
const SECOND_SLOT: u8 = 1;
const TWO_PHASES: u8 = 4;
const SLOTS_AT: [usize; 2] = [64, 192];
const SLOT: usize = 128;
const SLOT_SUM_AT: usize = 112;
const FORMAT: u8 = 3;

/// Bytes of the smallest page.
const PAGE_LEN: usize = 4096;
const PAGE: u64 = PAGE_LEN as u64;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
/// Bytes of a checksum.
const SUM: usize = 16;
/// No tree of the store is so high, nor any other of a file that fits on a disk.
const HEIGHT_MAX: u32 = 40;

/// In a page of more bytes than this only what leads to rows is tried, not each bit.
const TRIED_BYTES_MAX: usize = 16 * 1024;

/// The tables whose leaves are not looked at as a whole.
const RECORDS: [&str; 4] = ["bodies", "body_parts", "local_bodies", "local_body_parts"];
const RUNS: [&str; 2] = ["segments", "local_segments"];

/// What a look at the trees is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// To find the first damage.
    Check,
    /// To find all of it, records' too, and put back what can be.
    Mend,
    /// As that, and to know where they lie.
    Find,
    /// To read what can be read.
    Salvage,
}

/// Where a page lies, and what it is to match.
#[derive(Debug, Clone, Copy)]
struct Pointer {
    page: u64,
    checksum: u128,
}

/// How many bytes keys and values have, if all have the same.
#[derive(Debug, Clone, Copy, Default)]
struct Widths {
    key: Option<usize>,
    value: Option<usize>,
}

/// Calls with the name of a table, a key, a value, and whether their page is as it was written.
pub(super) type EachRow<'a> = dyn FnMut(&str, &[u8], &[u8], bool) -> Result<(), StoreError> + 'a;

/// Checks what redb's part of `disk` says of itself, and what leads to every row.
///
/// # Errors
/// [`StoreError::Damaged`] at the first page that is not as it was written.
pub(super) fn check(disk: &Disk) -> Result<(), StoreError> {
    Walk::of(disk, Aim::Check)?.map_or(Ok(()), |mut walk| walk.all())
}

/// How many bytes are missing at the end of redb's part.
pub(super) fn missing(disk: &Disk) -> Result<u64, StoreError> {
    let said = header(disk)?.map_or(PAGE, |header| said_len(&header));
    Ok(said.saturating_sub(StorageBackend::len(disk)?))
}

/// What of redb's part nothing leads to below the commit that counts; none if that cannot be told
/// but by redb: after a commit in one phase.
///
/// # Errors
/// [`StoreError::Damaged`] at the first page that is not as it was written.
pub(super) fn free(disk: &Disk) -> Result<Option<Vec<Range<u64>>>, StoreError> {
    let Some(mut walk) = Walk::of(disk, Aim::Find)? else { return Ok(None) };
    walk.all()?;
    let is_used = |page: u64| {
        let word = usize::try_from(page / 64).ok().and_then(|word| walk.used.get(word));
        word.is_none_or(|word| word & 1 << (page % 64) != 0)
    };
    let mut free: Vec<Range<u64>> = Vec::new();
    // The first one has the header.
    for page in (1..walk.len / PAGE).filter(|&page| !is_used(page)) {
        let (start, end) = (page * PAGE, (page + 1) * PAGE);
        match free.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => free.push(start..end),
        }
    }
    Ok(Some(free))
}

/// Puts zeros at the end of a file that may have lost some there.
pub(super) fn fill(disk: &Disk) -> Result<(), StoreError> {
    let (len, Some(header)) = (StorageBackend::len(disk)?, header(disk)?) else { return Ok(()) };
    let whole = whole_len(len, &header);
    if whole > len {
        tracing::warn!(
            "{} bytes were missing at the end of the data file, which are taken for zeros",
            whole - len
        );
        StorageBackend::set_len(disk, whole)?;
    }
    Ok(())
}

/// Turns bits back that were turned. What it cannot mend stays.
pub(super) fn mend(disk: &Disk) -> Result<(), StoreError> {
    Walk::of(disk, Aim::Mend)?.map_or(Ok(()), |mut walk| walk.all())
}

/// Calls `each` with all rows that can be read, true or not: those below the commit that counts, or
/// below the `other` one. Returns in which tables there are pages that could not be read or are not
/// as they were written; none if it cannot tell the tables.
pub(super) fn salvage(
    disk: &Disk,
    other: bool,
    each: &mut EachRow<'_>,
) -> Result<Option<BTreeSet<String>>, StoreError> {
    let Some(mut walk) = Walk::of(disk, Aim::Salvage)? else { return Ok(None) };
    let slot = SLOTS_AT[usize::from(walk.header[FLAGS_AT] & SECOND_SLOT != 0) ^ usize::from(other)];
    let slot = walk.header[slot..slot + SLOT].to_vec();
    let tables = walk.tables("data", pointer(&slot, 8))?;
    let unknown = walk.damaged.is_some();
    let mut damaged = BTreeSet::new();
    for (name, root, widths) in tables {
        walk.damaged = None;
        if let Some(root) = root {
            walk.tree(&name, root, widths, Some(&mut |key, value, sure| each(&name, key, value, sure)))?;
        }
        if walk.damaged.is_some() {
            damaged.insert(name);
        }
    }
    Ok((!unknown).then_some(damaged))
}

/// As [`EachRow`], of one table.
type Each<'a> = dyn FnMut(&[u8], &[u8], bool) -> Result<(), StoreError> + 'a;

struct Walk<'d> {
    disk: &'d Disk,
    aim: Aim,
    header: Vec<u8>,
    /// How long redb's part is, and how long it is if zeros are missing at its end.
    len: u64,
    whole_len: u64,
    /// What was found last.
    damaged: Option<String>,
    /// Pages that may be read yet: a pointer that is not true may lead back to where it is.
    pages_left: u64,
    /// Of each of the smallest pages whether it is a part of one that was found, if that is asked:
    /// a bit each.
    used: Vec<u64>,
}

impl<'d> Walk<'d> {
    /// None where there is nothing to look at, or redb looks at all: after a commit in one phase.
    fn of(disk: &'d Disk, aim: Aim) -> Result<Option<Self>, StoreError> {
        let Some(header) = header(disk)? else { return Ok(None) };
        let len = StorageBackend::len(disk)?;
        let whole_len = whole_len(len, &header);
        let pages_left = whole_len / PAGE;
        let words = if aim == Aim::Find { pages_left.div_ceil(64) } else { 0 };
        let used = vec![0; usize::try_from(words).unwrap_or_default()];
        let mut walk = Self { disk, aim, header, len, whole_len, damaged: None, pages_left, used };
        walk.mend_header()?;
        if aim == Aim::Salvage {
            return Ok(Some(walk));
        }
        let is_sure = walk.header[FLAGS_AT] & TWO_PHASES != 0;
        Ok((is_sure || aim == Aim::Mend).then_some(walk))
    }

    fn only_checks(&self) -> bool {
        matches!(self.aim, Aim::Check | Aim::Find)
    }

    fn note_used(&mut self, place: u64, len: usize) {
        let pages = place / PAGE..(place + len as u64).div_ceil(PAGE);
        for page in pages {
            let word = usize::try_from(page / 64).ok().and_then(|word| self.used.get_mut(word));
            word.into_iter().for_each(|word| *word |= 1 << (page % 64));
        }
    }

    /// Looks at what is the same in every file.
    fn mend_header(&mut self) -> Result<(), StoreError> {
        let whole = [
            &MAGIC[..],
            &self.header[FLAGS_AT..12],
            &4096_u32.to_le_bytes(),
            &[0; 4],
            &(1_u32 << 20).to_le_bytes(),
        ];
        let whole = whole.concat();
        if self.only_checks() && self.header[..MAGIC.len()] != *MAGIC {
            // Redb would take it for somebody else's file.
            return self.found("the head of the tables is damaged");
        }
        if self.aim == Aim::Mend && self.header[..whole.len()] != whole {
            self.header[..whole.len()].copy_from_slice(&whole);
            self.write(0, 0..whole.len(), &whole, "the header")?;
        }
        Ok(())
    }

    fn all(&mut self) -> Result<(), StoreError> {
        let slots = SLOTS_AT.map(|at| self.header[at..at + SLOT].to_vec());
        let chosen = usize::from(self.header[FLAGS_AT] & SECOND_SLOT);
        let [mut slot, other] = [&slots[chosen], &slots[1 - chosen]].map(Clone::clone);
        if !is_whole_slot(&slot) && !self.try_bits(&mut slot, 0..SLOT_SUM_AT + SUM, is_whole_slot) {
            return self.found("the commit that counts does not match its checksum");
        }
        if slot != slots[chosen] {
            self.write(SLOTS_AT[chosen] as u64, 0..SLOT, &slot, "the commit that counts")?;
        }
        let is_newer = is_whole_slot(&other) && number(&other, 104) > number(&slot, 104);
        if is_newer && self.header[FLAGS_AT] & TWO_PHASES == 0 {
            // As redb chooses.
            slot = other;
        }
        if slot[0] != FORMAT {
            return Ok(());
        }
        for (there, at, whose) in [(1, 8, "data"), (2, 40, "system")] {
            if slot[there] == 0 {
                continue;
            }
            for (name, root, widths) in self.tables(whose, pointer(&slot, at))? {
                root.map_or(Ok(()), |root| self.tree(&name, root, widths, None))?;
            }
        }
        Ok(())
    }

    /// The tables below a root.
    fn tables(
        &mut self,
        whose: &str,
        root: Pointer,
    ) -> Result<Vec<(String, Option<Pointer>, Widths)>, StoreError> {
        let (mut tables, mut malformed) = (Vec::new(), false);
        let mut each = |name: &[u8], row: &[u8], _sure: bool| {
            match (str::from_utf8(name), decode_table(row)) {
                (Ok(name), Some((root, widths))) => tables.push((name.to_owned(), root, widths)),
                _ => malformed = true,
            }
            Ok(())
        };
        self.tree(whose, root, Widths::default(), Some(&mut each))?;
        if malformed {
            self.found("the row of a table is malformed")?;
        }
        Ok(tables)
    }

    /// Looks at all pages of a tree, and calls `each`, if it is wanted, with all rows.
    fn tree(
        &mut self,
        name: &str,
        root: Pointer,
        widths: Widths,
        mut each: Option<&mut Each<'_>>,
    ) -> Result<(), StoreError> {
        let mut left = vec![(root, 0)];
        while let Some((at, height)) = left.pop() {
            let Some((page, sure)) = self.page(name, at, widths)? else { continue };
            match page.first() {
                Some(&BRANCH) if height < HEIGHT_MAX => {
                    let children = children(&page).unwrap_or_default();
                    left.extend(children.into_iter().rev().map(|child| (child, height + 1)));
                }
                Some(&LEAF) => {
                    let Some(each) = &mut each else { continue };
                    for (key, value) in rows(&page, widths) {
                        each(&page[key], &page[value], sure)?;
                    }
                }
                _ => self.found("a tree of redb does not end")?,
            }
        }
        Ok(())
    }

    /// Reads a page, and whether it is as it was written; of records' only the head, unless it is
    /// to be mended. None if it is of no use.
    fn page(
        &mut self,
        name: &str,
        at: Pointer,
        widths: Widths,
    ) -> Result<Option<(Vec<u8>, bool)>, StoreError> {
        let what = || format!("a page of `{name}`");
        let Some(left) = self.pages_left.checked_sub(1) else {
            return self.found("the trees have more pages than the file").map(|()| None);
        };
        self.pages_left = left;
        let Some((place, len)) = self.place(at.page) else {
            return self.found(&format!("{} lies outside of the file", what())).map(|()| None);
        };
        self.note_used(place, len);
        let of_records = RECORDS.contains(&name);
        let is_leaf_of_records =
            |page: &[u8]| (of_records || RUNS.contains(&name)) && page.first() == Some(&LEAF);
        let mut page = vec![0; if of_records && self.only_checks() { len.min(PAGE_LEN) } else { len }];
        self.read(place, &mut page)?;
        if self.only_checks() && is_leaf_of_records(&page) {
            return if has_sound_head(&page, len, widths) && (of_records || has_known_runs(&page, widths)) {
                Ok(Some((page, false)))
            } else {
                self.found(&format!("the head of {} is damaged", what())).map(|()| None)
            };
        }
        if page.len() < len {
            page.resize(len, 0);
            self.read(place, &mut page)?;
        }
        let matches = |page: &[u8]| {
            end(page, widths)
                .and_then(|end| page.get(..end))
                .is_some_and(|used| checksum(used) == at.checksum)
        };
        if matches(&page) {
            return Ok(Some((page, true)));
        }
        self.found(&format!("{} does not match its checksum", what()))?;
        if self.aim == Aim::Salvage {
            return Ok(Some((page, false)));
        }
        let tried = if len <= TRIED_BYTES_MAX { len } else { head_len(&page, widths).min(PAGE_LEN) };
        if self.try_bits(&mut page, 0..tried, matches) {
            self.write(place, 0..len, &page, &what())?;
            return Ok(Some((page, true)));
        }
        if tried < len {
            tracing::warn!("repair: a single turned bit was looked for in {tried} of its {len} bytes only");
        } else {
            tracing::warn!("repair: not a single-bit error");
        }
        Ok(is_leaf_of_records(&page).then_some((page, false)))
    }

    /// Turns each bit of `within`, if that is to be mended, until `matches` says that it was this
    /// one.
    fn try_bits(&self, bytes: &mut [u8], within: Range<usize>, matches: impl Fn(&[u8]) -> bool) -> bool {
        if self.aim != Aim::Mend {
            return false;
        }
        for bit in within.start * 8..within.end * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if matches(bytes) {
                return true;
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        false
    }

    fn write(&self, place: u64, part: Range<usize>, bytes: &[u8], what: &str) -> Result<(), StoreError> {
        tracing::warn!("repair: corrected a flipped bit in {what}");
        Ok(StorageBackend::write(self.disk, place + part.start as u64, &bytes[..part.len()])?)
    }

    /// Reads a page, of which zeros may be missing.
    fn read(&self, place: u64, page: &mut [u8]) -> Result<(), StoreError> {
        let there =
            usize::try_from(self.len.saturating_sub(place)).map_or(page.len(), |len| len.min(page.len()));
        Ok(StorageBackend::read(self.disk, place, &mut page[..there])?)
    }

    /// Where in the file a page lies, and its length.
    fn place(&self, page: u64) -> Option<(u64, usize)> {
        let (order, region, index) = (page >> 59, (page >> 20) & 0xf_ffff, page & 0xf_ffff);
        let bytes = PAGE.checked_shl(u32::try_from(order).ok()?)?;
        let start = PAGE + region * (PAGE << 20) + (index & (0xf_ffff >> order)) * bytes;
        let within = start < self.len && start + bytes <= self.whole_len;
        within.then_some((start, usize::try_from(bytes).ok()?))
    }

    /// What to do about damage.
    fn found(&mut self, what: &str) -> Result<(), StoreError> {
        match self.aim {
            Aim::Check | Aim::Find => return Err(StoreError::Damaged(what.to_owned())),
            Aim::Mend => tracing::warn!("repair: {what}"),
            Aim::Salvage => self.damaged = Some(what.to_owned()),
        }
        Ok(())
    }
}

fn header(disk: &Disk) -> Result<Option<Vec<u8>>, StoreError> {
    if StorageBackend::len(disk)? < PAGE {
        return Ok(None);
    }
    let mut header = vec![0; HEADER];
    StorageBackend::read(disk, 0, &mut header)?;
    Ok(Some(header))
}

/// How long a part of redb's is that has `len` bytes, if no more is missing than zeros at its end.
/// What is said of it in the header has no checksum: where it says twice as much, that is not
/// believed.
fn whole_len(len: u64, header: &[u8]) -> u64 {
    let said = said_len(header);
    len.next_multiple_of(PAGE).max(if said / 2 <= len { said } else { 0 })
}

fn said_len(header: &[u8]) -> u64 {
    let pages = |at| array(header, at).map_or(0, u32::from_le_bytes).into();
    let (regions, rest): (u64, u64) = (pages(REGIONS_AT), pages(REST_AT));
    regions.saturating_mul(PAGE << 20).saturating_add((rest + 1) * PAGE)
}

fn checksum(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

fn is_whole_slot(slot: &[u8]) -> bool {
    checksum(&slot[..SLOT_SUM_AT]) == u128::from_le_bytes(array(slot, SLOT_SUM_AT).unwrap_or_default())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    array(bytes, at).map_or(0, u64::from_le_bytes)
}

fn pointer(bytes: &[u8], at: usize) -> Pointer {
    Pointer { page: number(bytes, at), checksum: array(bytes, at + 8).map_or(0, u128::from_le_bytes) }
}

/// Where a table begins, if it has rows, and how wide they are.
fn decode_table(row: &[u8]) -> Option<(Option<Pointer>, Widths)> {
    let width = |at: usize| {
        let width = u32::from_le_bytes(array(row, at + 1)?) as usize;
        Some((*row.get(at)? != 0).then_some(width))
    };
    let widths = Widths { key: width(42)?, value: width(47)? };
    Some(((row[9] != 0).then(|| pointer(row, 10)), widths))
}

/// How many keys a page has.
fn count(page: &[u8]) -> Option<usize> {
    array(page, 2).map(|count| usize::from(u16::from_le_bytes(count)))
}

/// Of a leaf, where the ends of keys and of values are, and where the keys begin.
fn heads(page: &[u8], widths: Widths) -> Option<(usize, usize, usize)> {
    let count = count(page)?;
    let values_at = 4 + if widths.key.is_none() { 4 * count } else { 0 };
    let keys_at = values_at + if widths.value.is_none() { 4 * count } else { 0 };
    Some((4, values_at, keys_at))
}

/// Bytes of a page before its values.
fn head_len(page: &[u8], widths: Widths) -> usize {
    let keys = |(_, _, keys_at)| keys_at + count(page).unwrap_or(0) * widths.key.unwrap_or(0);
    heads(page, widths).map_or(4, keys)
}

fn end_at(page: &[u8], at: usize, index: usize) -> Option<usize> {
    array(page, at + 4 * index).map(|end| u32::from_le_bytes(end) as usize)
}

/// Up to where a page is used; none if it cannot be.
fn end(page: &[u8], widths: Widths) -> Option<usize> {
    let last = count(page)?.checked_sub(1)?;
    match *page.first()? {
        LEAF => {
            let (ends_at, values_at, keys_at) = heads(page, widths)?;
            let keys_end = || match widths.key {
                Some(width) => Some(keys_at + width * (last + 1)),
                None => end_at(page, ends_at, last),
            };
            match widths.value {
                Some(width) => keys_end()?.checked_add(width * (last + 1)),
                None => end_at(page, values_at, last),
            }
        }
        BRANCH => {
            let keys_at = 8 + (SUM + 8) * (last + 2);
            match widths.key {
                Some(width) => Some(keys_at + width * (last + 1)),
                None => end_at(page, keys_at, last),
            }
        }
        _ => None,
    }
}

/// The keys and values of a leaf, but for those that cannot be within it.
fn rows(page: &[u8], widths: Widths) -> Vec<(Range<usize>, Range<usize>)> {
    let (Some(count), Some((ends_at, values_at, keys_at))) = (count(page), heads(page, widths)) else {
        return Vec::new();
    };
    let ranges = |width: Option<usize>, at: usize, start: usize| -> Vec<Range<usize>> {
        let end =
            |index| width.map_or_else(|| end_at(page, at, index), |width| Some(start + width * (index + 1)));
        let ends = (0..count).map(|index| end(index).unwrap_or(usize::MAX));
        let starts = [start].into_iter().chain(ends.clone());
        starts.zip(ends).map(|(start, end)| start..end).collect()
    };
    let keys = ranges(widths.key, ends_at, keys_at);
    let values = ranges(widths.value, values_at, keys.last().map_or(keys_at, |last| last.end));
    let is_within = |range: &Range<usize>| page.get(range.clone()).is_some();
    keys.into_iter().zip(values).filter(|(key, value)| is_within(key) && is_within(value)).collect()
}

/// Whether what leads to the rows of a leaf of `len` bytes can be right.
fn has_sound_head(head: &[u8], len: usize, widths: Widths) -> bool {
    let known = (count(head), heads(head, widths), widths.key);
    let (Some(count), Some((_, values_at, keys_at)), Some(width)) = known else { return false };
    let mut before = keys_at + width * count;
    count > 0
        && widths.value.is_none()
        && (0..count).all(|index| {
            let Some(end) = end_at(head, values_at, index) else { return false };
            let is_next = before <= end && end <= len;
            before = end;
            is_next
        })
}

/// Whether it can be told of each run in a leaf how many messages it has, damaged or not.
fn has_known_runs(page: &[u8], widths: Widths) -> bool {
    rows(page, widths).into_iter().all(|(key, row)| {
        let (key, row) = (table::row_key(&page[key]), &page[row]);
        key.is_some_and(|key| SegmentView::decode(key, row).is_ok()) || SegmentView::count_of_damaged(row) > 0
    })
}

/// Where the children of a branch are.
fn children(page: &[u8]) -> Option<Vec<Pointer>> {
    let count = count(page)? + 1;
    let child = |index: usize| {
        let checksum = u128::from_le_bytes(array(page, 8 + SUM * index)?);
        let page = u64::from_le_bytes(array(page, 8 + SUM * count + 8 * index)?);
        Some(Pointer { page, checksum })
    };
    (0..count).map(child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redb::disk::{Found, Front};
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
    use std::collections::BTreeMap;

    const BODIES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("bodies");
    const NAMES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("names");
    const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

    /// By table and key.
    type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

    /// A file with trees of several heights, and the rows of all tables.
    fn file() -> (Disk, Rows) {
        let Found { disk, .. } = Disk::open(InMemoryBackend::new(), Front::of_journal(0)).unwrap();
        let database = Database::builder().create_with_backend(disk.clone()).unwrap();
        let mut rows = BTreeMap::new();
        for round in 0..3_u64 {
            let mut tx = database.begin_write().unwrap();
            tx.set_quick_repair(true);
            for at in round * 1000..round * 1000 + 1000 {
                let name =
                    format!("name {at} {}", "x".repeat(usize::try_from(at % 90).unwrap())).into_bytes();
                let value = vec![7; usize::try_from(at % 300).unwrap()];
                tx.open_table(NAMES).unwrap().insert(&*name, &*value).unwrap();
                rows.insert(("names".to_owned(), name), value);
            }
            let (key, records) = ((round, 9), vec![5; 30_000]);
            tx.open_table(BODIES).unwrap().insert(key, &*records).unwrap();
            let key = [key.0.to_le_bytes(), key.1.to_le_bytes()].concat();
            rows.insert(("bodies".to_owned(), key), records);
            tx.open_table(NUMBERS).unwrap().insert("last", round).unwrap();
            rows.insert(("numbers".to_owned(), b"last".to_vec()), round.to_le_bytes().to_vec());
            tx.commit().unwrap();
        }
        database.close().unwrap();
        (disk, rows)
    }

    fn bytes(disk: &Disk) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(StorageBackend::len(disk).unwrap()).unwrap()];
        StorageBackend::read(disk, 0, &mut bytes).unwrap();
        bytes
    }

    /// What the head of this file draws is what redb writes.
    #[test]
    fn a_header_that_says_anything_tells_no_length() {
        assert_eq!(whole_len(5 * PAGE - 1, &[0xff; HEADER]), 5 * PAGE);
    }

    #[test]
    fn all_rows_are_read() {
        let (disk, expected) = file();
        check(&disk).unwrap();
        let mut found = BTreeMap::new();
        let lost = salvage(&disk, false, &mut |table, key, value, sure| {
            assert!(sure);
            found.insert((table.to_owned(), key.to_vec()), value.to_vec());
            Ok(())
        });
        assert_eq!(lost.unwrap(), Some(BTreeSet::new()));
        assert!(found == expected, "{} rows of {}", found.len(), expected.len());
    }

    #[test]
    fn what_nothing_leads_to_may_be_anything() {
        let (disk, expected) = file();
        let free = free(&disk).unwrap().unwrap();
        let bytes: u64 = free.iter().map(|range| range.end - range.start).sum();
        assert!(bytes > 10 * PAGE, "{bytes} bytes are free");
        for range in free {
            let len = usize::try_from(range.end - range.start).unwrap();
            StorageBackend::write(&disk, range.start, &vec![0x55; len]).unwrap();
        }
        check(&disk).unwrap();
        let database = Database::builder().create_with_backend(disk.clone()).unwrap();
        let mut rows = 0;
        for row in database.begin_read().unwrap().open_table(NAMES).unwrap().iter().unwrap() {
            let (name, value) = row.unwrap();
            assert_eq!(expected[&("names".to_owned(), name.value().to_vec())], value.value());
            rows += 1;
        }
        assert_eq!(rows, 3000);
        // What is free is used again.
        let mut tx = database.begin_write().unwrap();
        tx.set_quick_repair(true);
        for at in 0..1000_u64 {
            tx.open_table(NAMES).unwrap().insert(&at.to_be_bytes()[..], &[7; 300][..]).unwrap();
        }
        tx.commit().unwrap();
        database.close().unwrap();
        check(&disk).unwrap();
    }

    #[test]
    fn a_bit_that_is_found_is_turned_back() {
        let (disk, _) = file();
        let whole = bytes(&disk);
        let (mut found, mut missed) = (0, 0);
        for at in (0..320).chain((PAGE_LEN..whole.len()).step_by(509)) {
            let turned = [whole[at] ^ (1 << (at % 8))];
            StorageBackend::write(&disk, at as u64, &turned).unwrap();
            if check(&disk).is_err() {
                mend(&disk).unwrap();
                check(&disk).unwrap();
                assert!(bytes(&disk) == whole, "byte {at}");
                found += 1;
            } else {
                missed += 1;
                StorageBackend::write(&disk, at as u64, &whole[at..=at]).unwrap();
            }
        }
        assert!(found > 200, "{found} found, {missed} in records and where nothing is");
    }

    #[test]
    fn pages_that_make_no_sense_end_the_search() {
        let (disk, _) = file();
        let whole = bytes(&disk);
        for page in (PAGE_LEN..whole.len()).step_by(PAGE_LEN) {
            for fill in [0, 1, 2, 0x55, 0xff] {
                StorageBackend::write(&disk, page as u64, &[fill; PAGE_LEN]).unwrap();
                let _either = check(&disk);
                salvage(&disk, false, &mut |_, _, _, _| Ok(())).unwrap();
                salvage(&disk, true, &mut |_, _, _, _| Ok(())).unwrap();
            }
            StorageBackend::write(&disk, page as u64, &whole[page..page + PAGE_LEN]).unwrap();
        }
        check(&disk).unwrap();
    }
}
