//! Tables whose rows have checksums, and the transactions that write them.
//!
//! ```text
//! a row     its key | its value | u32 CRC-32 of the table's name, u32 length of the key, the key and the value
//! `totals`  the name of a table | u64 rows | u64 sum of their checksums | u32 CRC-32, as in any row
//! ```
//!
//! Integers are big-endian, but for those within keys, which are redb's. Redb does not look at its
//! pages' checksums when it reads them (`tree` does, at the start). A row that was changed does not
//! match its own checksum, one that disappeared or came back is missed in `totals`, and so is a
//! table that disappeared.

use crate::store::error::StoreError;
use crc32fast::Hasher;
use redb::{
    Database, Key, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, TableHandle, Value,
    WriteTransaction,
};
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// How many rows each table has, and what their checksums add up to.
pub(super) static TOTALS: Checked<&str> = Checked::new("totals");

/// Bytes of a checksum.
const SUM: usize = 4;

/// A table whose rows have checksums: its name, and the type of its keys.
pub(super) struct Checked<K: Key + 'static> {
    pub(super) name: &'static str,
    definition: TableDefinition<'static, K, &'static [u8]>,
}

/// The rows of a table, and what their checksums add up to; or by how much both change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) sum: u64,
}

impl Totals {
    pub(super) fn add(&mut self, checksum: u32) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum.into());
    }

    pub(super) fn take(&mut self, checksum: u32) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum.into());
    }

    /// Says how the rows of `table` differ from what they should be.
    pub(super) fn unlike(self, expected: Self, table: &str) -> String {
        let (found, expected) = (self.rows, expected.rows);
        if found == expected {
            format!("some of the {found} rows of `{table}` are not those that were written last")
        } else {
            format!("`{table}` has {found} rows and should have {expected}")
        }
    }

    pub(super) fn and(self, change: Self) -> Self {
        Self { rows: self.rows.wrapping_add(change.rows), sum: self.sum.wrapping_add(change.sum) }
    }

    fn encode(self) -> Vec<u8> {
        [self.rows.to_be_bytes(), self.sum.to_be_bytes()].concat()
    }

    fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let [rows, sum] = numbers(TOTALS.name, value)?;
        Ok(Self { rows, sum })
    }
}

impl<K: Key + 'static> Checked<K> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, definition: TableDefinition::new(name) }
    }

    fn checksum(&self, key: &[u8], value: &[u8]) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(self.name.as_bytes());
        hasher.update(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(key);
        hasher.update(value);
        hasher.finalize()
    }

    /// The value of a row, and its checksum; none if it does not match that.
    fn check<'a>(&self, key: &[u8], row: &'a [u8]) -> Option<(&'a [u8], u32)> {
        let (value, checksum) = row.split_last_chunk()?;
        let checksum = u32::from_be_bytes(*checksum);
        (self.checksum(key, value) == checksum).then_some((value, checksum))
    }

    /// Reads the value of one row.
    fn value<'a>(&self, key: &K::SelfType<'_>, row: &'a [u8]) -> Result<(&'a [u8], u32), StoreError> {
        self.check(K::as_bytes(key).as_ref(), row).ok_or_else(|| {
            let key = shown::<K>(key);
            StoreError::Damaged(format!("the row {key} of `{}` does not match its checksum", self.name))
        })
    }

    /// Calls `each` with every row, in the order of their keys; returns whether there is such a
    /// table.
    pub(super) fn read(
        &self,
        tx: &ReadTransaction,
        mut each: impl FnMut(K::SelfType<'_>, &[u8]) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let expected = all_totals(tx)?.get(self.name).copied();
        let table = match tx.open_table(self.definition) {
            Err(TableError::TableDoesNotExist(_)) if expected.is_none() => return Ok(false),
            Err(TableError::TableDoesNotExist(_)) => {
                return Err(StoreError::Damaged(format!("the table `{}` is missing", self.name)));
            }
            table => table?,
        };
        let mut found = Totals::default();
        for row in ReadableTable::range::<K::SelfType<'_>>(&table, ..)? {
            let (key, row) = row?;
            let key = key.value();
            let (value, checksum) = self.value(&key, row.value())?;
            found.add(checksum);
            each(key, value)?;
        }
        let expected = expected.unwrap_or_default();
        if found != expected {
            return Err(StoreError::Damaged(found.unlike(expected, self.name)));
        }
        Ok(true)
    }
}

