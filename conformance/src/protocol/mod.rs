//! AMQP 0-9-1 as the runner sees it: one table of methods and one generic codec over it.
//!
//! Everything is data: a method is a row of the table and a list of values. It is strict about what
//! it decodes, for a broker under test has no credit, and it can encode nearly anything, for a
//! script may want to be wrong on purpose.

pub(crate) mod content;
pub(crate) mod frame;
pub(crate) mod method;
pub(crate) mod reader;
pub(crate) mod table;
pub(crate) mod value;
