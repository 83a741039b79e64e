//! The series that a broker shows to Prometheus, and those that the queries of a dashboard ask for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::clock::PATIENCE;
use crate::request::Request;
use crate::{Broker, Management};

/// What the broker's `/metrics` says.
///
/// # Panics
/// When it has no such endpoint or it does not answer.
#[must_use]
pub fn metrics(broker: &Broker, path: &str) -> String {
    let overview = Management(broker.management()).get("/api/overview");
    let mut listeners = overview["listeners"].as_array().into_iter().flatten();
    let port = listeners
        .find(|listener| listener["protocol"] == "http/prometheus")
        .and_then(|listener| listener["port"].as_u64())
        .unwrap_or_else(|| panic!("no Prometheus endpoint in {overview}"));
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port as u16);
    let asked = Request { to, user: "", verb: "GET", path, body: "", limit: PATIENCE };
    match asked.send() {
        Ok((200, Value::String(text))) => text,
        other => panic!("{path} answered {other:?}"),
    }
}

/// The names of the series in such a text.
#[must_use]
pub fn exported(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// The names of series in a query: words with these beginnings.
#[must_use]
pub fn queried(query: &str) -> BTreeSet<String> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = |word: &&str| {
        ["rabbitmq_", "leveret_", "process_"].iter().any(|start| word.starts_with(start))
    };
    // Labels that begin like series.
    let label =
        |word: &&str| matches!(*word, "rabbitmq_cluster" | "rabbitmq_node" | "rabbitmq_endpoint");
    words.filter(ours).filter(|word| !label(word)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_texts_and_queries() {
        let text = "# HELP a b\nrabbitmq_queues 3\nleveret_x_bucket{le=\"1\"} 2\n";
        assert_eq!(
            exported(text).into_iter().collect::<Vec<_>>(),
            ["leveret_x_bucket", "rabbitmq_queues"]
        );
        let query = "sum(rate(rabbitmq_a_total[1m]) * on(i) rabbitmq_identity_info{rabbitmq_cluster=\"x\"})";
        assert_eq!(
            queried(query).into_iter().collect::<Vec<_>>(),
            ["rabbitmq_a_total", "rabbitmq_identity_info"]
        );
    }
}
