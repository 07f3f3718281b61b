//! Where changes are kept: tables in one redb file, with a journal before them. Alone names redb.
//!
//! In the order in which a group passes: `storage` -> `journal` (small groups, one after the other)
//! -> `write` and `join` (rows in a transaction, with the counters of `index`) -> redb -> `disk`
//! (the parts of the file, among them the room that `reserve` keeps and `room` looks after) ->
//! `counted` -> `file` (in its folder). `table`, `checked`, `segment`, `stream`, `metadata` and
//! `quarantine` have the rows. At the start `tree` looks for damage and turns single bits back,
//! `salvage` makes a new file of what is left of one, `upgrade` makes older rows the same as new
//! ones, and `recover` reads them; `page` reads records later on, and `backup` all rows.

mod backup;
mod body;
mod checked;
mod counted;
mod disk;
mod error;
mod file;
mod holes;
mod index;
mod join;
mod journal;
mod log;
mod loss;
mod metadata;
mod page;
mod quarantine;
mod recover;
mod reserve;
mod room;
mod salvage;
pub(in crate::store) mod segment;
mod storage;
mod stream;
mod sweep;
mod table;
#[cfg(test)]
pub(in crate::store) mod tests;
mod tree;
mod upgrade;
mod write;

pub use self::backup::{RestoreError, may_hold_copy, restore};
use self::checked::Totals;
use self::disk::{Disk, Front};
use self::file::DataFile;
pub(in crate::store) use self::file::FileIdentity;
pub(in crate::store) use self::log::LogParts;
use self::log::RedbLog;
use self::loss::Loss;
use self::page::Pages;
pub use self::reserve::{Blocks, FILE_NAME as RESERVE_NAME};
use self::reserve::{Reserve, STEP};
use self::room::{Room, TREES_BYTES};
pub(in crate::store) use self::storage::RedbStorage;
use self::sweep::Sweeper;
use super::change::{Health, Recovered};
use super::error::StoreError;
use super::guard::guarded;
use super::{FILE_NAME, FORMAT, JOURNAL_BYTES, Opened, Options};
use crate::machine;
use crate::store::commit::committer::Committer;
use crate::store::commit::pending::Pending;
use crate::store::commit::storage::Storage;
use crate::store::replica::Replica;
use crate::store::replica::log::FILE_NAME as LOG_NAME;
use redb::{Database, StorageBackend};
use std::io;
use std::path::Path;
use std::sync::{Arc, RwLock};

/// How long the reserve of a file in a folder is: a full journal becomes rows of nearly twice its
/// size at the worst.
const RESERVE_BYTES: u64 = 2 * JOURNAL_BYTES + TREES_BYTES;

/// Opens the data file of the folder `dir`, or makes both; holds the folder until the log is closed
/// or dropped.
///
/// # Errors
/// Another process holds the folder, the file there is not ours or of a newer version (it stays as
/// it is), it is that of a cluster's node, or it cannot be read or written.
pub fn open(dir: &Path, options: Options) -> Result<Opened, StoreError> {
    if dir.join(LOG_NAME).exists() {
        return Err(StoreError::OfCluster { place: dir.display().to_string() });
    }
    open_in(dir, options, start)
}

/// As [`open`], for a node of a cluster: see [`super::replica`].
pub(in crate::store) fn open_replica(dir: &Path, options: Options) -> Result<Replicated, StoreError> {
    open_in(dir, options, |storage, _, file| Ok((storage, file)))
}

/// Records of a row, at most.
pub(in crate::store) const ROW_RECORDS_MAX: u64 = segment::RUN_RECORDS_MAX as u64;

/// A storage, and its file if it has one.
pub(in crate::store) type Replicated = (RedbStorage, Option<FileIdentity>);

/// What comes of a storage that is open.
type Start<T> = fn(RedbStorage, Recovered, Option<FileIdentity>) -> Result<T, StoreError>;