/// Takes a row, its key and its value; returns whether it takes another.
pub(super) type Take<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

/// A table whose rows can be read as they lie there.
pub(super) trait RawRows: Sync {
    fn name(&self) -> &str;

    /// Has `take` take the rows after a key until it has enough; returns whether there are no more.
    fn rows(
        &self,
        tx: &ReadTransaction,
        after: Option<&[u8]>,
        take: &mut Take<'_>,
    ) -> Result<bool, StoreError>;
}

impl<K: Key + Sync + 'static, V: Value + Sync + 'static> RawRows for TableDefinition<'static, K, V> {
    fn name(&self) -> &str {
        TableHandle::name(self)
    }

    fn rows(
        &self,
        tx: &ReadTransaction,
        after: Option<&[u8]>,
        take: &mut Take<'_>,
    ) -> Result<bool, StoreError> {
        let table = match tx.open_table(*self) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(true),
            table => table?,
        };
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(K::from_bytes(key)));
        for row in ReadableTable::range::<K::SelfType<'_>>(&table, (from, Bound::Unbounded))? {
            let (key, value) = row?;
            if !take(K::as_bytes(&key.value()).as_ref(), V::as_bytes(&value.value()).as_ref()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<K: Key + Sync + 'static> RawRows for Checked<K> {
    fn name(&self) -> &str {
        self.name
    }

    fn rows(
        &self,
        tx: &ReadTransaction,
        after: Option<&[u8]>,
        take: &mut Take<'_>,
    ) -> Result<bool, StoreError> {
        self.definition.rows(tx, after, take)
    }
}

/// A table of which rows are taken that were read without redb.
pub(super) trait Salvaged: RawRows {
    /// Makes the table.
    fn make(&'static self, tx: &Transaction) -> Result<(), StoreError>;

    /// Puts a row in, unless there is one with its key; returns whether it matches its checksum.
    fn put(&'static self, tx: &Transaction, key: &[u8], row: &[u8]) -> Result<bool, StoreError>;
}

impl<K: Key + Sync + 'static> Salvaged for Checked<K> {
    fn make(&'static self, tx: &Transaction) -> Result<(), StoreError> {
        tx.open(self).map(drop)
    }

    fn put(&'static self, tx: &Transaction, key: &[u8], row: &[u8]) -> Result<bool, StoreError> {
        let Some((value, _)) = self.check(key, row) else { return Ok(false) };
        let mut table = tx.open(self)?;
        if table.table.get(K::from_bytes(key))?.is_none() {
            table.insert(K::from_bytes(key), value)?;
        }
        Ok(true)
    }
}

/// What `totals` says of the tables.
pub(super) fn all_totals(tx: &ReadTransaction) -> Result<BTreeMap<String, Totals>, StoreError> {
    let table = tx.open_table(TOTALS.definition)?;
    let mut all = BTreeMap::new();
    for row in ReadableTable::range::<&str>(&table, ..)? {
        let (name, row) = row?;
        let name = name.value();
        all.insert(name.to_owned(), Totals::decode(TOTALS.value(&name, row.value())?.0)?);
    }
    Ok(all)
}

/// What a row of `totals` says that was read without redb.
pub(super) fn totals_of(key: &[u8], row: &[u8]) -> Option<Totals> {
    let (value, _) = TOTALS.check(key, row)?;
    Totals::decode(value).ok()
}

/// A key as an operator can read it.
fn shown<K: Key + 'static>(key: &K::SelfType<'_>) -> String {
    if K::type_name() != <&[u8]>::type_name() {
        return format!("{key:?}");
    }
    let bytes = K::as_bytes(key);
    let text: String = String::from_utf8_lossy(bytes.as_ref()).replace(char::is_control, " ");
    format!("'{}'", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The numbers that a value consists of.
pub(super) fn numbers<const N: usize>(table: &str, value: &[u8]) -> Result<[u64; N], StoreError> {
    let (numbers, rest) = value.as_chunks::<8>();
    match <&[[u8; 8]; N]>::try_from(numbers) {
        Ok(numbers) if rest.is_empty() => Ok(numbers.map(u64::from_be_bytes)),
        _ => Err(StoreError::Damaged(format!("a row of `{table}` is malformed"))),
    }
}

/// A write transaction, dropped without effect unless it is committed.
pub(super) struct Transaction {
    tx: WriteTransaction,
    /// Of the tables that were opened, by name.
    changes: RefCell<BTreeMap<&'static str, Totals>>,
}

impl Transaction {
    /// One that commits in two phases, and saves what is free, so that a start after a crash need
    /// not walk the whole file.
    pub(super) fn begin(database: &Database) -> Result<Self, StoreError> {
        let mut tx = Self::in_one_phase(database)?;
        tx.tx.set_quick_repair(true);
        Ok(tx)
    }

    /// One that commits with one sync: until another one has, a start after a crash walks the whole
    /// file.
    pub(super) fn in_one_phase(database: &Database) -> Result<Self, StoreError> {
        Ok(Self { tx: database.begin_write()?, changes: RefCell::default() })
    }

    /// For tables whose rows are not checked here.
    pub(super) fn unchecked(&self) -> &WriteTransaction {
        &self.tx
    }

    /// Opens a table, and makes it if there is none.
    pub(super) fn open<K: Key + 'static>(
        &self,
        table: &'static Checked<K>,
    ) -> Result<CheckedTable<'_, K>, StoreError> {
        self.changes.borrow_mut().entry(table.name).or_default();
        Ok(CheckedTable { of: table, table: self.tx.open_table(table.definition)?, changes: &self.changes })
    }

    /// Makes what was written durable, and what `totals` says of it.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        let changes = self.changes.into_inner();
        if !changes.is_empty() {
            let mut totals = self.tx.open_table(TOTALS.definition)?;
            for (name, change) in changes {
                let before = totals.get(name)?;
                let before = before.map(|row| Totals::decode(TOTALS.value(&name, row.value())?.0));
                let before = before.transpose()?;
                let after = before.unwrap_or_default().and(change);
                if before != Some(after) {
                    totals.insert(name, sealed(&TOTALS, &name, &after.encode()).as_slice())?;
                }
            }
        }
        Ok(self.tx.commit()?)
    }
}

