//! Refuses a script that cannot mean anything: types, ranges, variables without a value, channels
//! nobody opened.
//!
//! It goes through the steps as the runner will, knowing of each variable whether it has a value
//! and of which kind.

mod value;

use crate::protocol::table::BASIC;
use crate::script::condition::Condition;
use crate::script::cursor::{Read, Wrong};
use crate::script::definitions::Definitions;
use crate::script::expr::Expr;
use crate::script::scope::{Scope, Sort};
use crate::script::{Action, Address, Call, Expected, Field, Head, Relation, Sent, Step};
use std::collections::{BTreeMap, BTreeSet};
use value::sort_of;

/// What makes a name unique, and what sets it apart from the name itself, has this many bytes at
/// most.
pub(crate) const UNIQUE_MIN: usize = 20;

/// Whether a value is sent or expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Sent,
    Expected,
}

struct Check<'a> {
    head: &'a Head,
    scope: Scope,
    /// Connections that were opened, each with its channels.
    opened: BTreeMap<String, BTreeSet<u16>>,
    /// Brokers that a `when` names.
    named: BTreeSet<String>,
    line: usize,
}

/// Checks `steps` from top to bottom.
pub(crate) fn check(head: &Head, steps: &[Step]) -> Read<()> {
    let mut check =
        Check { head, scope: Scope::new(), opened: BTreeMap::new(), named: BTreeSet::new(), line: 1 };
    for name in head.definitions.iter().flat_map(Definitions::names) {
        check.scope.set(name, Sort::Text);
    }
    check.steps(steps)?;
    match head.differs.iter().find(|differs| !check.named.contains(&differs.broker)) {
        Some(differs) => Err(Wrong {
            line: 1,
            reason: format!("the head has 'differs: {0}' but no block 'when {0} {{ ... }}'", differs.broker),
        }),
        None => Ok(()),
    }
}

