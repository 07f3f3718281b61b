//! What a run of the suite against one broker came to.

use crate::run::Failure;
use crate::run::target::Target;
use crate::script::level::Level;
use crate::script::{Differs, Script};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a case came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker did all that the script says.
    Passed,
    /// It did not.
    Failed(Box<Failure>),
    /// It was not run, for this reason.
    Skipped(String),
}

/// A case that was run.
#[derive(Debug)]
pub struct Case<'a> {
    /// Its script.
    pub script: &'a Script,
    /// What it came to.
    pub outcome: Outcome,
    /// Why this broker was held against an expectation of its own. None when it was held against
    /// everybody's.
    pub differs: Option<&'a Differs>,
    /// How long it took.
    pub took: Duration,
}

/// All cases against one broker.
#[derive(Debug)]
pub struct Run<'a> {
    /// The broker.
    pub target: Target,
    /// In the order of the scripts.
    pub cases: Vec<Case<'a>>,
    /// How long all of them took.
    pub took: Duration,
}

/// Counts of outcomes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Cases that passed, those that differ among them.
    pub passed: usize,
    /// Of these, cases in which the broker does otherwise on purpose or by age, as the script says.
    pub differing: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that were not run.
    pub skipped: usize,
}

impl Tally {
    /// Counts one more.
    fn add(&mut self, case: &Case<'_>) {
        match case.outcome {
            Outcome::Passed => {
                self.passed += 1;
                self.differing += usize::from(case.differs.is_some());
            }
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }

    /// Of all `cases`.
    #[must_use]
    pub fn of(cases: &[Case<'_>]) -> Self {
        let mut tally = Self::default();
        cases.iter().for_each(|case| tally.add(case));
        tally
    }

    /// Of those of `cases` that hold to `level`.
    #[must_use]
    pub fn of_level(cases: &[Case<'_>], level: Level) -> Self {
        let mut tally = Self::default();
        cases.iter().filter(|case| case.script.head.level == level).for_each(|case| tally.add(case));
        tally
    }

    /// All that were counted.
    #[must_use]
    pub fn total(self) -> usize {
        self.passed + self.failed + self.skipped
    }

    /// Of each class of `cases`, by its name.
    #[must_use]
    pub fn by_class(cases: &[Case<'_>]) -> BTreeMap<String, Self> {
        let mut classes: BTreeMap<String, Self> = BTreeMap::new();
        for case in cases {
            classes.entry(case.script.class().to_owned()).or_default().add(case);
        }
        classes
    }

    /// Of each class and level of `cases`.
    #[must_use]
    pub fn by_class_and_level(cases: &[Case<'_>]) -> BTreeMap<(String, Level), Self> {
        let mut parts: BTreeMap<(String, Level), Self> = BTreeMap::new();
        for case in cases {
            let part = (case.script.class().to_owned(), case.script.head.level);
            parts.entry(part).or_default().add(case);
        }
        parts
    }
}

impl Run<'_> {
    /// The broker's name and version.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.target.product, self.target.version)
    }
}
