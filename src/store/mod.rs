//! The store: durable state in one redb file, the only place that names redb.
//!
//! [`change`] is the seam: what may happen, and the traits behind which it is kept. Behind it, in the order in which
//! a change passes: `pending` (one short mutex) -> `commit` (the thread) -> `merge` (the net effect of a group) ->
//! `journal`, `keyed` and `entry` (small groups, one after the other) -> `write` and `join` (rows in a transaction, with the
//! counters of `shelf`) -> redb, whose panics end in `guard` -> `disk` (the parts of the file) -> `file` (in its folder).
//! `table`, `segment`, `aside`, `record`, `mark`, `seen`, `auth` and `policy` draw the bytes;
//! `recover` reads them at the start, after `upgrade` has made older ones the same, and `page` records later on.
//!
//! Invariant: a ticket is durable only when all that was appended under it is on disk, or was consumed before.

mod aside;
mod auth;
pub mod change;
mod commit;
mod disk;
mod entry;
mod error;
mod file;
pub mod format;
mod guard;
mod join;
mod journal;
mod keyed;
mod linger;
mod log;
pub mod mark;
mod merge;
mod page;
mod pending;
mod policy;
mod record;
mod recover;
pub mod seen;
mod segment;
mod shelf;
mod stream;
mod table;
mod upgrade;
mod write;

use self::change::{Log, PageSource, Recovered};
use self::commit::Committer;
use self::disk::Disk;
pub use self::error::StoreError;
use self::file::{DataFile, Place};
pub use self::guard::explains as explains_panic;
use self::guard::guarded;
use self::journal::Journal;
use self::log::RedbLog;
use self::merge::Work;
use self::page::Pages;
use self::pending::Pending;
use self::table::Totals;
use redb::{Database, StorageBackend};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, RwLock};

/// The data file's name in its folder.
pub const FILE_NAME: &str = "leveret.redb";

/// Tells how many bytes are free where the data lies.
pub type FreeBytes = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a store behaves.
#[derive(Clone)]
pub struct Options {
    /// Memory for pages of the file, bytes.
    pub cache_bytes: usize,
    /// Room for the journal in a file that is new; 0 is none, so that every group is a transaction.
    pub journal_bytes: u64,
    /// Below this many free bytes the disk counts as full for publishers.
    pub free_bytes_min: u64,
    /// Whether to go on without what is damaged, where a start would otherwise be refused.
    pub repair: bool,
    /// Where free space is learnt; none for a folder asks its file system, none for a backend does not ask.
    pub free_bytes: Option<FreeBytes>,
}

impl Default for Options {
    /// 8 MiB of cache: rows are read once and in order, so that more of it saves nothing but the upper pages of the trees.
    /// 8 MiB of journal: some 50,000 small messages to a transaction, and a few milliseconds to read at the start.
    /// 50 MB of disk: RabbitMQ's `disk_free_limit`.
    fn default() -> Self {
        Self {
            cache_bytes: 8 << 20,
            journal_bytes: 8 << 20,
            free_bytes_min: 50_000_000,
            repair: false,
            free_bytes: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cache_bytes", &self.cache_bytes)
            .field("journal_bytes", &self.journal_bytes)
            .field("free_bytes_min", &self.free_bytes_min)
            .field("repair", &self.repair)
            .finish_non_exhaustive()
    }
}

/// A store at work.
pub struct Opened {
    /// Takes changes in.
    pub log: Arc<dyn Log>,
    /// Reads records back.
    pub pages: Arc<dyn PageSource>,
    /// What was on disk.
    pub recovered: Recovered,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("recovered", &self.recovered).finish_non_exhaustive()
    }
}

/// Opens the data file of the folder `dir`, or makes both; holds the folder until the log is closed or dropped.
///
/// # Errors
/// Another process holds the folder, the file there is not ours or of a newer version (it stays as it is), or it
/// cannot be read or written.
pub fn open(dir: &Path, options: Options) -> Result<Opened, StoreError> {
    let folder = dir.display().to_string();
    file::make_folder(dir).map_err(|error| StoreError::from(error).at(&folder))?;
    let path = dir.join(FILE_NAME);
    let file = path.display().to_string();
    let named =
        |error| if let StoreError::InUse { .. } = error { error.at(&folder) } else { error.at(&file) };
    let opened = || DataFile::open(&path).and_then(|found| upgrade::with_head(found, &path, &options));
    let data = guarded(opened).map_err(named)?;
    let mut options = options;
    let of_disk = dir.to_owned();
    // A file system that cannot say is taken to have room.
    options.free_bytes.get_or_insert_with(|| {
        Arc::new(move || {
            rustix::fs::statvfs(&of_disk).map_or(u64::MAX, |found| found.f_bavail * found.f_frsize)
        })
    });
    let place = data.place();
    let opened = guarded(|| open_at(data, Some(place), options)).map_err(named)?;
    file::tell_if_open_to_others(dir, &path);
    Ok(opened)
}

/// Opens what `backend` holds, or begins with it when it is empty.
///
/// # Errors
/// As [`open`].
pub fn open_backend(backend: impl StorageBackend, options: Options) -> Result<Opened, StoreError> {
    guarded(|| open_at(backend, None, options))
}

/// As [`open_backend`]; the file is in a folder, if it is one.
fn open_at(
    backend: impl StorageBackend,
    place: Option<Place>,
    options: Options,
) -> Result<Opened, StoreError> {
    let disk::Found { disk, fresh, format, head_damaged } = Disk::open(backend, options.journal_bytes)?;
    let database = open_database(&disk, &options)?;
    let mut identity = table::Identity::FRESH;
    if fresh {
        // The commit syncs both.
        journal::begin(&disk, identity.journal)?;
        table::begin_run(&database, identity.next_queue, Totals::default())?;
        disk.complete()?;
    } else {
        upgrade::tables(&database, format)?;
        identity = table::identify(&database, format, options.repair)?;
        if !identity.clean {
            recover::replay(&database, &disk, (identity.journal, format), options.repair)?;
            identity = table::identify(&database, format, options.repair)?;
        }
    }
    let mut found = recover::recover(&database, identity, options.repair)?;
    if !fresh {
        table::begin_run(&database, identity.next_queue, found.totals)?;
    }
    if format < disk::FORMAT {
        journal::begin(&disk, identity.journal)?;
    }
    if format < disk::FORMAT || head_damaged {
        disk.make_current()?;
    }
    recover::tidy(&database, &mut found)?;
    let (database, pending) = (Arc::new(RwLock::new(Some(database))), Arc::new(Pending::default()));
    let pages = Pages::new(Arc::clone(&database), Arc::clone(&pending));
    let committer = Committer {
        pending,
        database,
        journal: Journal::open(disk.clone(), identity.journal)?,
        disk,
        options,
        shelves: found.shelves,
        journaled: Work::default(),
        work: Work::default(),
        late: Vec::new(),
        number: identity.journal,
        broken: false,
        restless: true,
        linger: linger::Linger::default(),
    };
    let log = RedbLog::start(committer, place)?;
    Ok(Opened { log: Arc::new(log), pages: Arc::new(pages), recovered: found.recovered })
}

fn open_database(disk: &Disk, options: &Options) -> Result<Database, StoreError> {
    Ok(Database::builder().set_cache_size(options.cache_bytes).create_with_backend(disk.clone())?)
}
