//! Policies of both ranks: set, cleared and listed, and what they say as JSON has it.

use super::access::{Requirement, Tag};
use super::refusal::{Refusal, RefusalKind};
use super::value::{Arguments, Value};
use super::{Caller, Performed, Row, Told, find};
use crate::broker::Broker;
use crate::broker::policies::PolicyError;
use crate::broker::vhost::apply_policies::PolicyDifference;
use crate::ids::Ticket;
use crate::near;
use crate::policy::key::KEYS;
use crate::policy::{self, ApplyTo, Definition, Object, Policy, Rank};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Queues and exchanges that a preview shows, at most.
const PREVIEWED_MAX: usize = 500;

/// What can be done with policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PolicyOperation {
    /// A user's policy, in place of any of that name.
    SetPolicy(PolicySetting),
    /// An operator's, which a user's cannot exceed.
    SetOperatorPolicy(PolicySetting),
    /// A user's policy goes.
    ClearPolicy {
        /// The virtual host.
        vhost: String,
        /// The name of the policy.
        policy: String,
    },
    /// An operator's goes.
    ClearOperatorPolicy {
        /// The virtual host.
        vhost: String,
        /// The name of the policy.
        policy: String,
    },
    /// What would change if that policy were set; nothing does.
    PreviewPolicy(PolicySetting),
    /// All users' policies of a vhost.
    ListPolicies {
        /// The virtual host.
        vhost: String,
    },
    /// All operators' policies of a vhost.
    ListOperatorPolicies {
        /// The virtual host.
        vhost: String,
    },
    /// Users' policies of a vhost that match an object, whether it exists or not; the first one is
    /// in effect.
    ListPoliciesThatMatch {
        /// The virtual host.
        vhost: String,
        /// The name of the object.
        name: String,
        /// What it is: `classic_queue`, `quorum_queue`, `stream` or `exchange`.
        object: ObjectKind,
    },
}

/// What a policy can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A classic queue.
    ClassicQueue,
    /// A quorum queue.
    QuorumQueue,
    /// A stream.
    Stream,
    /// An exchange.
    Exchange,
}

/// A policy, as it is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySetting {
    /// The virtual host.
    pub vhost: String,
    /// Its name.
    pub policy: String,
    /// A regular expression; the policy is for objects in whose names it is found.
    pub pattern: String,
    /// The kinds of objects that it is for.
    pub apply_to: String,
    /// Of several policies for an object the one with the highest is in effect.
    pub priority: i64,
    /// What it says.
    pub definition: Arguments,
}

impl PolicySetting {
    /// The end of a sentence that asks for keys that may have been meant by those that there are
    /// none of.
    #[must_use]
    pub fn did_you_mean(&self) -> String {
        let known = || KEYS.iter().map(|key| key.name);
        let unknown = self.definition.keys().filter(|name| !known().any(|key| key == **name));
        unknown.map(|name| near::did_you_mean(name, known())).collect()
    }
}

/// A policy, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// Its vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// Found in the names of what it is for.
    pub pattern: String,
    /// The kinds of objects that it is for.
    #[serde(rename = "apply-to")]
    pub apply_to: String,
    /// What it says.
    pub definition: Arguments,
    /// The highest is in effect.
    pub priority: i64,
}

/// What a policy would change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyPreview {
    /// Queues, 500 at most together with the exchanges.
    pub queues: Vec<PreviewedObject>,
    /// Exchanges.
    pub exchanges: Vec<PreviewedObject>,
    /// How many there are.
    pub total: usize,
}

/// What a policy would change for a queue or exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewedObject {
    /// Its name.
    pub name: String,
    /// What policies of both ranks amount to.
    pub before: Arguments,
    /// What they would.
    pub after: Arguments,
    /// The user's policy in effect.
    pub policy_before: Option<String>,
    /// The one that would be.
    pub policy_after: Option<String>,
}

