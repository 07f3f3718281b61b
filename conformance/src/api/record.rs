//! Asks, and keeps the answers.

use super::http::{self, Answer};
use super::steps::{Step, parse};
use crate::client::{Client, method};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long a word may take to come into an answer: statistics are some seconds late.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Headers that are kept.
const HEADERS: [&str; 4] = ["allow", "content-type", "location", "www-authenticate"];

/// Where a broker listens.
#[derive(Debug, Clone, Copy)]
pub struct Broker {
    /// Its API.
    pub http: SocketAddr,
    /// AMQP.
    pub amqp: SocketAddr,
}

/// A run through the steps.
struct Run {
    broker: Broker,
    client: Option<Client>,
    /// The name of the node, as it stands in paths.
    node: String,
    /// The name of the client's connection, likewise.
    connection: String,
}

/// Goes through all steps of `text`: a list of requests, each with its answer.
///
/// # Errors
/// The text is no list of steps, or the broker cannot be reached.
pub fn record(broker: Broker, text: &str) -> Result<Value, String> {
    let mut run = Run { broker, client: None, node: String::new(), connection: String::new() };
    run.node = run.name("/api/overview", |body| body["node"].clone())?;
    let mut answers = Vec::new();
    for step in parse(text)? {
        match step {
            Step::Request { line, user, method, path, body, until } => {
                let path = run.path(&path)?;
                let user = user.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
                let answer =
                    run.until(until.as_deref(), || run.ask(user, (&method, &path), body.as_deref()))?;
                answers.push(kept(&line, &answer));
            }
            Step::Open(vhost) => {
                let connected = Client::connect_to(&broker.amqp.to_string(), &vhost);
                run.client = Some(connected.map_err(|why| why.to_string())?);
            }
            Step::Consume(queue, tag, prefetch) => {
                let calls = [method::prefetch(prefetch), method::consume_as(&queue, &tag)];
                for call in calls {
                    run.client()?.call(call).map_err(|why| why.to_string())?;
                }
            }
            Step::Publish(exchange, key, count) => {
                let client = run.client()?;
                let published = (0..count).try_for_each(|_| client.publish(&exchange, &key, b"hello"));
                // The answer comes after what was published.
                let done = published.and_then(|()| client.call(method::prefetch(1)));
                done.map_err(|why| why.to_string())?;
            }
        }
    }
    Ok(Value::Array(answers))
}

impl Run {
    fn client(&mut self) -> Result<&mut Client, String> {
        self.client.as_mut().ok_or_else(|| "no connection was opened".to_owned())
    }

    fn ask(
        &self,
        user: Option<(&str, &str)>,
        (method, path): (&str, &str),
        body: Option<&str>,
    ) -> Result<Answer, String> {
        let login = user.map(|(user, password)| format!("Basic {}", base64(&format!("{user}:{password}"))));
        let headers: Vec<(&str, &str)> =
            login.iter().map(|login| ("Authorization", login.as_str())).collect();
        let answer = http::ask(self.broker.http, (method, path), &headers, body.map(str::as_bytes));
        answer.map_err(|why| format!("{method} {path}: {why}"))
    }

    /// Asks until the answer has that word, or for long enough.
    #[expect(clippy::disallowed_methods, reason = "statistics come by the clock of another process")]
    fn until(&self, word: Option<&str>, ask: impl Fn() -> Result<Answer, String>) -> Result<Answer, String> {
        let begun = Instant::now();
        loop {
            let answer = ask()?;
            if word.is_none_or(|word| answer.text().contains(word)) || begun.elapsed() > PATIENCE {
                return Ok(answer);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// A path with the names that only this broker has.
    fn path(&mut self, path: &str) -> Result<String, String> {
        if path.contains("{connection}") && self.connection.is_empty() {
            self.connection = self.name("/api/connections", |body| body[0]["name"].clone())?;
        }
        let port = self.broker.http.port().to_string();
        let named = path.replace("{node}", &self.node).replace("{port}", &port);
        Ok(named.replace("{connection}", &self.connection))
    }

    /// A name out of an answer, as it stands in a path.
    fn name(&self, path: &str, find: impl Fn(&Value) -> Value) -> Result<String, String> {
        let answer = self.ask(Some(("guest", "guest")), ("GET", path), None)?;
        let body: Value = serde_json::from_slice(&answer.body).map_err(|why| format!("{path}: {why}"))?;
        let name = find(&body);
        let name = name.as_str().ok_or_else(|| format!("{path} names nothing: {body}"))?;
        Ok(name.bytes().map(escaped).collect())
    }
}

fn escaped(byte: u8) -> String {
    let is_plain = byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// What is kept of an answer.
fn kept(line: &str, answer: &Answer) -> Value {
    let headers = HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), json!(answer.header(name)?))));
    let body = serde_json::from_slice(&answer.body).unwrap_or_else(|_not_json| json!(answer.text()));
    let headers = Value::Object(headers.collect());
    json!({"request": line, "status": answer.status, "headers": headers, "body": body})
}

/// RFC 4648 section 4.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            encoded.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648s() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text), encoded);
        }
        assert_eq!("a /".bytes().map(escaped).collect::<String>(), "a%20%2F");
    }
}
