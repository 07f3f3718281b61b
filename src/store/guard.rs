//! Where redb panics, for it does so on some pages that make no sense, this makes a fault of the
//! store of it.

use super::error::{StoreError, message};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    /// This thread is within [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic is redb's, and becomes a [`StoreError`] that tells of it: a panic hook need not.
#[must_use]
pub fn explains(panic: &PanicHookInfo<'_>) -> bool {
    // A panic in a file of this crate is a fault of the broker, whatever it says.
    let root = file!().strip_suffix("store/guard.rs").unwrap_or_default();
    GUARDED.get() && panic.location().is_some_and(|location| !location.file().starts_with(root))
}

/// What `work` comes to; a panic is damage. What it was working on is of no use afterwards.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    outcome.unwrap_or_else(|panic| {
        Err(StoreError::Damaged(format!("a part of it is invalid ({})", message(&*panic))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panics(text: &'static str) -> Result<(), StoreError> {
        guarded(|| panic!("{text}"))
    }

    #[test]
    fn a_panic_is_damage_told_in_one_line() {
        let error = panics("left: 1\n right: 2").unwrap_err();
        assert_eq!(error.to_string(), "the data file is damaged: a part of it is invalid (left: 1 right: 2)");
        assert!(!GUARDED.get(), "what comes after is not the store's");
    }

    #[test]
    fn what_does_not_panic_is_as_it_was() {
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
        let error = guarded(|| Err::<(), _>(StoreError::Stopped)).unwrap_err();
        assert!(matches!(error, StoreError::Stopped));
    }
}