/// A row's value with its checksum.
fn sealed<K: Key + 'static>(table: &Checked<K>, key: &K::SelfType<'_>, value: &[u8]) -> Vec<u8> {
    [value, &table.checksum(K::as_bytes(key).as_ref(), value).to_be_bytes()].concat()
}

/// A table of a [`Transaction`].
pub(super) struct CheckedTable<'tx, K: Key + 'static> {
    of: &'static Checked<K>,
    table: Table<'tx, K, &'static [u8]>,
    changes: &'tx RefCell<BTreeMap<&'static str, Totals>>,
}

impl<K: Key + 'static> CheckedTable<'_, K> {
    /// Returns whether it takes the place of another.
    pub(super) fn insert<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let row = sealed(self.of, key.borrow(), value);
        let before = self.table.insert(key, row.as_slice())?.map(|row| checksum_of(row.value()));
        self.change(Some(checksum_of(&row)), before);
        Ok(before.is_some())
    }

    /// Returns whether it was there.
    pub(super) fn remove<'k>(&mut self, key: impl Borrow<K::SelfType<'k>>) -> Result<bool, StoreError> {
        let before = self.table.remove(key)?.map(|row| checksum_of(row.value()));
        self.change(None, before);
        Ok(before.is_some())
    }

    /// Removes all in `range`; returns how many there were.
    pub(super) fn remove_in<'r, R: Borrow<K::SelfType<'r>> + 'r>(
        &mut self,
        range: impl RangeBounds<R> + 'r,
    ) -> Result<u64, StoreError> {
        let mut removed = Totals::default();
        self.table.retain_in(range, |_, row| {
            removed.add(checksum_of(row));
            false
        })?;
        let mut changes = self.changes.borrow_mut();
        let change = changes.entry(self.of.name).or_default();
        change.rows = change.rows.wrapping_sub(removed.rows);
        change.sum = change.sum.wrapping_sub(removed.sum);
        Ok(removed.rows)
    }

    fn change(&self, after: Option<u32>, before: Option<u32>) {
        let mut changes = self.changes.borrow_mut();
        let change = changes.entry(self.of.name).or_default();
        after.into_iter().for_each(|checksum| change.add(checksum));
        before.into_iter().for_each(|checksum| change.take(checksum));
    }
}

