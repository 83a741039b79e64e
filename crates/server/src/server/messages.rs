//! The message store of the data directory: opened and read before the first client can come in, closed when what came
//! is on disk.

use super::start::StartError;
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::storage::Storage;
use leveret_node::{Node, Recovered};
use leveret_store::{RocksOptions, RocksStore, StoreId, failpoint};
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// The directory of it in the data directory.
pub(crate) const FOLDER: &str = "messages";

/// A recovery that takes longer is worth a line in the log although nothing came of it.
const SLOW: Duration = Duration::from_secs(1);

/// Opens the store.
///
/// # Errors
/// When it cannot be used; the text names what to do.
pub(super) fn open(data_dir: &DataDir) -> Result<Arc<RocksStore>, StartError> {
    let id = StoreId(u128::from_le_bytes(super::start::random()));
    Ok(Arc::new(RocksStore::open(&data_dir.path().join(FOLDER), &options(id))?))
}

/// Fills the queues of `node` with what is in the store, and keeps what comes from now on.
///
/// # Errors
/// When it cannot be read; the text names what to do.
pub(super) fn start(
    store: &Arc<RocksStore>,
    node: &Arc<Node>,
    clock: &Arc<Clock>,
) -> Result<Storage, StartError> {
    let begun = clock.now();
    if let Some(bytes) = failpoint::setting("window") {
        node.set_window(bytes);
    }
    let recovered = node.recover(&**store, begun)?;
    tell(&recovered, Duration::from_millis(clock.now().since(begun)));
    Storage::start(node, Arc::clone(store), clock).map_err(StartError::Threads)
}

/// The defaults; tests have small buffers, so that what takes hours otherwise happens in a second.
fn options(id: StoreId) -> RocksOptions {
    let mut options = RocksOptions::new(id);
    if let Some(bytes) = failpoint::setting("buffers") {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        (options.log_buffer_bytes, options.data_buffer_bytes) = (bytes, bytes);
    }
    options
}

fn tell(recovered: &Recovered, took: Duration) {
    let Recovered { queues, messages, records, forgotten, unreadable } = recovered;
    if *messages > 0 || took > SLOW {
        let took = format!("{} ms", took.as_millis());
        info!(queues, messages, records, took, "messages are back");
    }
    if *forgotten > 0 {
        info!(queues = forgotten, "what was left of deleted queues is removed");
    }
    for what in unreadable {
        warn!(%what, "cannot be understood although it is whole: messages may come back that were done");
    }
}
