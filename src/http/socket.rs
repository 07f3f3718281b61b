//! The operator's way in: a unix socket in the data folder, which only the broker's own user and
//! root can connect to. HTTP is served there as on the ports, and whoever connects may do all.
//!
//! Invariant: the socket is reachable under its name only once its mode is 0600, and gone when the
//! broker ends.

use crate::config::control::socket;
use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The folder in the data folder in which the socket is made, and its name there; no longer than
/// its name in the end.
const WORKSHOP: (&str, &str) = (".control", "s");

/// The socket; removed when dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Makes the socket in the data folder, which is this process's alone. A socket that is there
    /// already is replaced unless somebody answers on it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn bind(data_dir: &Path) -> Result<Self, String> {
        let path = socket(data_dir)?;
        check_place(&path)?;
        let why = |what: &str, place: &Path, error: &dyn Display| {
            format!("cannot {what} {}: {error}", place.display())
        };
        // Nobody else can look into the folder, so nobody can connect before the mode is right.
        let workshop = data_dir.join(WORKSHOP.0);
        let made = workshop.join(WORKSHOP.1);
        // What a process left here that was killed.
        let _left = fs::remove_file(&made).and_then(|()| fs::remove_dir(&workshop));
        let _empty = fs::remove_dir(&workshop);
        let folder = fs::DirBuilder::new().mode(0o700).create(&workshop);
        folder.map_err(|error| why("make the folder", &workshop, &error))?;
        let listener = UnixListener::bind(&made).map_err(|error| why("make the socket", &made, &error))?;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&made, mode).map_err(|error| why("protect the socket", &made, &error))?;
        fs::rename(&made, &path).map_err(|error| why("put the socket at", &path, &error))?;
        let _empty = fs::remove_dir(&workshop);
        Ok(Self { listener, path })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(%error, "cannot remove {}", self.path.display());
        }
    }
}

/// Whether the socket may be put there.
fn check_place(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(format!("{} exists and is not a socket", path.display()));
        }
        Ok(_socket) => {}
    }
    match UnixStream::connect(path) {
        Ok(_answered) => Err(format!("another process answers on {}", path.display())),
        Err(_nobody) => Ok(()),
    }
}
