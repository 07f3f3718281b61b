//! A copy of the data file as it comes from the broker, into a file, which is there only once it is
//! whole.

use super::error::CtlError;
use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written beside the one that it becomes.
#[derive(Debug)]
pub struct Backup {
    file: File,
    path: PathBuf,
    part: PathBuf,
    is_whole: bool,
}

impl Backup {
    /// Begins a file. It has the messages and the hashes of passwords: it is for its owner alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> Result<Self, CtlError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let file = opened.map_err(|error| failed(path, &error))?;
        Ok(Self { file, path: path.to_owned(), part, is_whole: false })
    }

    /// Writes the parts that `next` has until there are no more; how many bytes these are.
    ///
    /// # Errors
    /// It cannot be written, or a part is missing; then the file is as it was before.
    pub fn write(
        mut self,
        mut next: impl FnMut() -> Result<Option<Bytes>, CtlError>,
    ) -> Result<u64, CtlError> {
        let mut written = 0;
        while let Some(bytes) = next()? {
            self.file.write_all(&bytes).map_err(|error| failed(&self.path, &error))?;
            written += bytes.len() as u64;
        }
        let kept = self.file.sync_all().and_then(|()| fs::rename(&self.part, &self.path));
        kept.map_err(|error| failed(&self.path, &error))?;
        self.is_whole = true;
        Ok(written)
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        if !self.is_whole {
            // What went wrong is told.
            let _removed = fs::remove_file(&self.part);
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> CtlError {
    CtlError::File(format!("cannot write {}: {error}", path.display()))
}
