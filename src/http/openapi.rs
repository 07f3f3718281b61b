//! The description of this API (OpenAPI 3.1), made of the table of its routes.

use super::call::Call;
use super::route::{Route, get};
use super::routes::all;
use axum::response::Response;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![get("/api/openapi.json", "Get this OpenAPI document", show)]
}

async fn show(call: Call) -> Response {
    call.one(document(&all())).await
}

/// The description of some routes.
fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for Route { method, path, summary, .. } in routes {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<Value> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {"default": {"description": "JSON, or nothing"}},
        });
        let of_path = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        of_path[method.to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Leveret", "version": env!("CARGO_PKG_VERSION")},
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
        "security": [{"basic": []}],
        "paths": paths,
    })
}
