//! What is in an operation and may be in no log: it is written as it is where the operation is
//! sent, and as `***` where it is described. The type of a secret sees to it, so that no operation
//! can forget to hide one.

use serde::{Serialize, Serializer};
use std::cell::Cell;

/// What is written in the place of a secret.
pub(super) const HIDDEN: &str = "***";

thread_local! {
    /// Whether this thread describes an operation now.
    static HIDES: Cell<bool> = const { Cell::new(false) };
}

/// Ends the hiding, however `hidden` ends.
struct Hiding;

impl Drop for Hiding {
    fn drop(&mut self) {
        HIDES.set(false);
    }
}

/// What `write` makes, with no secret in it that it serializes.
pub(super) fn hidden<T>(write: impl FnOnce() -> T) -> T {
    HIDES.set(true);
    let _ends = Hiding;
    write()
}

/// For `serde(serialize_with)`.
///
/// # Errors
/// As the serializer.
pub(super) fn serialize<T: Serialize, S: Serializer>(secret: &T, serializer: S) -> Result<S::Ok, S::Error> {
    if HIDES.get() { serializer.serialize_str(HIDDEN) } else { secret.serialize(serializer) }
}
