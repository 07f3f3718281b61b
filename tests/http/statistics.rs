//! Rates and samples, once the broker has taken them by its clock.

use super::client::Api;
use serde_json::{Value, json};

/// Asks until the answer is as it should be: samples are taken every 5 s.
#[track_caller]
fn until(api: &Api, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..10_000 {
        let answer = api.check("GET", path, None, 200);
        if is_it(&answer) {
            return answer;
        }
    }
    panic!("it never comes: {}", api.check("GET", path, None, 200));
}

#[test]
fn charts_have_samples_and_lists_are_sorted_by_rates() {
    let api = Api::start();
    for queue in ["idle", "busy"] {
        api.check("PUT", &format!("/api/queues/%2F/{queue}"), Some("{}"), 201);
    }
    let body = r#"{"properties":{},"routing_key":"busy","payload":"12345","payload_encoding":"string"}"#;
    for _ in 0..3 {
        api.check("POST", "/api/exchanges/%2F/amq.default/publish", Some(body), 200);
    }
    let asked = "lengths_age=600&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5";
    let newest = |details: &Value| details["samples"][0]["sample"].clone();
    let queue = until(&api, &format!("/api/queues/%2F/busy?{asked}"), |queue| {
        let samples = &queue["messages_details"]["samples"];
        (&samples[0]["sample"], &samples[120]["sample"]) == (&json!(3), &json!(0))
    });
    let details = &queue["messages_ready_details"];
    let samples = details["samples"].as_array().expect("there are samples");
    assert_eq!(samples.len(), 121);
    let apart = |pair: &[Value]| pair[0]["timestamp"].as_u64().zip(pair[1]["timestamp"].as_u64());
    assert!(samples.windows(2).all(|pair| apart(pair).is_some_and(|(new, old)| new - old == 5000)));
    assert_eq!(samples[120]["sample"], json!(0));
    assert!(details["avg_rate"].is_f64() && details["avg"].is_f64());
    assert_eq!(queue["message_stats"]["publish_details"]["samples"].as_array().map(Vec::len), Some(13));
    assert_eq!(queue["message_bytes"], json!(15));

    let overview = api.check("GET", &format!("/api/overview?{asked}"), None, 200);
    assert_eq!(newest(&overview["queue_totals"]["messages_details"]), json!(3));
    assert_eq!(newest(&overview["message_stats"]["publish_details"]), json!(3));
    let nodes = api.check("GET", "/api/nodes?node_stats_age=60&node_stats_incr=5", None, 200);
    for name in ["mem_used_details", "fd_used_details", "sockets_used_details", "disk_free_details"] {
        assert_eq!(nodes[0][name]["samples"].as_array().map(Vec::len), Some(13), "{name}");
    }
    let exchange = api.check("GET", "/api/exchanges/%2F/amq.default", None, 200);
    assert_eq!(exchange["message_stats"]["publish_in"], json!(3));

    let sorted = "/api/queues?sort=message_stats.publish_details.rate&sort_reverse=true&columns=name";
    until(&api, sorted, |list| list[0]["name"] == json!("busy"));
    let bare = api.check("GET", "/api/queues?disable_stats=true", None, 200);
    assert!(bare[0].get("message_stats").is_none() && bare[0].get("messages_details").is_none());
}
