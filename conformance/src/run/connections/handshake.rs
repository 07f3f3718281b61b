//! The plain handshake, done by the runner where it is not the point of the script; and the closes.

use crate::clock;
use crate::protocol::frame::PROTOCOL_HEADER;
use crate::protocol::method::{Method, zero};
use crate::protocol::table::method;
use crate::protocol::value::Value;
use crate::run::connections::Connections;
use crate::run::connections::link::Link;
use crate::run::message::Message;
use crate::run::target::Target;
use crate::run::{Done, LIMIT, Trouble, eval};
use crate::script::Address;

/// connection.close 200 "done", as a frame.
pub(super) const GOODBYE: &[u8] =
    b"\x01\x00\x00\x00\x00\x00\x0f\x00\x0a\x00\x32\x00\xc8\x04done\x00\x00\x00\x00\xce";

/// What the runner's client can do, unless the script says otherwise.
const CAPABILITIES: &[&str] = &[
    "consumer_cancel_notify",
    "connection.blocked",
    "authentication_failure_close",
    "basic.nack",
    "publisher_confirms",
];

/// The method called `name` with these arguments, zero for the rest.
pub(crate) fn made(name: &str, arguments: Vec<(&str, Value)>) -> Method {
    let spec = method(name).expect("the runner names methods of the table");
    let mut made = Method { spec, arguments: spec.fields.iter().map(|field| zero(field.kind)).collect() };
    for (name, value) in arguments {
        if let Some(at) = spec.fields.iter().position(|field| field.name == name) {
            made.arguments[at] = value;
        }
    }
    made
}

/// channel.flow or channel.flow-ok, which changes nothing.
pub(crate) fn active(name: &str) -> Method {
    made(name, vec![("active", Value::Bool(true))])
}

/// The table that says what a client is and can do.
fn client_properties(capabilities: Value) -> Value {
    let text = |text: &str| Value::Text(text.into());
    Value::Table(vec![
        (b"product".to_vec(), text("conformance")),
        (b"platform".to_vec(), text("Rust")),
        (b"capabilities".to_vec(), capabilities),
    ])
}

/// All of the runner's capabilities.
fn capabilities() -> Value {
    Value::Table(CAPABILITIES.iter().map(|name| (name.as_bytes().to_vec(), Value::Bool(true))).collect())
}

/// Product and version that a connection.start tells.
fn introduced(start: &Method) -> (String, String) {
    let text = |name: &str| match start.argument("server-properties") {
        Some(Value::Table(entries)) => entries
            .iter()
            .find(|(key, _)| key == name.as_bytes())
            .map(|(_, value)| String::from_utf8_lossy(&eval::inserted(value)).into_owned()),
        _ => None,
    };
    (text("product").unwrap_or_default(), text("version").unwrap_or_default())
}

/// The values that a tune-ok answers with: the broker's, unless said.
fn tuned(tune: &Method, said: impl Fn(&str) -> Option<Value>) -> Method {
    let answer = |name| said(name).or_else(|| tune.argument(name).cloned()).unwrap_or(Value::Int('_', 0));
    made(
        "connection.tune-ok",
        vec![
            ("channel-max", answer("channel-max")),
            ("frame-max", answer("frame-max")),
            ("heartbeat", said("heartbeat").unwrap_or(Value::Int('_', 0))),
        ],
    )
}

/// The options of a handshake that a script gives, by name.
pub(crate) type Options = [(&'static str, Value)];

impl Connections {
    /// Opens connection and channel as far as they are not open.
    pub(crate) fn open(&mut self, target: &Target, at: &Address, options: &Options) -> Done {
        let is_live = |link: &Link| link.ended.is_none() && link.is_open;
        self.sort(&at.connection);
        if !self.links.get(&at.connection).is_some_and(is_live) {
            self.connect(target, &at.connection)?;
            self.shake_hands(target, &at.connection, options)?;
        } else if at.channel.is_none() {
            return Err(Trouble::from(format!("connection '{at}' is open already")));
        } else if !options.is_empty() {
            return Err(Trouble::from(format!("connection '{}' is open already", at.connection)));
        }
        if at.channel.is_some() {
            self.call(at, &made("channel.open", vec![]), "channel.open-ok")?;
        }
        Ok(())
    }

    /// The plain handshake; product and version that the broker tells.
    pub(crate) fn shake_hands(
        &mut self,
        target: &Target,
        name: &str,
        options: &Options,
    ) -> Done<(String, String)> {
        let said =
            |name: &str| options.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let text = |name: &str, default: &str| said(name).unwrap_or_else(|| Value::Text(default.into()));
        let (user, password) = (text("user", &target.user), text("password", &target.password));
        let vhost = text("vhost", &target.vhost);
        let response = said("response").unwrap_or_else(|| {
            let plain =
                [user, password].iter().flat_map(|part| [vec![0], eval::inserted(part)].concat()).collect();
            Value::Text(plain)
        });
        let at = Address { connection: name.to_owned(), channel: None };
        self.say(&format!("{name} > protocol-header"));
        self.link(name)?.write(PROTOCOL_HEADER).map_err(|why| Trouble::from(why.to_string()))?;
        let start = self.answer(&at, "connection.start")?;
        let introduced = introduced(&start.method);
        let properties = said("client-properties")
            .unwrap_or_else(|| client_properties(said("capabilities").unwrap_or_else(capabilities)));
        let start_ok = made(
            "connection.start-ok",
            vec![
                ("client-properties", properties),
                ("mechanism", text("mechanism", "PLAIN")),
                ("response", response),
                ("locale", text("locale", "en_US")),
            ],
        );
        let tune = self.call(&at, &start_ok, "connection.tune")?;
        self.send_method(&at, &tuned(&tune.method, said), None)?;
        self.call(&at, &made("connection.open", vec![("virtual-host", vhost)]), "connection.open-ok")?;
        Ok(introduced)
    }

    /// Closes a channel or a connection and waits for the answer.
    pub(crate) fn close(&mut self, at: &Address) -> Done {
        let (close, ok) = if at.number() == 0 {
            ("connection.close", "connection.close-ok")
        } else {
            ("channel.close", "channel.close-ok")
        };
        let reason =
            vec![("reply-code", Value::Int('_', 200)), ("reply-text", Value::Text(b"done".to_vec()))];
        self.call(at, &made(close, reason), ok)?;
        if at.number() == 0 {
            let link = self.link(&at.connection)?;
            link.shut();
        }
        Ok(())
    }

    /// Sends a method and waits for its answer.
    fn call(&mut self, at: &Address, method: &Method, ok: &str) -> Done<Message> {
        self.send_method(at, method, None)?;
        self.answer(at, ok)
    }

    fn answer(&mut self, at: &Address, ok: &str) -> Done<Message> {
        let message = self.message(at, clock::now() + LIMIT)?;
        if message.method.spec.name == ok {
            return Ok(message);
        }
        let reason = format!("{ok} expected");
        Err(Trouble { reason, came: message.show(), bytes: message.bytes(), ..Trouble::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::{Frame, METHOD};

    #[test]
    fn goodbye_is_a_close() {
        let reason =
            vec![("reply-code", Value::Int('_', 200)), ("reply-text", Value::Text(b"done".to_vec()))];
        let mut frame = Vec::new();
        Frame::encode(METHOD, 0, &made("connection.close", reason).encode().unwrap(), &mut frame);
        assert_eq!(frame, GOODBYE);
    }
}
