//! Changes as bytes, wherever these are: a row of a table has them, and so has a commit group.

pub(in crate::store) mod auth;
pub(in crate::store) mod parameter;
pub(in crate::store) mod policy;
pub(in crate::store) mod record;
pub(in crate::store) mod seen;

use super::error::StoreError;
use crate::ids::{lane_of, lane_start};

/// Ids, and numbers without their lane, lie below this: nothing has ever counted so far, and no sum
/// with one overflows.
const NUMBER_END: u64 = 1 << 55;

/// An id or a number as it was read.
pub(in crate::store) fn number(read: u64) -> Result<u64, StoreError> {
    if read - lane_start(lane_of(read)) < NUMBER_END {
        return Ok(read);
    }
    Err(StoreError::Damaged(format!("it has an id or a number of {read}")))
}
