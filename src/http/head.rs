//! What RFC 9112 has a server refuse of a request's head, and hyper takes.
//!
//! hyper itself refuses lengths that contradict each other and codings that do not end with
//! `chunked`, and ends the connection after a request that has a length and a coding.

use super::answer::Fault;
use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Request, Version};

/// Whether a head is a request's.
///
/// # Errors
/// Why not: answer 400, and end the connection.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Fault> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_second)) => return Err(Fault::bad_request("a request has one Host")),
        (None, None) if request.version() > Version::HTTP_10 => {
            return Err(Fault::bad_request("a request of HTTP/1.1 needs a Host"));
        }
        (Some(host), None) if !is_host(host) => {
            return Err(Fault::bad_request("the Host is neither a name nor an address"));
        }
        _ => {}
    }
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if is_chunked(coding) => Ok(()),
        _ => Err(Fault::bad_request("the only transfer coding that is understood is chunked, once")),
    }
}

/// Whether that is `host[:port]`, or nothing, which is said where the target has none.
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.is_empty() || (!value.contains(&b'@') && Authority::try_from(value).is_ok())
}
