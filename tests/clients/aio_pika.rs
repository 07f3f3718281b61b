//! aio-pika, the Python client for asyncio: its tutorials, its patterns, its robust connection, and
//! the suites that it and aiormq, which it stands on, are published with.

use crate::clients::{check, check_over_a_restart, check_suite, python, tests};

fn run(program: &str) {
    check(python("aio_pika", program));
}

tests! { run: hello_world work_queues publish_subscribe routing rpc confirms errors master }

#[test]
fn reconnect() {
    check_over_a_restart(python("aio_pika", "reconnect"));
}

#[test]
fn its_own_suite() {
    check_suite("aio_pika", "aio-pika==10.2.1", &["tests"]);
}

#[test]
fn the_suite_of_aiormq() {
    check_suite("aio_pika", "aiormq==7.2.4", &["tests"]);
}