impl PolicyOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        !matches!(
            self,
            Self::PreviewPolicy(_)
                | Self::ListPolicies { .. }
                | Self::ListOperatorPolicies { .. }
                | Self::ListPoliciesThatMatch { .. }
        )
    }

    /// What it takes of a user.
    pub(super) fn requirement(&self) -> Requirement<'_> {
        match self {
            Self::SetPolicy(PolicySetting { vhost, .. })
            | Self::PreviewPolicy(PolicySetting { vhost, .. })
            | Self::ClearPolicy { vhost, .. } => Requirement::VHost(Tag::Policymaker, vhost),
            Self::SetOperatorPolicy(_) | Self::ClearOperatorPolicy { .. } => {
                Requirement::Tag(Tag::Administrator)
            }
            Self::ListPolicies { vhost }
            | Self::ListOperatorPolicies { vhost }
            | Self::ListPoliciesThatMatch { vhost, .. } => Requirement::VHost(Tag::Management, vhost),
        }
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(
    broker: &Broker,
    operation: PolicyOperation,
    caller: &Caller,
) -> Result<Performed, Refusal> {
    let changed = match operation {
        PolicyOperation::SetPolicy(setting) => set(broker, Rank::User, setting, caller),
        PolicyOperation::SetOperatorPolicy(setting) => set(broker, Rank::Operator, setting, caller),
        PolicyOperation::ClearPolicy { vhost, policy } => clear(broker, Rank::User, &vhost, &policy, caller),
        PolicyOperation::ClearOperatorPolicy { vhost, policy } => {
            clear(broker, Rank::Operator, &vhost, &policy, caller)
        }
        PolicyOperation::PreviewPolicy(setting) => return preview(broker, setting),
        PolicyOperation::ListPolicies { vhost } => return list(broker, Rank::User, &vhost),
        PolicyOperation::ListOperatorPolicies { vhost } => return list(broker, Rank::Operator, &vhost),
        PolicyOperation::ListPoliciesThatMatch { vhost, name, object } => {
            return list_matching(broker, &vhost, &name, object);
        }
    };
    changed.map(Performed::done)
}

fn set(broker: &Broker, rank: Rank, setting: PolicySetting, caller: &Caller) -> Result<Ticket, Refusal> {
    let policy = policy_of(setting)?;
    let vhost = policy.vhost.clone();
    let set = broker.policies().set(rank, policy, caller.now);
    set.map_err(|error| refusal(broker, rank, &vhost, error))
}

fn policy_of(setting: PolicySetting) -> Result<Policy, Refusal> {
    let PolicySetting { vhost, policy: name, pattern, apply_to, priority, definition } = setting;
    let apply_to = ApplyTo::named(&apply_to).map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
    let definition = definition_of(&definition);
    Ok(Policy { vhost, name, pattern, apply_to, priority, definition })
}

fn preview(broker: &Broker, setting: PolicySetting) -> Result<Performed, Refusal> {
    let policy = policy_of(setting)?;
    let vhost = policy.vhost.clone();
    let found = broker.policies().preview(Rank::User, policy);
    let mut found = found.map_err(|error| refusal(broker, Rank::User, &vhost, error))?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let mut preview = PolicyPreview { total: found.len(), ..PolicyPreview::default() };
    for PolicyDifference { name, is_queue, before, after } in found.into_iter().take(PREVIEWED_MAX) {
        let shown = PreviewedObject {
            name: name.to_string(),
            before: arguments_of(&before.definition),
            after: arguments_of(&after.definition),
            policy_before: before.policy,
            policy_after: after.policy,
        };
        if is_queue { &mut preview.queues } else { &mut preview.exchanges }.push(shown);
    }
    Ok(Performed::told(Told::PolicyPreview(preview), Ticket(0)))
}

fn clear(broker: &Broker, rank: Rank, vhost: &str, name: &str, caller: &Caller) -> Result<Ticket, Refusal> {
    let cleared = broker.policies().delete(rank, vhost, name, caller.now);
    cleared.map_err(|error| refusal(broker, rank, vhost, error))
}

fn list(broker: &Broker, rank: Rank, vhost: &str) -> Result<Performed, Refusal> {
    find::vhost(broker, vhost)?;
    let mut policies = broker.policies().list(rank);
    policies.retain(|policy| policy.vhost == vhost);
    Ok(Performed::rows(policies.into_iter().map(|policy| Row::Policy(row(policy)))))
}

fn list_matching(broker: &Broker, vhost: &str, name: &str, object: ObjectKind) -> Result<Performed, Refusal> {
    find::vhost(broker, vhost)?;
    let object = match object {
        ObjectKind::ClassicQueue => Object::ClassicQueue,
        ObjectKind::QuorumQueue => Object::QuorumQueue,
        ObjectKind::Stream => Object::Stream,
        ObjectKind::Exchange => Object::Exchange,
    };
    let mut policies = broker.policies().list(Rank::User);
    policies.retain(|policy| policy.vhost == vhost && policy.matches(object, name));
    policies.sort_by_key(|policy| Reverse(policy.priority));
    Ok(Performed::rows(policies.into_iter().map(|policy| Row::Policy(row(policy)))))
}

