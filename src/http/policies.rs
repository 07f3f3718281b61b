//! Policies of both ranks, and parameters, which is how RabbitMQ keeps operator policies and limits
//! of virtual hosts.

use super::answer::{Fault, done, put as answer_put};
use super::call::Call;
use super::given::{check_given, check_known};
use super::list;
use super::route::{Route, delete, get, post, put};
use crate::admin::json_fault::in_words;
use crate::admin::parameters::ParameterOperation;
use crate::admin::policies::{PolicyOperation, PolicyRow, PolicySetting};
use crate::admin::value::Arguments;
use crate::admin::vhosts::{VHostLimitsChange, VHostOperation};
use crate::admin::{Operation, Row, Rows, Told};
use crate::policy::Rank;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/policies", "List all policies", users),
        get("/api/policies/{vhost}", "List the policies in a virtual host", users),
        get("/api/policies/{vhost}/{name}", "Get a policy", user),
        put("/api/policies/{vhost}/{name}", "Create or update a policy", set_user),
        delete("/api/policies/{vhost}/{name}", "Delete a policy", clear_user),
        post("/api/policies/{vhost}/{name}/preview", "Preview what a policy would change", preview),
        get("/api/operator-policies", "List all operator policies", operators),
        get("/api/operator-policies/{vhost}", "List the operator policies in a virtual host", operators),
        get("/api/operator-policies/{vhost}/{name}", "Get an operator policy", operator),
        put("/api/operator-policies/{vhost}/{name}", "Create or update an operator policy", set_operator),
        delete("/api/operator-policies/{vhost}/{name}", "Delete an operator policy", clear_operator),
        get("/api/parameters", "List all parameters", parameters),
        get("/api/parameters/{component}", "List the parameters of a component", parameters),
        get(
            "/api/parameters/{component}/{vhost}",
            "List the parameters of a component in a virtual host",
            parameters,
        ),
        get("/api/parameters/{component}/{vhost}/{name}", "Get a parameter", parameter),
        put("/api/parameters/{component}/{vhost}/{name}", "Create or update a parameter", set_parameter),
        delete("/api/parameters/{component}/{vhost}/{name}", "Delete a parameter", clear_parameter),
        get("/api/global-parameters", "List all global parameters", global_parameters),
        get("/api/global-parameters/{name}", "Get a global parameter", global_parameter),
        put("/api/global-parameters/{name}", "Create or update a global parameter", set_global_parameter),
        delete("/api/global-parameters/{name}", "Delete a global parameter", clear_global_parameter),
    ]
}

fn operation(of: PolicyOperation) -> Operation {
    Operation::Policies(of)
}

fn policy(row: Row) -> Option<PolicyRow> {
    if let Row::Policy(row) = row { Some(row) } else { None }
}

fn shown(row: &PolicyRow) -> Value {
    let PolicyRow { vhost, name, pattern, apply_to, definition, priority } = row;
    json!({
        "vhost": vhost,
        "name": name,
        "pattern": pattern,
        "apply-to": apply_to,
        "definition": definition,
        "priority": priority,
    })
}

async fn rows(call: &Call, rank: Rank) -> Result<Rows, Fault> {
    call.rows_in(|vhost| operation(listing(rank, vhost))).await
}

fn listing(rank: Rank, vhost: String) -> PolicyOperation {
    match rank {
        Rank::User => PolicyOperation::ListPolicies { vhost },
        Rank::Operator => PolicyOperation::ListOperatorPolicies { vhost },
    }
}

async fn users(call: Call) -> Result<Response, Fault> {
    let rows = rows(&call, Rank::User).await?;
    list::answer(&call, rows.filter_map(policy).map(|row| shown(&row))).await
}

async fn operators(call: Call) -> Result<Response, Fault> {
    let rows = rows(&call, Rank::Operator).await?;
    list::answer(&call, rows.filter_map(policy).map(|row| shown(&row))).await
}

async fn find(call: &Call, rank: Rank) -> Result<Option<PolicyRow>, Fault> {
    let name = call.name("name");
    Ok(rows(call, rank).await?.filter_map(policy).find(|row| row.name == name))
}

async fn user(call: Call) -> Result<Response, Fault> {
    let row = find(&call, Rank::User).await?.ok_or_else(Fault::no_object)?;
    Ok(call.one(shown(&row)).await)
}

async fn operator(call: Call) -> Result<Response, Fault> {
    let row = find(&call, Rank::Operator).await?.ok_or_else(Fault::no_object)?;
    Ok(call.one(shown(&row)).await)
}

