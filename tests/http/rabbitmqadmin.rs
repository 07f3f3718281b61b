//! rabbitmqadmin, the newer one: whatever it asks is answered with the status that RabbitMQ
//! answered with.
//!
//! `rabbitmqadmin.txt` has what 2.35.0 asked of a RabbitMQ 4.3.6, command by command, as
//! `conformance/clients/management/rabbitmqadmin_ng.py` wrote it. That looks at what comes of each.

use super::client::Api;

const RECORD: &str = include_str!("rabbitmqadmin.txt");

#[test]
fn whatever_rabbitmqadmin_asks_is_answered_with_rabbitmqs_status() {
    let api = Api::start();
    let overview = api.check("GET", "/api/overview", None, 200);
    let node = overview["node"].as_str().expect("it has a name").replace('@', "%40");
    let port = format!("/{}", api.broker.http.port());
    let (mut command, mut asked) = ("", 0);
    for line in RECORD.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            command = words;
            continue;
        }
        let (request, status) = line.rsplit_once(" -> ").expect("a request has a status");
        let mut parts = request.splitn(3, ' ');
        let (method, path, body) = (parts.next(), parts.next(), parts.next());
        let path = path.expect("a request has a path").replace("NODE", &node).replace("/PORT", &port);
        let answer = api.ask(method.expect("and a method"), &path, body);
        assert_eq!(answer.status.to_string(), status, "{command}: {request}: {}", answer.text());
        asked += 1;
    }
    assert!(asked > 200, "the record has {asked} requests");
}