fn open_in<T>(dir: &Path, options: Options, start: Start<T>) -> Result<T, StoreError> {
    let folder = dir.display().to_string();
    file::make_folder(dir).map_err(|error| StoreError::from(error).at(&folder))?;
    let path = dir.join(FILE_NAME);
    let file = path.display().to_string();
    let named =
        |error| if let StoreError::InUse { .. } = error { error.at(&folder) } else { error.at(&file) };
    if backup::is_copy(&path) {
        return Err(StoreError::Copy { place: file });
    }
    let mut options = options;
    let of_disk = dir.to_owned();
    // A file system that cannot say is taken to have room.
    options
        .free_bytes
        .get_or_insert_with(|| Arc::new(move || machine::disk_free_bytes(&of_disk).unwrap_or(u64::MAX)));
    options.reserve_bytes.get_or_insert(RESERVE_BYTES);
    let open_file = |lost| {
        let data = DataFile::open(&path).and_then(|found| upgrade::with_head(found, &path, &options))?;
        let (file, blocks) = (data.identity(), Some(data.blocks()));
        let options = Options { blocks, ..options.clone() };
        let (storage, recovered) = open_storage(data, Some(dir), options, lost)?;
        start(storage, recovered, Some(file))
    };
    let opened = match guarded(|| open_file(Loss::default())) {
        Err(StoreError::Damaged(what)) if options.repair => {
            tracing::warn!("repair: {what}; readable rows of {file} are copied into a new file in its place");
            guarded(|| salvage::replace(&path, &options)).and_then(|lost| guarded(|| open_file(lost)))
        }
        done => done,
    };
    let opened = opened.map_err(|error| error.advise(options.repair)).map_err(named)?;
    file::tell_if_open_to_others(dir, &path);
    Ok(opened)
}

/// Opens what `backend` holds, or begins with it when it is empty.
///
/// # Errors
/// As [`open`].
pub fn open_backend(backend: impl StorageBackend, options: Options) -> Result<Opened, StoreError> {
    open_backend_with(backend, options, start)
}

/// As [`Replica::open`], of what `backend` holds.
///
/// # Errors
/// As [`Replica::open`].
pub fn open_replica_backend(backend: impl StorageBackend, options: Options) -> Result<Replica, StoreError> {
    let options = Options { journal_bytes: 0, ..options };
    Replica::of(open_backend_with(backend, options, |storage, _, file| Ok((storage, file)))?)
}

fn open_backend_with<T>(
    backend: impl StorageBackend,
    options: Options,
    start: Start<T>,
) -> Result<T, StoreError> {
    let repair = options.repair;
    let opened = guarded(|| {
        let (storage, recovered) = open_storage(backend, None, options, Loss::default())?;
        start(storage, recovered, None)
    });
    opened.map_err(|error| error.advise(repair))
}

/// Starts the commit thread of a storage that is in this file, if it is in one.
fn start(
    storage: RedbStorage,
    recovered: Recovered,
    file: Option<FileIdentity>,
) -> Result<Opened, StoreError> {
    let parts = storage.parts(file);
    start_over(storage, parts, recovered)
}

/// Starts the commit thread of `storage`, whose groups reach the data file with these parts.
pub(in crate::store) fn start_over<S: Storage + Send + 'static>(
    storage: S,
    parts: LogParts,
    recovered: Recovered,
) -> Result<Opened, StoreError> {
    let pending = Arc::new(Pending::default());
    if parts.is_full {
        pending.set_health(Health::Full);
    }
    let pages = Pages::new(Arc::clone(&parts.database), Arc::clone(&pending));
    let committer = Committer::new(Arc::clone(&pending), storage);
    let log = RedbLog::start(committer, pending, parts)?;
    Ok(Opened { log: Arc::new(log), pages: Arc::new(pages), recovered })
}

