//! pika, the Python client: its tutorials and what programs written for RabbitMQ expect beyond
//! them, with the blocking connection and with the two that call back.
//!
//! Each passes on RabbitMQ 4.3 too; `poison` and the largest of `bodies` show where this broker
//! goes beyond it, and are left out there.

use crate::clients::{check, check_over_a_restart, python, tests};

fn run(program: &str) {
    check(python("pika", program));
}

tests! { run:
    hello_world work_queues publish_subscribe routing topics rpc headers confirms basic_get dead_letters
    delivery_limit poison queue_kinds errors prefetch heartbeat bodies select_connection asyncio_connection
}

#[test]
fn reconnect() {
    check_over_a_restart(python("pika", "reconnect"));
}
