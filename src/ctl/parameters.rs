//! Commands about parameters, which RabbitMQ keeps by component; here they are limits and operator
//! policies under other names.

use super::error::CtlError;
use super::table::Columns;
use super::{Asks, Request, Shown};
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
    /// List the parameters of no vhost
    ListGlobalParameters,
    /// Set a parameter of no vhost
    SetGlobalParameter {
        /// Name of the parameter
        name: String,
        /// JSON
        value: String,
    },
    /// Clear a parameter of no vhost
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
        let parameter = |component: &str, name: &str| {
            format!("/api/parameters/{}/{}/{}", encoded(component), encoded(vhost), encoded(name))
        };
        let global = |name: &str| format!("/api/global-parameters/{}", encoded(name));
        let (asks, answer) = match self {
            Self::ListParameters => {
                let columns = Columns::fixed(&["component", "name", "value"]).with_json("value");
                (list("parameters"), Shown::ListIn(vhost.to_owned(), columns))
            }
            Self::SetParameter { component, name, value } => {
                let body = json!({
                    "component": &component, "vhost": vhost, "name": &name, "value": parsed(&value)?,
                });
                (Asks::Path(Method::PUT, parameter(&component, &name), Some(body)), Shown::Done(""))
            }
            Self::ClearParameter { component, name } => {
                (Asks::Path(Method::DELETE, parameter(&component, &name), None), Shown::Done(""))
            }
            Self::ListGlobalParameters => {
                let columns = Columns::fixed(&["name", "value"]).with_json("value");
                (list("global-parameters"), Shown::List(columns))
            }
            Self::SetGlobalParameter { name, value } => {
                let body = json!({"name": &name, "value": parsed(&value)?});
                (Asks::Path(Method::PUT, global(&name), Some(body)), Shown::Done(""))
            }
            Self::ClearGlobalParameter { name } => {
                (Asks::Path(Method::DELETE, global(&name), None), Shown::Done(""))
            }
            Self::SetClusterName { name } => {
                let path = "/api/cluster-name".to_owned();
                (Asks::Path(Method::PUT, path, Some(json!({"name": name}))), Shown::Done(""))
            }
        };
        Ok(Request { asks, answer })
    }
}

fn list(path: &str) -> Asks {
    Asks::Path(Method::GET, format!("/api/{path}"), None)
}

fn parsed(value: &str) -> Result<Value, CtlError> {
    serde_json::from_str(value)
        .map_err(|error| CtlError::Definition(format!("the value is not JSON: {error}")))
}
