//! A small disk of our own that can be filled: a file system in memory, mounted for the run.
//!
//! Once it is mounted, its folder is opened and it is taken out of the tree again at once. It is
//! reached through the open folder from then on, and is gone with the last process that has
//! something of it open, however that ends.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

/// Large enough for what a broker wants to keep free, and for what is published while it is filled.
const DISK_MIB: u64 = 256;

/// So much of the ballast is written at a time.
static BALLAST: [u8; 1 << 20] = [0; 1 << 20];

/// A small file system in memory, mounted for one run, that can be filled.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    /// Where it was mounted; what is there now is as it was before.
    folder: File,
}

impl SmallDisk {
    /// Mounts one, at `place` for a moment.
    ///
    /// # Errors
    /// Mounting is not permitted here, with the reason in one line.
    pub(crate) fn mount(place: &Path) -> Result<Self, String> {
        fs::create_dir_all(place).map_err(|why| why.to_string())?;
        let options = format!("size={DISK_MIB}m");
        call(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place))?;
        let folder = File::open(place);
        call(Command::new("umount").arg("-l").arg(place))?;
        Ok(Self { folder: folder.map_err(|why| why.to_string())? })
    }

    /// A path on it, good for this process and its children as long as this lives.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}/{name}", process::id(), self.folder.as_raw_fd()))
    }

    /// Fills it up to `free_mib`.
    ///
    /// # Errors
    /// The ballast cannot be written for another reason than that there is no room.
    pub(crate) fn fill(&self, free_mib: u64) -> io::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        let mut len = 0_u64;
        loop {
            match ballast.write(&BALLAST) {
                Ok(0) => break,
                Ok(written) => len += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        ballast.set_len(len.saturating_sub(free_mib << 20))
    }

    /// Makes room again.
    ///
    /// # Errors
    /// The ballast cannot be removed.
    pub(crate) fn relieve(&self) -> io::Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.at("ballast")
    }
}

fn call(command: &mut Command) -> Result<(), String> {
    let done = command.stdin(Stdio::null()).output().map_err(|why| why.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&done.stderr);
    Err(why.lines().next().unwrap_or("no reason is given").to_owned())
}