/// What the end of a row says, true or not.
fn checksum_of(row: &[u8]) -> u32 {
    row.last_chunk::<SUM>().map_or(0, |checksum| u32::from_be_bytes(*checksum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::ReadableDatabase;
    use redb::backends::InMemoryBackend;

    static NAMES: Checked<&[u8]> = Checked::new("names");
    static OTHERS: Checked<&[u8]> = Checked::new("others");

    fn database() -> Database {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let tx = Transaction::begin(&database).unwrap();
        {
            let mut names = tx.open(&NAMES).unwrap();
            assert!(!names.insert(&b"a"[..], b"1").unwrap());
            assert!(names.insert(&b"a"[..], b"2").unwrap());
            names.insert(&b"b"[..], b"3").unwrap();
            names.insert(&b"c"[..], b"").unwrap();
            assert!(names.remove(&b"b"[..]).unwrap() && !names.remove(&b"b"[..]).unwrap());
            tx.open(&OTHERS).unwrap().insert(&b"a"[..], b"2").unwrap();
        }
        tx.commit().unwrap();
        database
    }

    type Rows = Vec<(Vec<u8>, Vec<u8>)>;

    fn read(database: &Database) -> Result<Rows, String> {
        let mut rows = Vec::new();
        let tx = database.begin_read().unwrap();
        let read = NAMES.read(&tx, |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        read.map(|_| rows).map_err(|error| error.to_string())
    }

    fn write(database: &Database, change: impl FnOnce(&mut Table<'_, &'static [u8], &'static [u8]>)) {
        let tx = database.begin_write().unwrap();
        change(&mut tx.open_table(NAMES.definition).unwrap());
        tx.commit().unwrap();
    }

    /// The bytes that the head of this file draws; a change here is a new format.
    #[test]
    fn rows_are_as_drawn() {
        let row = sealed(&NAMES, &&b"key"[..], b"value");
        let summed = crc32fast::hash(b"names\0\0\0\x03keyvalue");
        assert_eq!(row, [b"value", &summed.to_be_bytes()[..]].concat());
        assert_eq!(Totals { rows: 1, sum: 258 }.encode(), b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02");
    }

    #[test]
    fn rows_come_back_and_go() {
        let database = database();
        let rows = [("a", "2"), ("c", "")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(read(&database).unwrap(), rows);
        let tx = Transaction::begin(&database).unwrap();
        assert_eq!(tx.open(&NAMES).unwrap().remove_in::<&[u8]>(..).unwrap(), 2);
        tx.commit().unwrap();
        assert_eq!(read(&database).unwrap(), []);
    }

    #[test]
    fn a_row_that_was_changed_moved_removed_or_brought_back_is_told() {
        let changed = database();
        write(&changed, |names| {
            let mut row = sealed(&NAMES, &&b"a"[..], b"2");
            row[0] ^= 1;
            names.insert(&b"a"[..], &*row).unwrap();
        });
        assert!(read(&changed).unwrap_err().contains("the row 'a' of `names` does not match its checksum"));
        let moved = database();
        write(&moved, |names| {
            let row = names.remove(&b"a"[..]).unwrap().unwrap().value().to_vec();
            names.insert(&b"A"[..], &*row).unwrap();
        });
        assert!(read(&moved).unwrap_err().contains("the row 'A' of `names` does not match"));
        let of_another = database();
        write(&of_another, |names| {
            names.insert(&b"a"[..], &*sealed(&OTHERS, &&b"a"[..], b"2")).unwrap();
        });
        assert!(read(&of_another).unwrap_err().contains("does not match its checksum"));
        let removed = database();
        write(&removed, |names| drop(names.remove(&b"a"[..]).unwrap()));
        assert!(read(&removed).unwrap_err().contains("`names` has 1 rows and should have 2"));
        let brought_back = database();
        write(&brought_back, |names| {
            names.insert(&b"a"[..], &*sealed(&NAMES, &&b"a"[..], b"1")).unwrap();
        });
        assert!(read(&brought_back).unwrap_err().contains("some of the 2 rows of `names` are not those"));
    }

    #[test]
    fn a_table_that_disappeared_is_told() {
        let database = database();
        let tx = database.begin_write().unwrap();
        tx.delete_table(NAMES.definition).unwrap();
        tx.commit().unwrap();
        assert!(read(&database).unwrap_err().contains("the table `names` is missing"));
    }
}
