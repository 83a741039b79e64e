//! The management API answers as RabbitMQ 4.3 did: the tables of `tests/http`.

use std::path::Path;

use leveret_tests::Broker;
use leveret_tests::Target;
use leveret_tests::http::play_all;

#[test]
fn the_api_answers_as_rabbitmq_did() {
    let broker = Broker::start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("http");
    let target = Target { amqp: broker.amqp(), management: broker.management() };
    let (asked, problems) = play_all(&folder, target).unwrap();
    assert!(asked >= 150, "only {asked} requests");
    assert!(problems.is_empty(), "of {asked} requests:\n{}", problems.join("\n"));
}
