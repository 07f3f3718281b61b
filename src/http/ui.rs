//! The web pages: the files of the folder `ui`, which are in the program. They hold no secrets, so
//! nobody is asked who he is; the pages ask for a login themselves.

use super::answer::{finish, gzip};
use super::call::takes_gzip;
use super::router::not_allowed;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use std::future::ready;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

const PAGE: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml; charset=utf-8";

/// What the pages may load and who may show them: only what comes from here, and nobody.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// A row of the table for a file of the folder.
macro_rules! file {
    ($name:literal, $kind:ident) => {
        (concat!("/ui/", $name), $kind, include_bytes!(concat!("ui/", $name)))
    };
}

/// All files: their paths, their types and what is in them.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", PAGE, include_bytes!("ui/index.html")),
    file!("api.js", SCRIPT),
    file!("app.js", SCRIPT),
    file!("chart.js", SCRIPT),
    file!("clients.js", SCRIPT),
    file!("dialog.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("fields.js", SCRIPT),
    file!("filter.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("graph.js", SCRIPT),
    file!("history.js", SCRIPT),
    file!("icon.svg", IMAGE),
    file!("jobs.js", SCRIPT),
    file!("keys.js", SCRIPT),
    file!("limits.js", SCRIPT),
    file!("link.js", SCRIPT),
    file!("live.js", SCRIPT),
    file!("messages.js", SCRIPT),
    file!("pages/channels.js", SCRIPT),
    file!("pages/cluster.js", SCRIPT),
    file!("pages/connections.js", SCRIPT),
    file!("pages/definitions.js", SCRIPT),
    file!("pages/exchanges.js", SCRIPT),
    file!("pages/log.js", SCRIPT),
    file!("pages/overview.js", SCRIPT),
    file!("pages/policies.js", SCRIPT),
    file!("pages/queue.js", SCRIPT),
    file!("pages/queues.js", SCRIPT),
    file!("pages/streams.js", SCRIPT),
    file!("pages/topology.js", SCRIPT),
    file!("pages/users.js", SCRIPT),
    file!("pages/vhosts.js", SCRIPT),
    file!("payload.js", SCRIPT),
    file!("publish.js", SCRIPT),
    file!("rows.js", SCRIPT),
    file!("search.js", SCRIPT),
    file!("style.css", STYLE),
    file!("table.js", SCRIPT),
];

/// A file as it is answered.
struct File {
    kind: &'static str,
    bytes: &'static [u8],
    zipped: OnceLock<Bytes>,
    tag: String,
}

/// The paths of all files.
pub(super) fn router() -> Router {
    let mut router = Router::new();
    for &(path, kind, bytes) in FILES {
        let file = Arc::new(File { kind, bytes, zipped: OnceLock::new(), tag: tag(bytes) });
        router = router.route(path, get(move |headers: HeaderMap| ready(file.answer(&headers))));
    }
    router.method_not_allowed_fallback(not_allowed)
}

/// What changes when the file does. It is the same whether the file is compressed or not, so it is
/// a weak one.
fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}

impl File {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let mut answer = if self.is_known(headers) {
            let mut unchanged = Response::new(Body::empty());
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            unchanged
        } else {
            self.whole(takes_gzip(headers))
        };
        let own = answer.headers_mut();
        // It is made of hexadecimal digits.
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            own.insert(ETAG, tag);
        }
        own.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        finish(&mut answer);
        answer
    }

    /// Whether the browser has it as it is.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let opaque = self.tag.trim_start_matches("W/");
        let mut given = given.flat_map(|tags| tags.split(',')).map(str::trim);
        given.any(|tag| tag == "*" || tag.trim_start_matches("W/") == opaque)
    }

    fn whole(&self, takes_gzip: bool) -> Response {
        let body = if takes_gzip {
            self.zipped.get_or_init(|| Bytes::from(gzip(self.bytes))).clone()
        } else {
            Bytes::from_static(self.bytes)
        };
        let mut answer = Response::new(Body::from(body));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if takes_gzip {
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}