/// A policy as a body gives it.
///
/// # Errors
/// Something is missing, or is not what it should be.
fn setting(given: &Map<String, Value>, vhost: String, policy: String) -> Result<PolicySetting, Fault> {
    let required = ["pattern", "definition"].into_iter().filter(|name| !given.contains_key(*name));
    let missing: Vec<String> = required.map(|name| format!("{{key_missing,{name}}}")).collect();
    if !missing.is_empty() {
        return Err(Fault::bad_request(format!("[{}]", missing.join(","))));
    }
    let text = |name: &str, default: &str| match given.get(name) {
        None => Ok(default.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Fault::bad_request(format!("{name} is not a text"))),
    };
    let (pattern, apply_to) = (text("pattern", "")?, text("apply-to", "all")?);
    let priority = match given.get("priority") {
        None => 0,
        Some(value) => value.as_i64().ok_or_else(|| {
            let term = value.as_str().map_or_else(|| value.to_string(), |text| format!("<<\"{text}\">>"));
            Fault::bad_request(format!(
                "Validation failed\n\npriority should be a number, actually was {term}\n"
            ))
        })?,
    };
    let definition: Arguments = serde_json::from_value(given["definition"].clone())
        .map_err(|_error| Fault::bad_request("the definition is not an object"))?;
    if definition.is_empty() {
        return Err(Fault::bad_request("Validation failed\n\nno policy provided\n"));
    }
    Ok(PolicySetting { vhost, policy, pattern, apply_to, priority, definition })
}

async fn set(call: Call, rank: Rank) -> Result<Response, Fault> {
    let given = call.object().await?;
    set_given(&call, rank, &given).await
}

async fn set_given(call: &Call, rank: Rank, given: &Map<String, Value>) -> Result<Response, Fault> {
    let setting = setting(given, call.vhost(), call.name("name"))?;
    let is_new = find(call, rank).await.map_err(Fault::in_words)?.is_none();
    let set = match rank {
        Rank::User => PolicyOperation::SetPolicy(setting),
        Rank::Operator => PolicyOperation::SetOperatorPolicy(setting),
    };
    let told = call.told(operation(set)).await;
    told.map_err(|fault| fault.in_words().into_validation())?;
    Ok(answer_put(is_new))
}

async fn preview(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    // Clients send the names of the path in the body, too.
    check_known(&given, &["vhost", "name", "pattern", "definition", "apply-to", "priority"])?;
    let setting = setting(&given, call.vhost(), call.name("name"))?;
    match call.told(operation(PolicyOperation::PreviewPolicy(setting))).await.map_err(Fault::in_words)? {
        Told::PolicyPreview(preview) => Ok(call.one(json!(preview)).await),
        _ => Err(Fault::unavailable("no answer")),
    }
}

async fn clear(call: Call, rank: Rank) -> Result<Response, Fault> {
    let (vhost, policy) = (call.vhost(), call.name("name"));
    let clear = match rank {
        Rank::User => PolicyOperation::ClearPolicy { vhost, policy },
        Rank::Operator => PolicyOperation::ClearOperatorPolicy { vhost, policy },
    };
    call.told(operation(clear)).await?;
    Ok(done())
}

async fn set_user(call: Call) -> Result<Response, Fault> {
    set(call, Rank::User).await
}

async fn set_operator(call: Call) -> Result<Response, Fault> {
    set(call, Rank::Operator).await
}

async fn clear_user(call: Call) -> Result<Response, Fault> {
    clear(call, Rank::User).await
}

async fn clear_operator(call: Call) -> Result<Response, Fault> {
    clear(call, Rank::Operator).await
}

fn check_sees_parameters(call: &Call) -> Result<(), Fault> {
    if call.tags.iter().any(|tag| tag == "administrator" || tag == "policymaker") {
        return Ok(());
    }
    Err(Fault::not_authorised("User not authorised to access object"))
}

/// All parameters that who asks may see.
async fn all_parameters(call: &Call) -> Result<Vec<Value>, Fault> {
    check_sees_parameters(call)?;
    let (component, vhost) = (call.name("component"), call.vhost());
    if !vhost.is_empty() && !call.visible_vhosts().await?.contains(&vhost) {
        return Err(Fault::no_object());
    }
    let limits = call.rows(Operation::VHosts(VHostOperation::ListVhostLimits { vhost: None })).await?;
    let limits = limits.filter_map(|row| if let Row::VHostLimits(row) = row { Some(row) } else { None });
    let mut all: Vec<Value> = limits
        .map(|row| {
            let mut value = Map::new();
            for (name, limit) in [("max-connections", row.max_connections), ("max-queues", row.max_queues)] {
                limit.and_then(|limit| value.insert(name.to_owned(), json!(limit)));
            }
            json!({"component": "vhost-limits", "name": "limits", "vhost": row.vhost, "value": value})
        })
        .collect();
    let policies = rows(call, Rank::Operator).await?.filter_map(policy).map(|row| {
        let mut value = shown(&row);
        if let Value::Object(value) = &mut value {
            value.retain(|name, _| name != "vhost" && name != "name");
        }
        json!({"component": "operator_policy", "name": row.name, "vhost": row.vhost, "value": value})
    });
    all.extend(policies);
    all.retain(|parameter| {
        (component.is_empty() || parameter["component"] == component)
            && (vhost.is_empty() || parameter["vhost"] == vhost)
    });
    Ok(all)
}

