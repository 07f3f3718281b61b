//! All policies, and which of them are in effect for an object.

use super::key::KEYS;
use super::{Definition, Object, Policy, PolicyChange, Rank, compile};
use crate::auth::pattern::Pattern;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// All policies, indexed to find the one in effect for an object.
#[derive(Debug, Default)]
pub struct Book {
    policies: BTreeMap<(Rank, String), Vec<Entry>>,
}

/// A policy ready for use; those of a rank and vhost are in the order in which they are looked at.
#[derive(Debug)]
struct Entry {
    policy: Policy,
    pattern: Pattern,
}

/// What is in effect for an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InEffect {
    /// The name of the user's policy.
    pub policy: Option<String>,
    /// The name of the operator's.
    pub operator: Option<String>,
    /// What both amount to.
    pub definition: Definition,
}

impl Book {
    /// Makes a change.
    pub fn apply(&mut self, change: PolicyChange) {
        let (rank, vhost, name, policy) = match change {
            PolicyChange::Put(rank, policy) => {
                (rank, policy.vhost.clone(), policy.name.clone(), Some(policy))
            }
            PolicyChange::Delete { rank, vhost, name } => (rank, vhost, name, None),
        };
        let entries = self.policies.entry((rank, vhost)).or_default();
        entries.retain(|entry| entry.policy.name != name);
        if let Some(policy) = policy {
            // What was checked compiles; a pattern that came from elsewhere and does not is for
            // nothing.
            let pattern = compile(&policy.pattern).unwrap_or(Pattern::Nothing);
            entries.push(Entry { policy, pattern });
            // RabbitMQ leaves open which of two with the same priority it is.
            entries.sort_by(|one, other| one.order().cmp(&other.order()));
        }
        self.policies.retain(|_, entries| !entries.is_empty());
    }

    /// All policies of a rank: by vhost, and there the highest priority first.
    pub fn policies(&self, rank: Rank) -> impl Iterator<Item = &Policy> {
        let of_rank = self.policies.iter().filter(move |((of, _), _)| *of == rank);
        of_rank.flat_map(|(_, entries)| entries.iter().map(|entry| &entry.policy))
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// What is in effect for an object.
    #[must_use]
    pub fn in_effect(&self, vhost: &str, object: Object, name: &str) -> InEffect {
        if self.policies.is_empty() {
            return InEffect::default();
        }
        let chosen = |rank| self.chosen(rank, vhost, object, name);
        let (user, operator) = (chosen(Rank::User), chosen(Rank::Operator));
        let name = |policy: Option<&Policy>| policy.map(|policy| policy.name.clone());
        let definition =
            merged(user.map(|policy| &policy.definition), operator.map(|policy| &policy.definition));
        InEffect { policy: name(user), operator: name(operator), definition }
    }

    fn chosen(&self, rank: Rank, vhost: &str, object: Object, name: &str) -> Option<&Policy> {
        let entries = self.policies.get(&(rank, vhost.to_owned()))?;
        let entry = entries
            .iter()
            .find(|entry| entry.policy.is_for(object) && entry.pattern.matches(name.as_bytes()));
        entry.map(|entry| &entry.policy)
    }
}

impl Entry {
    fn order(&self) -> (Reverse<i64>, &str) {
        (Reverse(self.policy.priority), &self.policy.name)
    }
}

/// What a user's definition and an operator's amount to.
fn merged(user: Option<&Definition>, operator: Option<&Definition>) -> Definition {
    let mut merged = user.cloned().unwrap_or_default();
    for (name, value) in operator.into_iter().flatten() {
        let merge = KEYS.iter().find(|key| key.name == *name).and_then(|key| key.merge);
        let value = match (merged.get(name), merge) {
            (Some(users), Some(merge)) => merge.of(users, value),
            _ => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}
