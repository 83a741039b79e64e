//! Everything that is in the queues, without taking it: what is delivered goes back when the connection closes.

use super::ledger::{Found, QUEUES};
use super::messages::Id;
use crate::{Broker, Client, PATIENCE, eventually};

/// Reads all of [`QUEUES`]. What makes no sense is told in `broken`.
pub(super) fn read_back(broker: &Broker, seed: u64, broken: &mut Vec<String>) -> Found {
    let mut found = Found::default();
    for (queue, name) in QUEUES.iter().enumerate() {
        let mut client = Client::connect(broker);
        let count = client.counts(1, name).0 as usize;
        client.consume(1, name, "reader", false);
        // As many as it says, and then nothing: an answer on the same channel comes behind the deliveries.
        for _ in 0..count {
            match client.message_within(1, PATIENCE) {
                Some(message) => take(&message.body, seed, name, &mut found[queue], broken),
                None => {
                    let n = found[queue].len();
                    broken.push(format!("queue {name}: says {count} and delivers {n}"));
                    break;
                }
            }
        }
        client.call(1, crate::basic::Qos { prefetch_count: 0, global: false });
        while let Some(message) = client.message_within(1, std::time::Duration::ZERO) {
            broken.push(format!("queue {name}: says {count} and delivers more"));
            take(&message.body, seed, name, &mut found[queue], broken);
        }
        client.close();
        let mut client = Client::connect(broker);
        eventually("what was read is back", PATIENCE, || {
            (client.counts(1, name) == (count as u32, 0)).then_some(())
        });
    }
    found
}

fn take(body: &[u8], seed: u64, name: &str, found: &mut Vec<Id>, broken: &mut Vec<String>) {
    match Id::of_body(body, seed) {
        Some(id) => found.push(id),
        None => broken.push(format!("queue {name}: D2: a body that was never published")),
    }
}
