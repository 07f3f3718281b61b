//! Why the store cannot be opened or cannot go on.

use super::FORMAT;
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A fault of the store. None is a peer's fault: after one that is not about opening, nothing may
/// be confirmed.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has the data folder open.
    InUse {
        /// The folder.
        place: String,
    },
    /// The file is not a Leveret data file; it was not touched.
    NotOurs {
        /// The file.
        place: String,
    },
    /// The file is a copy for [`crate::store::restore`]; it was not touched.
    Copy {
        /// The file.
        place: String,
    },
    /// The file was written by a newer version of Leveret, which keeps its data in another way; it
    /// was not touched.
    WrongVersion {
        /// The file.
        place: String,
        /// Its format.
        found: u64,
    },
    /// The folder holds the data of a node of a cluster; it was not touched.
    OfCluster {
        /// The folder.
        place: String,
    },
    /// The file is that of a broker without a cluster; it was not touched.
    NotOfCluster,
    /// This node does not lead its cluster any more: what was to be committed may or may not be.
    NotLeading,
    /// The file contradicts itself.
    Damaged(String),
    /// The file was deleted, moved or replaced under the running broker: what is written to it is
    /// lost.
    Gone {
        /// The file.
        place: String,
    },
    /// Reading or writing failed.
    Io(io::Error),
    /// Not the store: the broker cannot go on.
    BrokerFault(String),
    /// The store was closed, or failed before.
    Stopped,
}

/// The data file cannot be found any more: what an
/// [`io::Error`] has in it until it is a [`StoreError`].
#[derive(Debug)]
pub(super) struct Gone(pub(super) PathBuf);

/// Somebody has made the data file shorter: what an [`io::Error`] has in it until it is a
/// [`StoreError`].
#[derive(Debug)]
pub(super) struct CutShort {
    /// Bytes that it has.
    pub(super) left: u64,
    /// Bytes that it should have.
    pub(super) of: u64,
}

impl StoreError {
    /// Whether the disk (or the user's share of it) is full: this passes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io(error) if is_full(error))
    }

    /// A thread or task panicked without which the broker cannot go on.
    #[must_use]
    pub fn panicked(who: &str, panic: &(dyn Any + Send)) -> Self {
        Self::BrokerFault(format!("{who} panicked: {}", message(panic)))
    }

    /// Whether it is no reason to give up: the disk is full, or somebody else found what is wrong
    /// and sees to it.
    pub(super) fn passes(&self) -> bool {
        self.is_full() || matches!(self, Self::Stopped)
    }

    /// Says where it happened, for the faults that do not know.
    pub(super) fn at(self, at: &str) -> Self {
        match self {
            Self::InUse { .. } => Self::InUse { place: at.to_owned() },
            Self::NotOurs { .. } => Self::NotOurs { place: at.to_owned() },
            Self::Copy { .. } => Self::Copy { place: at.to_owned() },
            Self::WrongVersion { found, .. } => Self::WrongVersion { place: at.to_owned(), found },
            Self::Io(error) => Self::Io(io::Error::new(error.kind(), format!("{at}: {error}"))),
            Self::OfCluster { place } => Self::OfCluster { place },
            Self::NotOfCluster => Self::NotOfCluster,
            Self::NotLeading => Self::NotLeading,
            Self::Damaged(what) => Self::Damaged(format!("{at}: {what}")),
            Self::Gone { place } => Self::Gone { place },
            Self::BrokerFault(what) => Self::BrokerFault(what),
            Self::Stopped => Self::Stopped,
        }
    }

    /// Tells the operator of a repair where one was not tried.
    pub(super) fn advise(self, repaired: bool) -> Self {
        match self {
            Self::Damaged(what) if !repaired && !what.contains("--repair") => {
                Self::Damaged(format!("{what}; `leveret serve --repair` starts with what can be read"))
            }
            other => other,
        }
    }

    /// Whether what was confirmed before can be relied on to be on disk nevertheless.
    #[must_use]
    pub fn keeps_what_was_confirmed(&self) -> bool {
        !matches!(self, Self::Gone { .. } | Self::Damaged(_))
    }
}

/// Whether an error says that there is no room on the disk, or none for this user.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { place } => write!(f, "the data folder {place} is in use by another process"),
            Self::NotOurs { place } => write!(f, "{place} is not a Leveret data file; it was left as it is"),
            Self::Copy { place } => write!(
                f,
                "{place} is a copy that leveret ctl backup made: move it away and run leveret restore"
            ),
            Self::WrongVersion { place, found } => write!(
                f,
                "{place} has data format {found}, and this version of Leveret reads the formats 1 to {}: start the \
                 version that wrote it, or a newer one; the file was left as it is",
                FORMAT
            ),
            Self::OfCluster { place } => write!(
                f,
                "the data folder {place} is that of a node of a cluster, and without the others what it holds is \
                 unknown; it was left as it is"
            ),
            Self::NotOfCluster => {
                write!(
                    f,
                    "the data is that of a broker without a cluster: a node starts with an empty folder"
                )
            }
            Self::NotLeading => write!(f, "this node does not lead its cluster any more"),
            Self::Damaged(what) => write!(f, "the data file is damaged: {what}"),
            Self::Gone { place } => write!(
                f,
                "the data file {place} is gone: it was deleted, moved or replaced, or its disk was unmounted"
            ),
            Self::Io(error) => write!(f, "cannot read or write the data: {error}"),
            Self::BrokerFault(what) => write!(f, "internal error of the broker: {what}"),
            Self::Stopped => write!(f, "the store has stopped"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is gone", self.0.display())
    }
}

impl Error for Gone {}

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it was cut short while it was in use: {} of {} bytes are left", self.left, self.of)
    }
}

impl Error for CutShort {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if let Some(Gone(path)) = error.get_ref().and_then(|error| error.downcast_ref()) {
            return Self::Gone { place: path.display().to_string() };
        }
        match error.get_ref().and_then(|error| error.downcast_ref::<CutShort>()) {
            Some(cut) => Self::Damaged(cut.to_string()),
            None => Self::Io(error),
        }
    }
}

/// What a panic says, in one line.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is given");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
