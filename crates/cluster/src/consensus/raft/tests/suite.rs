//! openraft's own tests of a log and a state machine, over each of our stores.

use std::sync::Arc;

use leveret_engine::TopologyConfig;
use leveret_store::{MemoryMeta, MetaStore};
use openraft::testing::{StoreBuilder, Suite};

use crate::consensus::raft::log::LogStore;
use crate::consensus::raft::machine::Machine;
use crate::consensus::raft::shared::Shared;
use crate::consensus::raft::types::{Config, StorageError};

struct InMemory;

fn both(store: Arc<dyn MetaStore>) -> (LogStore, Machine) {
    let shared = Arc::new(Shared::new(TopologyConfig::default(), 1, 1));
    (LogStore::new(Arc::clone(&store)), Machine::open(shared, store).unwrap())
}

impl StoreBuilder<Config, LogStore, Machine> for InMemory {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError> {
        let (log, machine) = both(Arc::new(MemoryMeta::default()));
        Ok(((), log, machine))
    }
}

#[test]
fn openrafts_suite_passes_in_memory() {
    Suite::test_all(InMemory).unwrap();
}
