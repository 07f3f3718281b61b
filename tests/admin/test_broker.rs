//! A broker, its clients, and an operator who asks and is answered in JSON.

use crate::session::wire::encode;
use crate::session::world::{Pieces, World};
use leveret::admin::{self, Answer, Caller, Operation, RefusalKind, Requester};
use leveret::broker::BrokerSettings;
use leveret::ids::Ticket;
use leveret::statistics::SamplesWanted;
use serde_json::{Value, from_value, to_value};
use std::task::{Context, Waker};

/// A broker, its clients, and an operator who gets answers as JSON.
pub(super) struct TestBroker {
    pub(super) world: World,
    /// What has to be durable before the last answer may be told.
    pub(super) ticket: Ticket,
}

impl TestBroker {
    pub(super) fn new() -> Self {
        Self { world: World::new(Pieces::Whole, BrokerSettings::default()), ticket: Ticket(0) }
    }

    /// A client of the first user that has shaken hands and opened channel 1.
    pub(super) fn client(&mut self, name: &str, port: u16) {
        self.client_of("guest", name, port);
    }

    /// As [`Self::client`], of a user whose password is its name.
    pub(super) fn client_of(&mut self, user: &str, name: &str, port: u16) {
        self.world.accept(name, &format!("127.0.0.1:{port}"));
        for sentence in [
            "header",
            &format!("0 connection.start-ok PLAIN {user} {user}"),
            "0 connection.tune-ok 2047 131072 0",
            "0 connection.open /",
            "1 channel.open",
        ] {
            self.world.say(name, &encode(sentence));
        }
        assert_eq!(self.world.heard(name).last().map(String::as_str), Some("1 channel.open-ok"));
    }

    /// The client says this.
    pub(super) fn say(&mut self, name: &str, sentences: &[&str]) {
        for sentence in sentences {
            self.world.say(name, &encode(sentence));
        }
    }

    /// What an operation answers: a list for a list.
    pub(super) fn ask(&mut self, operation: &Value) -> Result<Value, (RefusalKind, String)> {
        self.ask_as(&Requester::Operator("test".to_owned()), operation)
    }

    /// As [`Self::ask`], when somebody else asks.
    pub(super) fn ask_as(
        &mut self,
        who: &Requester,
        operation: &Value,
    ) -> Result<Value, (RefusalKind, String)> {
        Ok(match self.answer(who, operation, SamplesWanted::default())? {
            Answer::One(told) => to_value(*told).expect("it can be told"),
            Answer::Copy(_) => panic!("no row asks for a copy"),
            Answer::Many(rows) => rows.map(|row| to_value(row).expect("it can be told")).collect(),
        })
    }

    /// What an operation answers, with samples.
    pub(super) fn answer(
        &mut self,
        who: &Requester,
        operation: &Value,
        samples: SamplesWanted,
    ) -> Result<Answer, (RefusalKind, String)> {
        let operation: Operation = from_value(operation.clone()).expect("it is an operation");
        let inquiry = admin::inquiry_for(&self.world.broker, &operation, who);
        self.world.settle();
        if let Some(inquiry) = &inquiry {
            assert!(inquiry.poll(&Context::from_waker(Waker::noop())).is_ready(), "everybody has answered");
        }
        let caller = Caller { who: who.clone(), now: self.world.now, inquiry, samples, rows: None };
        let performed = admin::perform(&self.world.broker, operation, &caller);
        self.world.settle();
        let performed = performed.map_err(|refusal| (refusal.kind, refusal.message))?;
        self.ticket = performed.ticket;
        Ok(performed.answer)
    }

    /// Asks, and gets this.
    #[track_caller]
    pub(super) fn answers(&mut self, operation: &Value, expected: &Value) {
        assert_eq!(self.ask(operation), Ok(expected.clone()), "{operation}");
    }

    /// Asks, and is refused with these words.
    #[track_caller]
    pub(super) fn refuses(&mut self, operation: &Value, kind: RefusalKind, words: &str) {
        assert_eq!(self.ask(operation), Err((kind, words.to_owned())), "{operation}");
    }

    /// One column of a list.
    #[track_caller]
    pub(super) fn column(&mut self, operation: &Value, name: &str) -> Vec<Value> {
        let rows = self.ask(operation).expect("it is a list");
        rows.as_array().expect("it is a list").iter().map(|row| row[name].clone()).collect()
    }
}
