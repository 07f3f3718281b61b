//! Of the tests' `session`: sentences to bytes.

#[expect(dead_code, reason = "the targets say more than they listen")]
#[path = "../../../tests/session/wire.rs"]
pub(crate) mod wire;
