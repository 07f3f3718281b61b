//! What several rooms of tests need.

pub(crate) mod certificates;
pub(crate) mod disk;
#[path = "../../src/draw.rs"]
pub(crate) mod draw;
pub(crate) mod folder;
pub(crate) mod log;
pub(crate) mod process;
