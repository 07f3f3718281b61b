//! Global parameters: set, cleared and listed; and the name of the cluster, which is one of them.

use super::access::{Requirement, Tag};
use super::refusal::{Refusal, RefusalKind};
use super::{Performed, Row};
use crate::auth::user::check_name;
use crate::broker::Broker;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The parameter that is the name of the cluster.
pub const CLUSTER_NAME: &str = "cluster_name";

/// What can be done with global parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ParameterOperation {
    /// A parameter has this value, whatever it had before.
    SetGlobalParameter {
        /// Its name.
        name: String,
        /// Any JSON; a text for the name of the cluster.
        value: Value,
    },
    /// A parameter goes.
    ClearGlobalParameter {
        /// Its name.
        name: String,
    },
    /// All that there are.
    ListGlobalParameters,
}

/// A global parameter, as it is listed and as definitions have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalParameterRow {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl ParameterOperation {
    /// Whether it changes anything.
    pub(super) fn is_change(&self) -> bool {
        !matches!(self, Self::ListGlobalParameters)
    }

    /// What it takes of a user.
    pub(super) fn requirement() -> Requirement<'static> {
        Requirement::Tag(Tag::Policymaker)
    }
}

/// Performs an operation of this group.
///
/// # Errors
/// Why it is refused.
pub(super) fn perform(broker: &Broker, operation: ParameterOperation) -> Result<Performed, Refusal> {
    let there = broker.parameters();
    match operation {
        ParameterOperation::SetGlobalParameter { name, value } => {
            let set = text_of(&name, &value).and_then(|text| there.set(&name, text));
            let (is_new, ticket) = set.map_err(|why| Refusal::new(RefusalKind::Invalid, why))?;
            Ok(Performed::put(is_new, ticket))
        }
        ParameterOperation::ClearGlobalParameter { name } => match there.clear(&name) {
            Some(ticket) => Ok(Performed::done(ticket)),
            None => {
                let known = there.list().into_iter().map(|(name, _)| name);
                Err(Refusal::not_found("global parameter", &name, known))
            }
        },
        ParameterOperation::ListGlobalParameters => {
            Ok(Performed::rows(all(broker).into_iter().map(Row::GlobalParameter)))
        }
    }
}

/// All that there are.
pub(super) fn all(broker: &Broker) -> Vec<GlobalParameterRow> {
    let row = |(name, value): (String, String)| {
        // It was JSON when it was set.
        GlobalParameterRow { name, value: serde_json::from_str(&value).unwrap_or_default() }
    };
    broker.parameters().list().into_iter().map(row).collect()
}

/// The text that is kept of a value.
///
/// # Errors
/// It cannot be the value of that parameter.
pub(super) fn text_of(name: &str, value: &Value) -> Result<String, String> {
    if name == CLUSTER_NAME {
        let given =
            value.as_str().ok_or_else(|| format!("the name of the cluster is a text, not {value}"))?;
        check_name("cluster", given)?;
    }
    Ok(value.to_string())
}

/// The name of the cluster; that of the node, unless somebody has set another one.
#[must_use]
pub fn cluster_name(broker: &Broker) -> String {
    let set = broker.parameters().get(CLUSTER_NAME).and_then(|text| serde_json::from_str(&text).ok());
    set.unwrap_or_else(|| broker.node_name().to_owned())
}
