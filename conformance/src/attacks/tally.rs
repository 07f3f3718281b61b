//! What an attack tried and what it was told, counted from many threads.

use super::wire::Refused;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts of what an attack tried and which answers came, shared by its threads.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

/// The counts themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// How much of what was tried.
    tried: BTreeMap<&'static str, u64>,
    /// How often which refusal came.
    refused: BTreeMap<String, u64>,
    /// What else is worth telling.
    notes: Vec<String>,
}

impl Tally {
    /// So many more of `what` were tried.
    pub(crate) fn tried(&self, what: &'static str, count: u64) {
        *self.lock().tried.entry(what).or_default() += count;
    }

    /// One more was refused.
    pub(crate) fn refused(&self, how: &Refused) {
        self.refused_as(how.to_string(), 1);
    }

    /// So many more were refused in another way than by a code.
    pub(crate) fn refused_as(&self, how: impl Into<String>, count: u64) {
        if count > 0 {
            *self.lock().refused.entry(how.into()).or_default() += count;
        }
    }

    /// Something worth telling.
    pub(crate) fn note(&self, what: String) {
        self.lock().notes.push(what);
    }

    /// What it came to.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// How many things were tried.
    pub(crate) fn all_tried(&self) -> u64 {
        self.tried.values().sum()
    }

    /// How many were refused.
    pub(crate) fn all_refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// What was tried, in one line.
    pub(crate) fn tried_line(&self) -> String {
        list(self.tried.iter())
    }

    /// What was refused, in one line, with what else is worth telling.
    pub(crate) fn refused_line(&self) -> String {
        let refused = list(self.refused.iter());
        let refused = if refused.is_empty() { "-".to_owned() } else { refused };
        std::iter::once(refused).chain(self.notes.iter().cloned()).collect::<Vec<_>>().join("; ")
    }
}

fn list<K: fmt::Display>(counts: impl Iterator<Item = (K, impl fmt::Display)>) -> String {
    counts.map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}
