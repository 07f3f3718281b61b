//! Gives a full disk back the pages of the data file that redb does not use, where they are: they
//! become holes.
//!
//! redb keeps what is freed in the file, where nobody else can see that there is room. To move what
//! is used to the front and cut off the rest it writes all of that once more, for which a full disk
//! has no room; and a large page needs a free place of its size. A hole needs nothing. What is
//! written there later takes room again, as at the end of the file.
//!
//! Which pages are used is what the tables of the last commit lead to: see `tree`. An open database
//! has more, which are in none of them yet: it is closed meanwhile.

use super::disk::Disk;
use super::tree;
use crate::store::error::StoreError;
use std::io::{self, ErrorKind};

/// What cannot be done where the data file is.
const UNSUPPORTED: [ErrorKind; 2] = [ErrorKind::Unsupported, ErrorKind::InvalidInput];

/// Makes holes of what is free in the file of a database that is not open; how many bytes that is,
/// whether they had been holes before or not. None if that cannot be done here or now.
pub(super) fn punch(disk: &Disk) -> Result<Option<u64>, StoreError> {
    let Some(free) = tree::free(disk)? else { return Ok(None) };
    let mut punched = 0;
    for range in free {
        let bytes = range.end - range.start;
        match disk.punch(range) {
            Ok(()) => punched += bytes,
            Err(error) if is_unsupported(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(punched))
}

fn is_unsupported(error: &io::Error) -> bool {
    UNSUPPORTED.contains(&error.kind())
}
