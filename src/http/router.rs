//! Which path is answered by what.

use super::prometheus;
use crate::blocking;
use crate::broker::{Broker, Shortage};
use crate::clock;
use crate::machine;
use crate::store::change::Health;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

/// An answer: all of them are short enough to be made before the first byte is sent.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request; its body, should it have one, is never read.
pub(super) fn answer<Body>(request: &Request<Body>, broker: &Broker) -> Answer {
    let page: fn(&Broker) -> Answer = match request.uri().path() {
        "/healthz" => |broker| healthz(broker.health(), broker.alarms().shortage(Health::Good)),
        "/metrics" => metrics,
        _ => return error(StatusCode::NOT_FOUND, "not_found", "Not Found"),
    };
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return page(broker);
    }
    let mut refusal = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed");
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    refusal
}

/// Whether publishers are served, for load balancers and container platforms.
fn healthz(health: Health, shortage: Shortage) -> Answer {
    let (status, text) = match health {
        Health::Good if shortage.memory => {
            (StatusCode::SERVICE_UNAVAILABLE, "low on memory: publishers are blocked")
        }
        Health::Good if shortage.disk => {
            (StatusCode::SERVICE_UNAVAILABLE, "low on disk: publishers are blocked")
        }
        Health::Good => (StatusCode::OK, "ok"),
        Health::Full => (StatusCode::SERVICE_UNAVAILABLE, "the disk is full: publishers are blocked"),
        Health::Failed => (StatusCode::SERVICE_UNAVAILABLE, "the store has failed"),
    };
    text_answer(status, "text/plain; charset=utf-8", text.into())
}

fn metrics(broker: &Broker) -> Answer {
    let alarms = broker.alarms();
    let shortage = alarms.shortage(broker.health());
    let up_ms = clock::mono_ms().saturating_sub(broker.started_at().mono_ms);
    let node = prometheus::Node {
        host: &machine::hostname(),
        up_s: up_ms / 1000,
        alarms,
        shortage,
        resident_bytes: machine::resident_bytes(),
        descriptors: (machine::descriptors_open(), machine::descriptors_max()),
    };
    // It locks each queue once.
    let gauges = blocking::run(|| broker.gauges());
    let text = prometheus::exposition(broker.metrics(), &gauges, &node);
    text_answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// An error as RabbitMQ's management API writes it.
fn error(status: StatusCode, error: &str, reason: &str) -> Answer {
    text_answer(status, "application/json", format!("{{\"error\":\"{error}\",\"reason\":\"{reason}\"}}"))
}

fn text_answer(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broker_that_takes_messages_is_healthy() {
        let enough = Shortage::default();
        assert_eq!(healthz(Health::Good, enough).status(), StatusCode::OK);
        for health in [Health::Full, Health::Failed] {
            assert_eq!(healthz(health, enough).status(), StatusCode::SERVICE_UNAVAILABLE, "{health:?}");
        }
        for shortage in [Shortage { memory: true, ..enough }, Shortage { disk: true, ..enough }] {
            let answer = healthz(Health::Good, shortage);
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{shortage:?}");
        }
    }
}
