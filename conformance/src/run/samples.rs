//! Steps, values and messages from text, for unit tests.

use crate::protocol::value::Value;
use crate::run::eval::{self, Variables};
use crate::run::message::Message;
use crate::script::expr::Expr;
use crate::script::{Action, Call, Expected, Sent, Step, parser};

/// `$q` is "hare", `$n` is 7, and each of `more` is a text.
pub(crate) fn variables(more: &[(&str, &str)]) -> Variables {
    let text = |text: &str| Value::Text(text.as_bytes().to_vec());
    let mut variables: Variables = more.iter().map(|(name, value)| ((*name).into(), text(value))).collect();
    variables.insert("q".into(), text("hare"));
    variables.insert("n".into(), Value::Int('_', 7));
    variables
}

/// All steps of `text`, not checked.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    parser::steps(text, 1).expect("a test writes steps that can be read")
}

/// The only step of `text`.
pub(crate) fn step(text: &str) -> Step {
    steps(text).remove(0)
}

/// The value that is written so.
pub(crate) fn let_value(written: &str) -> Expr {
    match step(&format!("let x = {written}")).action {
        Action::Let(_, value) => value,
        other => panic!("no value: {other:?}"),
    }
}

/// The expectation `written`, as in `basic.ack delivery-tag=1`.
pub(crate) fn expected(written: &str) -> Call {
    match step(&format!("a.1 < {written}")).action {
        Action::Expect(expectation) => match expectation.what {
            Expected::Method(call) => call,
            other => panic!("no method: {other:?}"),
        },
        other => panic!("no expectation: {other:?}"),
    }
}

/// The message `written`, as it would come.
pub(crate) fn message(written: &str) -> Message {
    let Action::Send(_, Sent::Method(call)) = step(&format!("a.1 > {written}")).action else {
        panic!("no message: {written}");
    };
    let (method, content) = eval::call(&call, &variables(&[])).expect("a test writes values that exist");
    Message { method, content, frames: Vec::new() }
}