/// What `backend` holds, ready for more, and what of it outlives the broker.
fn open_storage(
    backend: impl StorageBackend,
    dir: Option<&Path>,
    options: Options,
    mut lost: Loss,
) -> Result<(RedbStorage, Recovered), StoreError> {
    let disk::Found { disk, fresh, format, head_damaged } = Disk::open(backend, options.front())?;
    options.blocks.iter().for_each(|blocks| disk.own(Arc::clone(blocks)));
    find_reserve(&disk, dir, &options, fresh);
    if options.repair {
        tree::mend(&disk)?;
    }
    let missing = tree::missing(&disk)?;
    let opened = tree::check(&disk).and_then(|()| tree::fill(&disk));
    if opened.is_ok() && !options.has_free(TREES_BYTES) {
        // What is free in the file may be all there is.
        holes::punch(&disk)?;
    }
    let opened = opened.and_then(|()| open_database(&disk, options.cache_bytes));
    let database = opened.map_err(|error| salvage::tell_if_cut_short(&disk, (missing, format), error))?;
    let mut identity = table::Identity::FRESH;
    if fresh {
        // The commit syncs both.
        journal::begin(&disk, identity.journal)?;
        table::begin_run(&database, identity.next_queue, Totals::default())?;
        disk.complete()?;
    } else {
        if format < FORMAT {
            tracing::info!(
                from = format,
                to = FORMAT,
                "upgrading the data file; older versions cannot read it any more"
            );
        }
        upgrade::tables(&database, format)?;
        identity = table::identify(&database, format, options.repair)?;
        if !identity.clean {
            lost.unknown(recover::replay(&database, &disk, (identity.journal, format), options.repair)?);
            identity = table::identify(&database, format, options.repair)?;
        }
    }
    let mut found = recover::recover(&database, identity, options.repair)?;
    if !fresh {
        table::begin_run(&database, identity.next_queue, found.totals)?;
    }
    if format < FORMAT {
        journal::begin(&disk, identity.journal)?;
    }
    if format < FORMAT || head_damaged {
        disk.make_current()?;
    }
    lost.add(recover::tidy(&database, &mut found)?);
    if options.repair {
        lost.messages(recover::count_damaged(&database)?);
        lost.tell();
    }
    keep_room(&disk, dir, &options);
    let room = Room::new(disk.clone(), options.free_bytes);
    let sweeper = Sweeper::new(found.removed);
    let database = Arc::new(RwLock::new(Some(database)));
    let (cache_bytes, last) = (options.cache_bytes, (identity.journal, identity.entry));
    let storage = RedbStorage::new((database, disk), room, cache_bytes, (found.indexes, sweeper), last)?;
    Ok((storage, found.recovered))
}

/// Finds what is kept for a full disk: in the file or, if that has no place for it, in the folder
/// `dir`.
fn find_reserve(disk: &Disk, dir: Option<&Path>, options: &Options, fresh: bool) {
    let room = disk.reserve_room();
    let found = if room.is_empty() {
        dir.and_then(|dir| reserve_beside(dir, false))
    } else {
        options.blocks.as_ref().map(|blocks| Reserve::of(Arc::clone(blocks), room))
    };
    if let Some(reserve) = found {
        let has_room = options.has_free(reserve.missing() + 2 * TREES_BYTES);
        if has_room || !fresh {
            reserve.recount(has_room);
        }
        disk.rely_on(reserve);
    }
}

/// What keeps room in the folder `dir`, which may be made if it is not there.
fn reserve_beside(dir: &Path, make: bool) -> Option<Reserve> {
    match Reserve::beside(dir, RESERVE_BYTES, make) {
        Ok(reserve) => Some(reserve),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, "no space is reserved for a full disk");
            None
        }
    }
}

/// Fills the reserve while there is room, and makes one in the folder `dir` if the file has no
/// place for it.
fn keep_room(disk: &Disk, dir: Option<&Path>, options: &Options) {
    match (dir, disk.reserve()) {
        (Some(dir), None) if options.has_free(RESERVE_BYTES + 2 * TREES_BYTES) => {
            reserve_beside(dir, true).into_iter().for_each(|reserve| disk.rely_on(reserve));
        }
        (Some(_), None) => tracing::warn!("too little space to reserve some for a full disk"),
        (Some(dir), Some(_)) if !disk.reserve_room().is_empty() => reserve::remove_beside(dir),
        _ => {}
    }
    if let Some(reserve) = disk.reserve() {
        if options.has_free(reserve.missing() + 2 * TREES_BYTES) {
            reserve.refill();
        } else if !options.has_free(STEP) {
            // The operator's socket takes some as well.
            reserve.spend(0);
        }
    }
}

impl Options {
    /// What a new file has before its tables.
    fn front(&self) -> Front {
        let reserve_bytes = self.reserve_bytes.unwrap_or(0);
        Front { journal_bytes: self.journal_bytes, reserve_bytes }
    }

    /// Whether so many bytes are free, as far as that is known.
    fn has_free(&self, bytes: u64) -> bool {
        self.free_bytes.as_ref().is_none_or(|free| free() >= bytes)
    }
}

fn open_database(disk: &Disk, cache_bytes: usize) -> Result<Database, StoreError> {
    Ok(Database::builder().set_cache_size(cache_bytes).create_with_backend(disk.clone())?)
}
