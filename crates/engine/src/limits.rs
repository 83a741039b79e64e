//! The limits of the engine, each with its default and the reason for it. What a person may
//! change is in [`TopologyLimits`]; the rest is fixed by the protocol or by cost.

use serde::{Deserialize, Serialize};

/// Names, keys and tags are short strings on the wire.
pub const NAME_BYTES_MAX: usize = 255;

/// Ten years in milliseconds, RabbitMQ's bound for `x-message-ttl` and `x-expires`: beyond it
/// timers are certainly a mistake.
pub const TTL_MS_MAX: u64 = 315_360_000_000;

/// Priorities are one octet on the wire.
pub const PRIORITY_MAX: u64 = 255;

/// RabbitMQ's bound for the segment size of a stream.
pub const STREAM_SEGMENT_BYTES_MAX: u64 = 3_000_000_000;

/// The segment size of a stream that does not say its own, RabbitMQ's.
pub const STREAM_SEGMENT_BYTES_DEFAULT: u64 = 500_000_000;

/// How many records a reader with a filter looks at in one turn, so that a filter that matches
/// little does not hold its queue's lock: some tenths of a millisecond.
pub const STREAM_SCAN_RECORDS: u32 = 4096;

/// Values that one `x-stream-filter` may name: each record that is read is compared with all.
pub const STREAM_FILTER_VALUES_MAX: usize = 255;

/// The bounds RabbitMQ sets for the Bloom filter of a stream chunk.
pub const STREAM_FILTER_BYTES: std::ops::RangeInclusive<u64> = 16..=255;

/// How many times a message of a quorum queue may be returned when nobody says otherwise
/// (RabbitMQ 4.0 and later).
pub const DELIVERY_LIMIT_DEFAULT: u32 = 20;

/// Steps a pattern of a policy or permission may backtrack on one name: a name has at most 255
/// bytes, and a pattern that needs more work than this is refused as not matching.
pub const REGEX_BACKTRACK_MAX: usize = 100_000;

/// Bytes of a compiled pattern, so that a repetition count cannot eat the memory.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// Bytes of a pattern as a person writes it; beyond it compiling takes noticeable time.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// Bytes of memory of the history of one exchange: more is what queues are for.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;

/// Deduplication headers that one exchange remembers, whatever it is declared with: at about a
/// hundred bytes each a gigabyte.
pub const SEEN_KEYS_MAX: usize = 10_000_000;

/// Messages that wait in one delayed message exchange. Each costs about a hundred bytes of memory, wherever the
/// message itself is.
pub const DELAYED_MESSAGES_MAX: u64 = 10_000_000;

/// The longest delay of a message, RabbitMQ's: about 49 days.
pub const DELAY_MS_MAX: u64 = 0xFFFF_FFFF;

/// The first delay of a queue that delays retries and does not say for how long, in milliseconds.
pub const DELAYED_RETRY_MIN_DEFAULT_MS: u64 = 1000;

/// Dead letters of one queue that are on their way to targets that have to confirm them: enough for
/// a group commit, few enough that what no target takes does not fill other queues' way.
pub const DEAD_LETTERS_SENT_MAX: u64 = 1024;

/// How long dead letters that nobody took rest before they are sent again, in milliseconds.
pub const DEAD_LETTER_RETRY_MS: u64 = 1000;

/// What a person may set, for the whole node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyLimits {
    /// Queues on the whole broker (`cluster_queue_limit`); none by default, as RabbitMQ.
    pub queues: Option<u64>,
    /// Exchanges on the whole broker (`cluster_exchange_limit`); none by default.
    pub exchanges: Option<u64>,
    /// Vhosts (`vhost_max`); none by default.
    pub vhosts: Option<u64>,
    /// Bindings per vhost. A binding costs about 150 bytes, so the default bounds a mistake in a
    /// loop to some gigabytes.
    pub bindings_per_vhost: u64,
    /// Users, permissions, policies and parameters, each. Every declare of a queue looks at the
    /// policies of its vhost.
    pub records: u64,
}

impl Default for TopologyLimits {
    fn default() -> Self {
        Self {
            queues: None,
            exchanges: None,
            vhosts: None,
            bindings_per_vhost: 10_000_000,
            records: 100_000,
        }
    }
}
