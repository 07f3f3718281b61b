//! Bodies that nobody will read any more and that are still to be removed: the rows of
//! `removed_bodies`.
//!
//! Redb reads what it removes, and bodies are most of a file: about 2.5 GB/s. So a queue that is
//! purged or deleted loses its rows of `segments` in one transaction and its bodies a few rows at a
//! time, or all others would wait for as long as that takes. So does a queue of which much is
//! settled, if it is more than comes with the same transaction. Each row says of which bodies that
//! is so: those of a queue from the number in the key to one below that in the value, a u64. No
//! body is put there again: while the broker runs no number is given twice, and a start goes on
//! with numbers above these.
//!
//! Those of spilled messages are remembered in memory alone: their tables do not outlive the
//! broker.

use super::body::{Bodies, BodyTables};
use super::checked::{self, Transaction};
use super::table::{PORTION, REMOVED_BODIES, Removed};
use crate::store::error::StoreError;
use redb::{Database, ReadTransaction, ReadableDatabase};
use std::collections::VecDeque;

/// Rows that are dealt with in one transaction: each may have found its bodies gone.
const ROWS_MAX: usize = 256;

/// Rows of records that one transaction removes at most.
const ROWS_AT_ONCE: usize = 2 * PORTION;

/// What is still to be removed.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    lasting: VecDeque<Removed>,
    local: VecDeque<Removed>,
}

/// What the table says.
pub(super) fn read(tx: &ReadTransaction) -> Result<Vec<Removed>, StoreError> {
    let mut removed = Vec::new();
    REMOVED_BODIES.read(tx, |first, value| {
        let [end] = checked::numbers(REMOVED_BODIES.name, value)?;
        removed.push(Removed { first, end });
        Ok(())
    })?;
    Ok(removed)
}

impl Sweeper {
    /// With what the table says.
    pub(super) fn new(removed: Vec<Removed>) -> Self {
        Self { lasting: removed.into(), local: VecDeque::new() }
    }

    /// Reads the table again, after it became unknown what is in it.
    pub(super) fn read_again(&mut self, database: &Database) -> Result<(), StoreError> {
        self.lasting = read(&database.begin_read()?)?.into();
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lasting.is_empty() && self.local.is_empty()
    }

    /// Takes in what a transaction left, which is committed.
    pub(super) fn extend(&mut self, lasting: Vec<Removed>, local: Vec<Removed>) {
        self.lasting.extend(lasting);
        self.local.extend(local);
    }

    /// Removes up to two portions of rows, in a transaction of its own.
    pub(super) fn sweep(&mut self, database: &Database) -> Result<(), StoreError> {
        let is_local = self.lasting.is_empty();
        let (rows, tables) = if is_local {
            (&mut self.local, BodyTables::LOCAL)
        } else {
            (&mut self.lasting, BodyTables::LASTING)
        };
        let tx = Transaction::begin(database)?;
        let (mut bodies, mut remembered) = (Bodies::new(&tx, tables), tx.open(&REMOVED_BODIES)?);
        let (mut done, mut removed) = (0, 0);
        for &Removed { first, end } in rows.iter().take(ROWS_MAX) {
            let most = ROWS_AT_ONCE - removed;
            let found = bodies.remove_some(first, end, most)?;
            removed += found;
            if found == most {
                // There may be more.
                break;
            }
            if !is_local {
                remembered.remove(first)?;
            }
            done += 1;
        }
        drop((bodies, remembered));
        tx.commit()?;
        rows.drain(..done);
        Ok(())
    }
}
