//! A copy of the data file as it comes from the broker, into a file, which is there only once it is
//! whole.

use super::error::CtlError;
use bytes::Bytes;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file of the parts that `next` has until there are no more; how many bytes these are. It
/// has the messages and the hashes of passwords: it is for its owner alone.
///
/// # Errors
/// It cannot be written, or a part is missing; then the file is as it was before.
pub fn write(
    file: &Path,
    mut next: impl FnMut() -> Result<Option<Bytes>, CtlError>,
) -> Result<u64, CtlError> {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let failed = |error| CtlError::File(format!("cannot write {}: {error}", file.display()));
    let mut write = || {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part);
        let mut opened = opened.map_err(failed)?;
        let mut written = 0;
        while let Some(bytes) = next()? {
            opened.write_all(&bytes).map_err(failed)?;
            written += bytes.len() as u64;
        }
        opened.sync_all().and_then(|()| fs::rename(part, file)).map_err(failed)?;
        Ok(written)
    };
    write().inspect_err(|_error| {
        // The first fault is the one that is told.
        let _removed = fs::remove_file(part);
    })
}
