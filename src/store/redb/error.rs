//! What redb says is wrong, as faults of the store.

use crate::store::error::StoreError;
use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};
use std::io;

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error {
            // What redb says of a file without its magic number, and of one that is too short for
            // it.
            StorageError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::NotOurs { place: String::new() }
            }
            StorageError::Io(error) => error.into(),
            StorageError::PreviousIo | StorageError::DatabaseClosed => Self::Stopped,
            StorageError::Corrupted(what) => Self::Damaged(what),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Self::InUse { place: String::new() }
            }
            DatabaseError::UpgradeRequired(_) => Self::NotOurs { place: String::new() },
            DatabaseError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for StoreError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}