async fn all_global_parameters(call: &Call) -> Result<impl Iterator<Item = Value> + Send + use<>, Fault> {
    check_sees_parameters(call)?;
    let rows = call.rows(Operation::Parameters(ParameterOperation::ListGlobalParameters)).await?;
    Ok(rows.map(|row| json!(row)))
}

async fn global_parameters(call: Call) -> Result<Response, Fault> {
    let all = all_global_parameters(&call).await?;
    list::answer(&call, all).await
}

async fn global_parameter(call: Call) -> Result<Response, Fault> {
    let name = call.name("name");
    let found = all_global_parameters(&call).await?.find(|parameter| parameter["name"] == name);
    Ok(call.one(found.ok_or_else(Fault::no_object)?).await)
}

async fn set_global_parameter(call: Call) -> Result<Response, Fault> {
    check_sees_parameters(&call)?;
    let mut given = call.object().await?;
    check_given(&given, &["value"])?;
    let (name, value) = (call.name("name"), given["value"].take());
    let operation = Operation::Parameters(ParameterOperation::SetGlobalParameter { name, value });
    let told = call.told(operation).await.map_err(Fault::in_words)?;
    Ok(answer_put(told == Told::Created))
}

async fn clear_global_parameter(call: Call) -> Result<Response, Fault> {
    check_sees_parameters(&call)?;
    let operation = ParameterOperation::ClearGlobalParameter { name: call.name("name") };
    call.told(Operation::Parameters(operation)).await?;
    Ok(done())
}

async fn parameters(call: Call) -> Result<Response, Fault> {
    let all = all_parameters(&call).await?;
    list::answer(&call, all.into_iter()).await
}

async fn parameter(call: Call) -> Result<Response, Fault> {
    let name = call.name("name");
    let found = all_parameters(&call).await?.into_iter().find(|parameter| parameter["name"] == name);
    Ok(call.one(found.ok_or_else(Fault::no_object)?).await)
}

async fn set_parameter(call: Call) -> Result<Response, Fault> {
    let given = call.object().await?;
    let value = given.get("value").ok_or_else(|| Fault::bad_request("[{key_missing,value}]"))?;
    match (call.name("component").as_str(), value) {
        ("operator_policy", Value::Object(value)) => set_given(&call, Rank::Operator, value).await,
        ("vhost-limits", value) => set_limits(&call, value).await,
        (component, _) => {
            Err(Fault::bad_request(format!("Validation failed\n\ncomponent {component} not found\n")))
        }
    }
}

/// All limits of a vhost at once, as a parameter has them: those that are not named are lifted.
async fn set_limits(call: &Call, value: &Value) -> Result<Response, Fault> {
    let name = call.name("name");
    if name != "limits" {
        let why = format!("the parameter of vhost-limits is called 'limits', not '{name}'");
        return Err(Fault::bad_request(why));
    }
    let VHostLimitsChange { max_connections, max_queues } =
        VHostLimitsChange::deserialize(value).map_err(|error| {
            let why = in_words(&error).replace("unknown field", "unknown limit");
            Fault::bad_request(format!("invalid limits: {why}"))
        })?;
    let limits = VHostLimitsChange {
        max_connections: max_connections.or(Some(-1)),
        max_queues: max_queues.or(Some(-1)),
    };
    let is_new = all_parameters(call).await?.is_empty();
    let operation = VHostOperation::SetVhostLimits { vhost: call.vhost(), limits };
    call.told(Operation::VHosts(operation)).await.map_err(Fault::in_words)?;
    Ok(answer_put(is_new))
}

async fn clear_parameter(call: Call) -> Result<Response, Fault> {
    match call.name("component").as_str() {
        "vhost-limits" if call.name("name") == "limits" => {
            let operation = VHostOperation::ClearVhostLimits { vhost: call.vhost() };
            call.told(Operation::VHosts(operation)).await?;
            Ok(done())
        }
        "operator_policy" => clear(call, Rank::Operator).await,
        _ => Err(Fault::no_object()),
    }
}
