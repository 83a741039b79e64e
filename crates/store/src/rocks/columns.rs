//! RocksDB's column families and options. Every option that differs from RocksDB's default has its reason
//! beside it, and so have some that do not and must stay.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options,
};

use super::RocksOptions;

/// The fixed column families.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Column {
    /// Format, identity and marks.
    Default,
    /// Group commit number → sealed record.
    Log,
    /// Chunk key → sealed data and index, in blob files.
    Chunk,
    /// Chunk key → sealed index.
    ChunkIndex,
    /// Slot → sealed checkpoint, overwritten.
    Checkpoint,
    /// Body id → sealed body, in blob files.
    Body,
    /// Body and slot, and slot and body → nothing.
    BodyRef,
}

pub(super) const COLUMNS: [Column; 7] = [
    Column::Default,
    Column::Log,
    Column::Chunk,
    Column::ChunkIndex,
    Column::Checkpoint,
    Column::Body,
    Column::BodyRef,
];

const MIB: u64 = 1 << 20;

/// Memory tables of what is small and overwritten.
const SMALL_BUFFER: usize = 8 << 20;

/// Values from this size go to blob files: a chunk of any useful size does, and compaction then moves
/// keys only.
const BLOB_FROM: u64 = 4 << 10;

/// A blob file goes when nothing in it is alive: not so large that one long-lived chunk holds much, not so
/// small that a long queue has thousands of files.
const BLOB_FILE: u64 = 64 * MIB;

impl Column {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => rocksdb::DEFAULT_COLUMN_FAMILY_NAME,
            Self::Log => "log",
            Self::Chunk => "chunk",
            Self::ChunkIndex => "cidx",
            Self::Checkpoint => "qstate",
            Self::Body => "body",
            Self::BodyRef => "bref",
        }
    }
}

/// Options of the database as a whole.
///
/// # Errors
/// When RocksDB does not know an option that has no function of its own: another version of it.
pub(super) fn database(options: &RocksOptions) -> Result<Options, rocksdb::Error> {
    // Neither start nor stop waits for tables: the log has what they would hold.
    let mut db = Options::default().get_options_from_string(
        "avoid_flush_during_recovery=true;avoid_flush_during_shutdown=true",
    )?;
    // What is read is a prefix, over all log files: the disk may have written pages of the unsynced end in
    // any order. Whether the prefix is long enough, the marker says.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // A log file that is missing or shorter than it was when it was closed is found at the start.
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);
    // Bounds the start (100 to 200 MB/s are replayed) and makes the columns that fill slowly flush, so
    // that old log files can go. More than the memory tables of the log column together.
    db.set_max_total_wal_size(options.wal_bytes);
    // Syncing parts of the log early can leave a hole after power loss.
    db.set_wal_bytes_per_sync(0);
    // A log file that is used again ends in records of its last use, which look like damage.
    db.set_recycle_log_file_num(0);
    // What was written survives the process, only power loss needs the sync.
    db.set_manual_wal_flush(false);
    // fdatasync: RocksDB syncs the length with the data.
    db.set_use_fsync(false);
    // One writer: neither helps and both have cost others stalls.
    db.set_enable_pipelined_write(false);
    db.set_unordered_write(false);
    db.set_allow_concurrent_memtable_write(false);
    // All tables stay open: a table that has to be opened costs more than its descriptor.
    db.set_max_open_files(-1);
    // One flush and one compaction, so that a small machine has cores left for messages.
    db.set_max_background_jobs(2);
    db.set_max_subcompactions(1);
    // Tables and blobs are synced as they are written: the log's sync does not wait behind them.
    db.set_bytes_per_sync(MIB);
    // Deleting files happens in the background, not in a read or write.
    db.set_avoid_unnecessary_blocking_io(true);
    // RocksDB's own log: some megabytes, and no statistics that nobody reads.
    db.set_max_log_file_size(4 << 20);
    db.set_keep_log_file_num(4);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    Ok(db)
}

/// The column families with their options; the block cache is shared.
pub(super) fn descriptors(options: &RocksOptions) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.cache_bytes);
    let with_options = |column: Column| {
        let mut column_options = match column {
            Column::Log => log(options),
            Column::Chunk | Column::Body => data(options),
            Column::Default | Column::ChunkIndex | Column::Checkpoint | Column::BodyRef => small(),
        };
        column_options.set_block_based_table_factory(&tables(&cache));
        ColumnFamilyDescriptor::new(column.name(), column_options)
    };
    COLUMNS.into_iter().map(with_options).collect()
}

/// Records live for moments. Put and SingleDelete meet in a memory table or when several are merged into
/// one flush, and leave nothing: of what is written about
/// (bytes between Put and SingleDelete) / (buffer × merge) reaches a table.
fn log(options: &RocksOptions) -> Options {
    let mut log = Options::default();
    log.set_write_buffer_size(options.log_buffer_bytes);
    log.set_max_write_buffer_number(6);
    log.set_min_write_buffer_number_to_merge(4);
    // What reaches a table is gone soon: compressing it is work for nothing.
    log.set_compression_type(DBCompressionType::None);
    // Pairs that missed each other meet in the first compaction.
    log.set_level_zero_file_num_compaction_trigger(8);
    never_stall(&mut log);
    log
}

/// Chunks and bodies: large values, read once, dropped roughly in the order they came.
fn data(options: &RocksOptions) -> Options {
    let mut data = Options::default();
    // Some hundred chunks by default, so that a flush makes a file worth having.
    data.set_write_buffer_size(options.data_buffer_bytes);
    data.set_max_write_buffer_number(3);
    data.set_enable_blob_files(true);
    data.set_min_blob_size(BLOB_FROM);
    data.set_blob_file_size(BLOB_FILE);
    // Texts shrink to a half or a third for little time; what does not shrink is stored as it is.
    data.set_blob_compression_type(DBCompressionType::Lz4);
    data.set_compression_type(DBCompressionType::None);
    // RocksDB's collection would read what nobody asked for, and stop all writes at the first blob that is
    // damaged; `collect` does it one chunk at a time and steps over damage.
    data.set_enable_blob_gc(false);
    // Runs of deleted keys at the head of a queue are compacted away.
    data.add_compact_on_deletion_collector_factory(1000, 500, 0.5);
    never_stall(&mut data);
    data
}

fn small() -> Options {
    let mut small = Options::default();
    small.set_write_buffer_size(SMALL_BUFFER);
    small.set_max_write_buffer_number(3);
    small.set_compression_type(DBCompressionType::Lz4);
    small.add_compact_on_deletion_collector_factory(1000, 500, 0.5);
    // Checkpoints are overwritten all the time and keys are few: waiting for it helps nobody.
    never_stall(&mut small);
    small
}

/// RocksDB's brakes stop all columns for seconds. What limits the inflow is memory, the window and disk alarms,
/// which are decided above.
fn never_stall(options: &mut Options) {
    const NEVER: i32 = 1 << 30;
    options.set_level_zero_slowdown_writes_trigger(NEVER);
    options.set_level_zero_stop_writes_trigger(NEVER);
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
}

fn tables(cache: &Cache) -> BlockBasedOptions {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(cache);
    tables.set_block_size(16 << 10);
    // Point reads of chunks skip tables that do not have the key.
    tables.set_bloom_filter(10.0, false);
    // Fixed, so that a newer library does not change what an older one must read.
    tables.set_format_version(5);
    tables
}
