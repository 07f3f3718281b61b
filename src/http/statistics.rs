//! Counts, their rates and their samples, as RabbitMQ has them: `publish` beside `publish_details`.

use super::query::Query;
use crate::clock::date_and_time;
use crate::statistics::{DELIVER_GET, EVENT_NAMES, SampleRange, SamplesWanted, Trend};
use serde_json::{Map, Value, json};

/// Which samples a query asks for.
pub(super) fn wanted(query: &Query) -> SamplesWanted {
    let number = |name: String| query.get(&name).and_then(|text| text.parse::<u32>().ok());
    let range = |of: &str| {
        let (age_s, increment_s) = (number(format!("{of}_age"))?, number(format!("{of}_incr"))?);
        Some(SampleRange { age_s, increment_s })
    };
    SamplesWanted {
        lengths: range("lengths"),
        events: range("msg_rates"),
        data: range("data_rates"),
        node: range("node_stats"),
    }
}

/// Adds a count and how it changes under `name` and `name_details`.
pub(super) fn put(object: &mut Value, name: &str, trend: &Trend) {
    object[name] = json!(trend.value);
    object[format!("{name}_details")] = details(trend);
}

/// How a count changes: its rate, and its samples if any were asked for.
pub(super) fn details(trend: &Trend) -> Value {
    let mut details = Map::new();
    details.insert("rate".to_owned(), json!(trend.rate));
    if let (Some(samples), Some((avg_rate, avg))) = (&trend.samples, trend.averages()) {
        let shown = |&(at_ms, value): &(u64, u64)| json!({"sample": value, "timestamp": at_ms});
        details.insert("samples".to_owned(), samples.iter().map(shown).collect());
        details.insert("avg_rate".to_owned(), json!(avg_rate));
        details.insert("avg".to_owned(), json!(avg));
    }
    Value::Object(details)
}

/// What happened to messages: counts in the order of [`EVENT_NAMES`], as many as there are.
pub(super) fn message_stats(events: &[Trend]) -> Value {
    let mut stats = Value::Object(Map::new());
    for (name, trend) in EVENT_NAMES.iter().zip(events) {
        put(&mut stats, name, trend);
    }
    put(&mut stats, "deliver_get", &deliver_get(events));
    stats
}

/// Messages that went to somebody, in whichever way.
pub(super) fn deliver_get(events: &[Trend]) -> Trend {
    Trend::sum(DELIVER_GET.iter().filter_map(|&event| events.get(event as usize)))
}

/// Adds how many messages are ready, unacknowledged, and both.
pub(super) fn put_lengths(object: &mut Value, ready: &Trend, unacked: &Trend) {
    put(object, "messages", &Trend::sum([ready, unacked]));
    put(object, "messages_ready", ready);
    put(object, "messages_unacknowledged", unacked);
}

/// The rate that a sort asks for by the path of its field.
pub(super) fn rate(path: &str, events: Option<&[Trend]>, lengths: Option<[&Trend; 2]>) -> Option<Value> {
    let name = path.strip_suffix("_details.rate")?;
    if let Some(event) = name.strip_prefix("message_stats.") {
        let found = EVENT_NAMES.iter().position(|known| *known == event);
        let rate = match (events, found) {
            (Some(events), Some(at)) => events.get(at).map(|trend| trend.rate),
            (Some(events), None) if event == "deliver_get" => Some(deliver_get(events).rate),
            _ => None,
        };
        return Some(json!(rate));
    }
    let [ready, unacked] = lengths?;
    match name {
        "messages" => Some(json!(ready.rate + unacked.rate)),
        "messages_ready" => Some(json!(ready.rate)),
        "messages_unacknowledged" => Some(json!(unacked.rate)),
        _ => None,
    }
}

/// A time as RabbitMQ writes it: `2026-11-30T09:39:57.184+00:00`.
pub(super) fn time(unix_ms: u64) -> String {
    date_and_time(unix_ms).replace('Z', "+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rabbitmqs() {
        assert_eq!(time(1_796_031_597_184), "2026-11-30T09:39:57.184+00:00");
        assert_eq!(time(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000+00:00");
    }

    #[test]
    fn a_count_has_its_rate_and_the_samples_that_were_asked_for() {
        let mut shown = json!({});
        put(
            &mut shown,
            "publish",
            &Trend { value: 3, rate: 0.5, samples: Some(vec![(10_000, 3), (5_000, 1)]) },
        );
        put(&mut shown, "ack", &Trend::still(2));
        let expected = json!({
            "publish": 3,
            "publish_details": {
                "rate": 0.5,
                "samples": [{"sample": 3, "timestamp": 10_000}, {"sample": 1, "timestamp": 5_000}],
                "avg_rate": 0.4,
                "avg": 2.0,
            },
            "ack": 2,
            "ack_details": {"rate": 0.0},
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn samples_are_asked_for_by_both_of_their_names() {
        let wanted =
            wanted(&Query::parse("lengths_age=600&lengths_incr=5&msg_rates_age=60&node_stats_age=x"));
        let lengths = Some(SampleRange { age_s: 600, increment_s: 5 });
        assert_eq!(wanted, SamplesWanted { lengths, ..SamplesWanted::default() });
    }

    #[test]
    fn lists_are_sorted_by_rates() {
        let trend = |rate| Trend { rate, ..Trend::default() };
        let events = [trend(1.0), trend(2.0), trend(3.0)];
        let of = |path| rate(path, Some(&events), Some([&trend(4.0), &trend(5.0)]));
        assert_eq!(of("message_stats.deliver_details.rate"), Some(json!(2.0)));
        assert_eq!(of("message_stats.deliver_get_details.rate"), Some(json!(5.0)));
        assert_eq!(of("message_stats.none_details.rate"), Some(Value::Null));
        assert_eq!(of("messages_details.rate"), Some(json!(9.0)));
        assert_eq!(of("name"), None);
    }
}
