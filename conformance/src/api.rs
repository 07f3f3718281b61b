//! Asks a broker's management API the same questions as another one's, and keeps what it answers:
//! how it is known that one API is like the other, field by field.
//!
//! | file | holds |
//! |---|---|
//! | `steps` | what is asked, in order: a text, a line for each |
//! | `http` | a plain HTTP client |
//! | `record` | asks, and keeps the answers |
//! | `compare` | where two records differ |

pub mod compare;
pub mod http;
pub mod record;
pub mod steps;

/// What is asked of every broker.
pub const STEPS: &str = include_str!("../api/steps.txt");
