//! Celery: workers with all that they rely on, and the suites that the libraries below it are
//! published with.

use crate::clients::{check, check_over_a_restart, check_suite, python, tests};

fn run(program: &str) {
    check(python("celery", program));
}

tests! { run: hello_world retries acks_late countdown chords control quorum }

#[test]
fn reconnect() {
    check_over_a_restart(python("celery", "reconnect"));
}

#[test]
fn the_suite_of_py_amqp() {
    check_suite("celery", "amqp==5.4.2", &["t/integration"]);
}

#[test]
fn the_suite_of_kombu() {
    check_suite("celery", "kombu==5.7.0", &["t/integration/test_py_amqp.py"]);
}