fn row(policy: Policy) -> PolicyRow {
    PolicyRow {
        vhost: policy.vhost,
        name: policy.name,
        pattern: policy.pattern,
        apply_to: policy.apply_to.name().to_owned(),
        definition: arguments_of(&policy.definition),
        priority: policy.priority,
    }
}

fn refusal(broker: &Broker, rank: Rank, vhost: &str, error: PolicyError) -> Refusal {
    match error {
        PolicyError::NoSuchPolicy(name) => {
            let what = if rank == Rank::User { "policy" } else { "operator policy" };
            let mut known = broker.policies().list(rank);
            known.retain(|policy| policy.vhost == vhost);
            Refusal::not_found(what, &name, known.iter().map(|policy| &policy.name))
        }
        PolicyError::NoSuchVHost(name) => Refusal::no_vhost(broker, &name),
        PolicyError::Invalid(why) => Refusal::new(RefusalKind::Invalid, why),
    }
}

/// What a policy says that is given as JSON. What no key takes is kept to be shown in a refusal.
pub(super) fn definition_of(arguments: &Arguments) -> Definition {
    arguments.iter().map(|(name, value)| (name.clone(), policy_value(value))).collect()
}

/// As [`definition_of`], the other way.
pub(super) fn arguments_of(definition: &Definition) -> Arguments {
    let value = |value: &policy::Value| match value {
        policy::Value::Integer(number) => Value::Signed(*number),
        policy::Value::Text(text) => Value::Text(text.clone()),
        policy::Value::Integers(numbers) => Value::List(numbers.iter().copied().map(Value::Signed).collect()),
        policy::Value::Other(shown) => Value::Text(shown.clone()),
    };
    definition.iter().map(|(name, of)| (name.clone(), value(of))).collect()
}

fn policy_value(value: &Value) -> policy::Value {
    let integer = |value: &Value| match value {
        Value::Signed(number) => Some(*number),
        _ => None,
    };
    match value {
        Value::Signed(number) => policy::Value::Integer(*number),
        Value::Text(text) => policy::Value::Text(text.clone()),
        Value::List(list) => list
            .iter()
            .map(integer)
            .collect::<Option<_>>()
            .map_or_else(|| policy::Value::Other(term(value)), policy::Value::Integers),
        Value::Nothing | Value::Bool(_) | Value::Unsigned(_) | Value::Float(_) | Value::Table(_) => {
            policy::Value::Other(term(value))
        }
    }
}

/// As the Erlang term that RabbitMQ shows.
fn term(value: &Value) -> String {
    match value {
        Value::Nothing => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Signed(_) | Value::Text(_) => policy_value(value).to_string(),
        Value::List(list) => format!("[{}]", list.iter().map(term).collect::<Vec<_>>().join(",")),
        Value::Table(table) => {
            let entries = table.iter().map(|(name, value)| format!("<<{name:?}>> => {}", term(value)));
            format!("#{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a refusal shows of a value; and what a key may be comes back as it was given.
    #[track_caller]
    fn check(value: Value, expected: &str) {
        let arguments = Arguments::from([("k".to_owned(), value)]);
        let definition = definition_of(&arguments);
        assert_eq!(definition["k"].to_string(), expected);
        if !matches!(definition["k"], policy::Value::Other(_)) {
            assert_eq!(arguments_of(&definition), arguments);
        }
    }

    #[test]
    fn values_are_shown_as_rabbitmq_shows_them() {
        use Value::{List, Signed, Table};
        let text = |text: &str| Value::Text(text.to_owned());
        check(Signed(i64::MIN), "-9223372036854775808");
        check(Value::Unsigned(u64::MAX), "18446744073709551615");
        check(text("a\"b"), r#"<<"a\"b">>"#);
        check(text(""), "<<>>");
        check(List(Vec::new()), "[]");
        check(List(vec![Signed(1000), Signed(0)]), "[1000,0]");
        check(List(vec![Signed(1), text("a")]), r#"[1,<<"a">>]"#);
        check(List(vec![List(vec![Signed(1)])]), "[[1]]");
        check(Value::Bool(true), "true");
        check(Value::Nothing, "null");
        check(Value::Float(1.5), "1.5");
        check(Table(Arguments::new()), "#{}");
        let entries = [("a".to_owned(), Signed(1)), ("b".to_owned(), List(vec![Value::Nothing]))];
        check(Table(entries.into()), r#"#{<<"a">> => 1,<<"b">> => [null]}"#);
    }
}
