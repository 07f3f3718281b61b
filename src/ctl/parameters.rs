//! Commands about parameters, which RabbitMQ keeps by component; here they are limits and operator
//! policies under other names.

use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
use crate::admin::Operation;
use crate::admin::json_fault::in_words;
use crate::admin::parameters::ParameterOperation;
use crate::api_client::{Method, encoded};
use clap::Subcommand;
use serde_json::{Value, json};

/// The commands.
#[derive(Subcommand, Debug, Clone)]
#[command(rename_all = "snake_case")]
pub enum Command {
    /// List the parameters of a vhost: vhost-limits and operator_policy
    ListParameters,
    /// Set a parameter
    SetParameter {
        /// Component: vhost-limits or operator_policy
        component: String,
        /// Name of the parameter
        name: String,
        /// JSON
        value: String,
    },
    /// Clear a parameter
    ClearParameter {
        /// Component: vhost-limits or operator_policy
        component: String,
        /// Name of the parameter
        name: String,
    },
    /// List global parameters
    ListGlobalParameters,
    /// Set a global parameter
    SetGlobalParameter {
        /// Name of the parameter
        name: String,
        /// JSON
        value: String,
    },
    /// Clear a global parameter
    ClearGlobalParameter {
        /// Name of the parameter
        name: String,
    },
    /// Set the name of the cluster
    SetClusterName {
        /// Name
        name: String,
    },
}

impl Command {
    /// What it asks for, in that vhost.
    ///
    /// # Errors
    /// The value is not JSON.
    pub fn request(self, vhost: &str) -> Result<Request, CtlError> {
        let parameter = |method: Method, component: String, name: String, body: Option<Value>| {
            let path =
                format!("/api/parameters/{}/{}/{}", encoded(&component), encoded(vhost), encoded(&name));
            let missing = format!("there is no parameter '{name}' of component '{component}'");
            Asks::PathIn { method, path, body, vhost: vhost.to_owned(), missing }
        };
        let (asks, answer) = match self {
            Self::ListParameters => {
                let columns = Columns::fixed(&["component", "name", "value"]).with_json("value");
                let asks = Asks::PathIn {
                    method: Method::GET,
                    path: "/api/parameters".to_owned(),
                    body: None,
                    vhost: vhost.to_owned(),
                    missing: "there are no parameters".to_owned(),
                };
                (asks, Shown::ListIn(vhost.to_owned(), columns))
            }
            Self::SetParameter { component, name, value } => {
                let body = json!({
                    "component": &component, "vhost": vhost, "name": &name, "value": parsed(&value)?,
                });
                (parameter(Method::PUT, component, name, Some(body)), Shown::Done(""))
            }
            Self::ClearParameter { component, name } => {
                (parameter(Method::DELETE, component, name, None), Shown::Done(""))
            }
            Self::ListGlobalParameters => {
                let columns = Columns::fixed(&["name", "value"]).with_json("value");
                (global(ParameterOperation::ListGlobalParameters), Shown::List(columns))
            }
            Self::SetGlobalParameter { name, value } => {
                let value = parsed(&value)?;
                (global(ParameterOperation::SetGlobalParameter { name, value }), Shown::Done(""))
            }
            Self::ClearGlobalParameter { name } => {
                (global(ParameterOperation::ClearGlobalParameter { name }), Shown::Done(""))
            }
            Self::SetClusterName { name } => {
                let path = "/api/cluster-name".to_owned();
                (Asks::Path(Method::PUT, path, Some(json!({"name": name}))), Shown::Done(""))
            }
        };
        Ok(Request { asks, answer })
    }
}

fn global(operation: ParameterOperation) -> Asks {
    Asks::Operation(Operation::Parameters(operation))
}

fn parsed(value: &str) -> Result<Value, CtlError> {
    serde_json::from_str(value)
        .map_err(|error| CtlError::Definition(format!("the value is not JSON: {}", in_words(&error))))
}
