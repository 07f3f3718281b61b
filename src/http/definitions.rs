//! Definitions: everything that is declared, out and in.

use super::answer::{Fault, aside, done};
use super::body;
use super::call::Call;
use super::route::{Route, get, post};
use crate::admin::definitions::{DefinitionsOperation, Document, Source};
use crate::admin::parameters::cluster_name;
use crate::admin::{Operation, Told};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;
use serde_json::{Map, Value, json};

/// Values in a document: a binding has seven, and a body has room for 300,000 of them.
pub(super) const VALUES_MAX: usize = 3_000_000;

/// The field of a form in which RabbitMQ's pages send a file.
const FILE: &str = "name=\"file\"";

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/definitions", "Export definitions", export),
        post("/api/definitions", "Import definitions", import),
        // The name of a virtual host, too.
        get(
            "/api/definitions/preview",
            "Export the definitions of the virtual host 'preview'",
            export_preview,
        ),
        post("/api/definitions/preview", "Preview an import of definitions", preview),
        get("/api/definitions/{vhost}", "Export the definitions of a virtual host", export),
        post("/api/definitions/{vhost}", "Import definitions into a virtual host", import),
    ]
}

async fn export(call: Call) -> Result<Response, Fault> {
    let vhost = call.vhost();
    export_of(call, vhost).await
}

async fn export_preview(call: Call) -> Result<Response, Fault> {
    export_of(call, "preview".to_owned()).await
}

async fn export_of(call: Call, vhost: String) -> Result<Response, Fault> {
    let operation = Operation::Definitions(DefinitionsOperation::ExportDefinitions);
    let (told, turn) = call.told_in_turn(operation).await?;
    let Told::Definitions(document) = told else { return Err(Fault::unavailable("no definitions")) };
    let cluster = cluster_name(&call.state.broker);
    let mut answer = call.large(turn, move || shown(&document, &vhost, &cluster)).await?;
    if let Some(name) = call.query.get("download")
        && let Ok(named) = HeaderValue::from_str(&format!("attachment; filename={}", file_name(name)))
    {
        answer.headers_mut().insert(CONTENT_DISPOSITION, named);
    }
    Ok(answer)
}

/// Definitions in RabbitMQ's words: all, or those of one vhost.
fn shown(document: &Document, vhost: &str, cluster: &str) -> Result<Value, Fault> {
    let mut shown = json!(document);
    if !vhost.is_empty() {
        return of_vhost(shown, vhost).ok_or_else(|| Fault::bad_request("vhost_not_found"));
    }
    shown["rabbitmq_definition_format"] = json!("cluster");
    shown["original_cluster_name"] = json!(cluster);
    shown["explanation"] = json!(format!("Definitions of cluster '{cluster}'"));
    Ok(shown)
}

/// A name that is one file's everywhere.
fn file_name(given: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    given.chars().filter(is_plain).take(255).collect()
}

/// What a document has of one vhost, without saying which.
fn of_vhost(mut document: Value, vhost: &str) -> Option<Value> {
    let vhosts = document["vhosts"].as_array()?;
    let own = vhosts.iter().find(|entry| entry["name"] == vhost)?.clone();
    let mut told = Map::new();
    for name in ["rabbitmq_version", "rabbit_version", "product_name", "product_version"] {
        told.insert(name.to_owned(), document[name].take());
    }
    told.insert("rabbitmq_definition_format".to_owned(), json!("single_virtual_host"));
    told.insert("original_vhost_name".to_owned(), json!(vhost));
    told.insert("explanation".to_owned(), json!(format!("Definitions of virtual host '{vhost}'")));
    told.insert("metadata".to_owned(), own["metadata"].clone());
    told.insert("description".to_owned(), own["metadata"]["description"].clone());
    told.insert("limits".to_owned(), own["limits"].clone());
    for name in ["parameters", "policies", "queues", "exchanges", "bindings"] {
        let Value::Array(entries) = document[name].take() else { continue };
        let entries = entries.into_iter().filter(|entry| entry["vhost"] == vhost).map(|mut entry| {
            if let Value::Object(entry) = &mut entry {
                entry.shift_remove("vhost");
            }
            entry
        });
        told.insert(name.to_owned(), entries.collect());
    }
    Some(Value::Object(told))
}

/// The document that a request brings.
async fn given(call: &Call) -> Result<Source, Fault> {
    let kind = call.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let parameters = kind.strip_prefix("multipart/form-data").map(str::to_owned);
    let body = call.body.bytes().clone();
    Ok(Source(Value::Object(aside(move || document(&body, parameters.as_deref())).await??)))
}

async fn preview(call: Call) -> Result<Response, Fault> {
    let (document, vhost) = (given(&call).await?, call.query.get("vhost").map(str::to_owned));
    let operation = DefinitionsOperation::PreviewDefinitions { document, vhost };
    let told = call.told_in_turn(Operation::Definitions(operation)).await;
    let (told, turn) = told.map_err(Fault::in_words)?;
    let Told::DefinitionsPreview(preview) = told else { return Err(Fault::unavailable("no answer")) };
    call.large(turn, move || Ok(json!(preview))).await
}

async fn import(call: Call) -> Result<Response, Fault> {
    let (document, vhost) = (given(&call).await?, call.vhost());
    let vhost = Some(vhost).filter(|vhost| !vhost.is_empty());
    let operation =
        DefinitionsOperation::ImportDefinitions { document, vhost, strict: false, skip_if_unchanged: false };
    call.told(Operation::Definitions(operation)).await.map_err(Fault::in_words)?;
    Ok(done())
}

/// The document in a body, or in the file of a form.
fn document(body: &[u8], form: Option<&str>) -> Result<Map<String, Value>, Fault> {
    let bytes = match form {
        Some(parameters) => file(body, parameters).ok_or_else(|| Fault::bad_request("no file"))?,
        None => body,
    };
    body::parse(bytes, VALUES_MAX, "failed_to_parse_json")
}

/// The file in a form (RFC 7578).
fn file<'a>(body: &'a [u8], parameters: &str) -> Option<&'a [u8]> {
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let mut parts = split(body, delimiter.as_bytes()).into_iter();
    parts.find_map(|part| {
        let end = find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..end]).ok()?;
        let content = &part[end + 4..];
        head.contains(FILE).then(|| content.strip_suffix(b"\r\n").unwrap_or(content))
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'a>(mut bytes: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, delimiter) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + delimiter.len()..];
    }
    parts.push(bytes);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_in_its_form() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n\
                     Content-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\r\n{}\r\n--x--\r\n";
        assert_eq!(file(body, "; boundary=x"), Some(&b"{}"[..]));
        assert_eq!(file(body, "; boundary=\"x\""), Some(&b"{}"[..]));
        assert_eq!((file(body, "; boundary=y"), file(body, "")), (None, None));
    }
}
