//! Feature flags, which tell clients what a cluster can do, and what RabbitMQ has deprecated.
//!
//! What tools look for is enabled; this broker has no flag that could be otherwise.

use super::answer::Fault;
use super::call::Call;
use super::list;
use super::overview::check_administers;
use super::route::{Route, get, put};
use axum::response::Response;
use serde_json::{Value, json};

/// The flags of RabbitMQ 4.3.
const FLAGS: [&str; 33] = [
    "classic_mirrored_queue_version",
    "classic_queue_type_delivery_support",
    "detailed_queues_endpoint",
    "direct_exchange_routing_v2",
    "drop_unroutable_metric",
    "empty_basic_get_metric",
    "feature_flags_v2",
    "implicit_default_bindings",
    "khepri_db",
    "listener_records_in_ets",
    "maintenance_mode_status",
    "message_containers",
    "message_containers_deaths_v2",
    "quorum_queue",
    "quorum_queue_non_voters",
    "rabbit_exchange_type_local_random",
    "rabbitmq_4.0.0",
    "rabbitmq_4.1.0",
    "rabbitmq_4.2.0",
    "rabbitmq_4.3.0",
    "restart_streams",
    "stream_filtering",
    "stream_queue",
    "stream_sac_coordinator_unblock_group",
    "stream_single_active_consumer",
    "stream_update_config_command",
    "tie_binding_to_dest_with_keep_while_cond",
    "topic_binding_projection_v4",
    "topic_binding_projection_v5",
    "track_qq_members_uids",
    "tracking_records_in_ets",
    "user_limits",
    "virtual_host_metadata",
];

/// Those that a cluster may still be without; all others it must have.
const STABLE: [&str; 5] = [
    "rabbitmq_4.3.0",
    "tie_binding_to_dest_with_keep_while_cond",
    "topic_binding_projection_v4",
    "topic_binding_projection_v5",
    "track_qq_members_uids",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/feature-flags", "List all feature flags", flags),
        put("/api/feature-flags/{name}/enable", "Enable a feature flag", enable),
        get("/api/deprecated-features", "List the features that RabbitMQ has deprecated", none),
        get("/api/deprecated-features/used", "List the deprecated features in use", none),
    ]
}

async fn flags(call: Call) -> Result<Response, Fault> {
    list::answer(&call, FLAGS.into_iter().map(flag)).await
}

fn flag(name: &str) -> Value {
    let is_stable = STABLE.contains(&name);
    json!({
        "name": name,
        "desc": "",
        "doc_url": "",
        "state": "enabled",
        "stability": if is_stable { "stable" } else { "required" },
        "require_level": if is_stable { "none" } else { "hard" },
        "experiment_level": "supported",
        "provided_by": "leveret",
        "callbacks": [],
    })
}

/// All are enabled.
async fn enable(call: Call) -> Result<Response, Fault> {
    check_administers(&call)?;
    let name = call.name("name");
    if FLAGS.contains(&name.as_str()) || name == "all" {
        return Ok(super::answer::done());
    }
    Err(Fault::bad_request("unsupported"))
}

async fn none(call: Call) -> Result<Response, Fault> {
    list::answer(&call, std::iter::empty::<Value>()).await
}
