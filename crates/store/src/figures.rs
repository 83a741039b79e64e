//! What the store tells about itself, for metrics and for whoever decides about retirement.

use crate::{Gcn, Histogram};

/// Counts since the store was opened and sizes now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// The last group commit that was written.
    pub written: Gcn,
    /// The last group commit that is on disk for certain.
    pub durable: Gcn,
    /// The last record that was retired.
    pub retired: Gcn,
    /// Batches written.
    pub writes: u64,
    /// Bytes of content in them.
    pub written_bytes: u64,
    /// Bytes of content per batch (bounds: [`crate::GROUP_BOUNDS_BYTES`]).
    pub group_bytes: Histogram,
    /// How long the disk took to sync, in microseconds (bounds: [`crate::LATENCY_BOUNDS_MICROS`]); its
    /// count is the number of syncs that reached the disk.
    pub sync_micros: Histogram,
    /// Records that are not retired, those without content included.
    pub window_records: u64,
    /// Bytes of records that are not retired, framing included.
    pub window_bytes: u64,
    /// Chunks in the store.
    pub chunks: u64,
    /// Writes that took longer than [`crate::SLOW_WRITE`], which RocksDB's flow control causes or a disk that is
    /// behind.
    pub slow_writes: u64,
    /// How long those took in all, in microseconds.
    pub slow_write_micros: u64,
    /// RocksDB does not take writes at the moment.
    pub writes_stopped: bool,
    /// RocksDB slows writes down at the moment.
    pub writes_delayed: bool,
    /// Bytes of memory tables.
    pub memory_bytes: u64,
    /// Bytes of live table and blob files; the write-ahead log comes on top.
    pub disk_bytes: u64,
}