impl Check<'_> {
    fn wrong<T>(&self, reason: impl Into<String>) -> Read<T> {
        Err(Wrong { line: self.line, reason: reason.into() })
    }

    fn steps(&mut self, steps: &[Step]) -> Read<()> {
        for step in steps {
            self.line = step.line;
            self.step(&step.action)?;
        }
        Ok(())
    }

    fn step(&mut self, action: &Action) -> Read<()> {
        match action {
            Action::Open(at, options) => {
                self.fields(options, Way::Sent)?;
                self.opened.entry(at.connection.clone()).or_default().extend(at.channel);
            }
            Action::Connect(name) => {
                self.opened.entry(name.clone()).or_default();
            }
            Action::Drop(name)
            | Action::Pause(name)
            | Action::Resume(name)
            | Action::NoHeartbeat(name, _) => self.connection(name)?,
            Action::Close(at) | Action::Nothing(at, _) | Action::Sync(at) | Action::Ignore(at) => {
                self.channel(at)?
            }
            Action::Send(at, sent) => self.sent(at, sent)?,
            Action::Expect(expectation) => self.expected(&expectation.at, &expectation.what)?,
            Action::Wait(_) => {}
            // Whoever goes on opens anew.
            Action::Restart(_) => self.opened.clear(),
            Action::Operator(words) => {
                for word in words {
                    self.of_sort(word, Sort::Text, "a command")?;
                }
            }
            Action::Unique(names) => {
                for (name, len) in names {
                    if self.head.definitions.iter().any(|definitions| definitions.names().contains(name)) {
                        return self.wrong(format!("${name} has its value from 'definitions:'"));
                    }
                    if let Some(len) = len.filter(|len| !(name.len() + UNIQUE_MIN..=255).contains(len)) {
                        let least = name.len() + UNIQUE_MIN;
                        return self
                            .wrong(format!("a unique name for ${name} has {least} to 255 bytes, not {len}"));
                    }
                    self.scope.set(name, Sort::Text);
                }
            }
            Action::Let(name, value) => {
                self.value(value, Way::Sent)?;
                let sort = self.sort(value);
                self.scope.set(name, sort);
            }
            Action::AnyOrder(steps) | Action::InOrder(steps) => self.expectations(steps)?,
            Action::OneOf(steps) => {
                let before = self.scope.clone();
                let mut after: Option<Scope> = None;
                for step in steps {
                    self.scope = before.clone();
                    self.expectations(std::slice::from_ref(step))?;
                    after = Some(after.map_or_else(|| self.scope.clone(), |after| after.common(&self.scope)));
                }
                self.scope = after.unwrap_or(before);
            }
            Action::Repeat { times, counter, steps } => {
                self.of_sort(times, Sort::Integer, "repeat")?;
                self.scope.set(counter, Sort::Integer);
                self.steps(steps)?;
            }
            Action::When { arms, otherwise } => self.when(arms, otherwise)?,
        }
        Ok(())
    }

    fn when(&mut self, arms: &[(Condition, Vec<Step>)], otherwise: &[Step]) -> Read<()> {
        let before = self.scope.clone();
        let mut after: Option<Scope> = None;
        for (Condition { broker, .. }, steps) in arms {
            if !self.head.differs.iter().any(|differs| differs.broker == *broker) {
                return self.wrong(format!("'when {broker}' wants 'differs: {broker} ...' in the head"));
            }
            self.named.insert(broker.clone());
            self.scope = before.clone();
            self.steps(steps)?;
            after = Some(after.map_or_else(|| self.scope.clone(), |after| after.common(&self.scope)));
        }
        self.scope = before;
        self.steps(otherwise)?;
        if let Some(after) = after {
            self.scope = after.common(&self.scope);
        }
        Ok(())
    }

    /// Steps of a group that holds expectations only.
    fn expectations(&mut self, steps: &[Step]) -> Read<()> {
        for step in steps {
            self.line = step.line;
            match &step.action {
                Action::Expect(expectation) if expectation.within.is_some() => {
                    return self.wrong("'within' is not for expectations of a group");
                }
                Action::Expect(expectation) => match &expectation.what {
                    Expected::Method(_) | Expected::Acks(..) => {
                        self.expected(&expectation.at, &expectation.what)?;
                    }
                    _ => return self.wrong("a group holds methods and acks, no frames, bytes or eof"),
                },
                Action::InOrder(inner) => self.expectations(inner)?,
                Action::Repeat { times, counter, steps } => {
                    self.of_sort(times, Sort::Integer, "repeat")?;
                    self.scope.set(counter, Sort::Integer);
                    self.expectations(steps)?;
                }
                _ => return self.wrong("a group holds expectations only"),
            }
        }
        Ok(())
    }

    fn connection(&self, name: &str) -> Read<()> {
        if self.opened.contains_key(name) {
            Ok(())
        } else {
            self.wrong(format!(
                "connection '{name}' was never opened; 'open {name}' or 'connect {name}' does it"
            ))
        }
    }

    fn channel(&self, at: &Address) -> Read<()> {
        self.connection(&at.connection)?;
        let number = at.number();
        if number == 0 || self.opened.get(&at.connection).is_some_and(|channels| channels.contains(&number)) {
            Ok(())
        } else {
            self.wrong(format!(
                "channel {at} was never opened; 'open {at}' does it, '{at} > method ...' sends on it all the same"
            ))
        }
    }

    fn sent(&mut self, at: &Address, sent: &Sent) -> Read<()> {
        self.connection(&at.connection)?;
        match sent {
            Sent::Method(call) if call.spec.name != "channel.open" => {
                self.channel(at)?;
                self.place(at, call)?;
            }
            // Frames of their own are how a script says that it means a channel which is not open.
            _ => {
                self.opened.entry(at.connection.clone()).or_default().insert(at.number());
            }
        }
        match sent {
            Sent::Method(call) | Sent::MethodFrame(call) => self.call(call, Way::Sent),
            Sent::Header(fields) | Sent::Frame(fields) => self.fields(fields, Way::Sent),
            Sent::Body(value) => self.of_sort(value, Sort::Text, "a body"),
            Sent::Raw(items) => self.items(items),
            Sent::Heartbeat | Sent::ProtocolHeader => Ok(()),
        }
    }

    fn expected(&mut self, at: &Address, what: &Expected) -> Read<()> {
        self.channel(at)?;
        match what {
            Expected::Method(call) => {
                self.place(at, call)?;
                self.call(call, Way::Expected)
            }
            Expected::MethodFrame(call) => self.call(call, Way::Expected),
            Expected::Header(fields) => self.fields(fields, Way::Expected),
            Expected::Body(value) => self.value_of(value, Sort::Text, Way::Expected, "a body"),
            Expected::Raw(items) => self.items(items),
            Expected::Acks(from, to) => {
                self.of_sort(from, Sort::Integer, "acks")?;
                self.of_sort(to, Sort::Integer, "acks")
            }
            Expected::Heartbeat | Expected::Eof => Ok(()),
        }
    }

    /// Connection methods belong to channel 0 and all others do not.
    fn place(&self, at: &Address, call: &Call) -> Read<()> {
        let of_connection = call.spec.class == 10;
        if of_connection == (at.number() == 0) {
            return Ok(());
        }
        let name = call.spec.name;
        self.wrong(if of_connection {
            format!("{name} belongs to channel 0; '{at} > method {name}' sends it here all the same")
        } else {
            format!("{name} wants a channel: {}.1", at.connection)
        })
    }

    fn call(&mut self, call: &Call, way: Way) -> Read<()> {
        self.fields(&call.fields, way)?;
        self.fields(&call.properties, way)?;
        if call.spec.class != BASIC && call.body.is_some() {
            return self.wrong("only class basic has bodies");
        }
        match &call.body {
            Some(body) => self.field(body, way),
            None => Ok(()),
        }
    }

    fn fields(&mut self, fields: &[Field], way: Way) -> Read<()> {
        let mut seen = BTreeSet::new();
        for field in fields {
            if !seen.insert(field.spec.name) && way == Way::Sent {
                return self.wrong(format!("'{}' is there twice", field.spec.name));
            }
            self.field(field, way)?;
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, way: Way) -> Read<()> {
        let name = field.spec.name;
        if way == Way::Sent && field.relation != Relation::Is {
            return self.wrong(format!("'{name}{}' is for what is expected", field.relation.sign()));
        }
        if matches!(field.value, Expr::Absent) {
            let property = crate::protocol::table::property(name).is_some();
            return if way == Way::Expected
                && property
                && matches!(field.relation, Relation::Is | Relation::IsNot)
            {
                Ok(())
            } else {
                self.wrong(format!("'{name}' cannot be none: that is for a property which must not come"))
            };
        }
        let sort = sort_of(field.spec.kind);
        match field.relation {
            Relation::Like if sort != Sort::Text || !matches!(field.value, Expr::Text(_)) => {
                return self
                    .wrong(format!("'{name}~' wants a field that is a text, and a pattern in quotes"));
            }
            Relation::AtLeast | Relation::AtMost if sort != Sort::Integer => {
                return self
                    .wrong(format!("'{name}{}' wants a field that is an integer", field.relation.sign()));
            }
            Relation::IsNot | Relation::AtLeast | Relation::AtMost => self.value(&field.value, Way::Sent)?,
            _ => {}
        }
        self.value_of(&field.value, sort, way, &format!("'{name}'"))?;
        self.range(field)
    }
}
