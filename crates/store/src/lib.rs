//! leveret-store: what survives a restart.
//!
//! One trait with a written contract, [`MessageStore`], and two implementations that pass one suite: `RocksStore`
//! on disk and [`MemoryStore`], the twin for tests and the simulator. The store sees slots (the data of one
//! queue replica) and opaque bytes.
//!
//! Three kinds of data, from the youngest to the oldest:
//!
//! - a **record** per group commit holds the ops of all queues, in order: one value however many messages
//!   there are;
//! - a **chunk** holds messages of one queue that outlived their records, with a small index beside it;
//! - a **checkpoint** per slot says what a queue was when the records before it were retired.
//!
//! Who retires what and when is decided above; the store makes it cheap. Large bodies may be kept once for
//! several queues, with a reference per queue.
//!
//! *Invariant:* this crate does not know AMQP.
#![forbid(unsafe_code)]

mod batch;
mod error;
#[cfg(feature = "rocksdb")]
pub mod failpoint;
mod figures;
mod frame;
mod histogram;
mod keys;
mod memory;
mod message_store;
mod meta;
pub mod raw_log;
#[cfg(feature = "rocksdb")]
mod rocks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use batch::{
    Batch, BodyId, BodyPut, BodyRef, ChunkIndex, ChunkKey, ChunkPut, Gcn, Slot, StoreId,
};
pub use error::{Place, ReadError, StoreError};
pub use figures::Figures;
pub use histogram::{GROUP_BOUNDS_BYTES, Histogram, LATENCY_BOUNDS_MICROS};
pub use memory::MemoryStore;
pub use message_store::MessageStore;
#[cfg(feature = "rocksdb")]
pub use meta::RocksMeta;
pub use meta::{MemoryMeta, MetaError, MetaKey, MetaSnapshot, MetaStore};
#[cfg(feature = "rocksdb")]
pub use rocks::{
    BackupReport, CheckReport, Collected, Damage, Draft, Opened, RepairReport, RocksOptions,
    RocksStore, check_folder, repair, restore,
};

use std::time::Duration;

/// The version of the layout on disk. A folder of another version is refused.
pub const FORMAT: u32 = 1;

/// Slots are reserved on disk in steps of this many, so that declaring a queue rarely waits for the disk. What
/// a restart leaves of a step is not used: 2^64 slots last for 2^54 restarts.
pub const SLOT_STEP: u64 = 1024;

/// How far the durable marker may lag behind what was synced while the store is busy. It bounds what
/// a damaged end of the log could hide: the marker costs one more write to disk each time.
pub const MARKER_EVERY: Duration = Duration::from_millis(100);

/// A write that takes this long was held up: it is a copy to the page cache otherwise.
pub const SLOW_WRITE: Duration = Duration::from_millis(100);
