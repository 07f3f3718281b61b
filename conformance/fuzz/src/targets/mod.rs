//! One function a target: it takes any bytes, and panics when what it checks does not hold for
//! them.
//!
//! `cargo fuzz` looks for such bytes as long as one lets it; the broker's own tests run each target
//! for a bounded number of seeded inputs, and for every input that ever failed.

pub mod formats;
pub mod frames;
pub mod journal;
pub mod methods;
pub mod records;
pub mod rows;
mod samples;
pub mod session;
pub mod tables;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of its file here, and of its folder of inputs.
    pub name: &'static str,
    /// The function itself.
    pub check: fn(&[u8]),
    /// Sound inputs, from which others are made.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 8] = [
    Target { name: "frames", check: frames::check, samples: frames::samples },
    Target { name: "methods", check: methods::check, samples: methods::samples },
    Target { name: "tables", check: tables::check, samples: tables::samples },
    Target { name: "session", check: session::check, samples: session::samples },
    Target { name: "records", check: records::check, samples: records::samples },
    Target { name: "formats", check: formats::check, samples: formats::samples },
    Target { name: "journal", check: journal::check, samples: journal::samples },
    Target { name: "rows", check: rows::check, samples: rows::samples },
];
