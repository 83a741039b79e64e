//! Every limit of a connection and its channels, with its default and the reason for it. What a
//! person may change is in [`crate::ConnectionConfig`]; the rest is fixed by cost. Unacked deliveries
//! have no limit of their own beyond prefetch: they cost less than the messages that their queues
//! keep for them.

/// Bytes of frames kept for channels whose call is unanswered, for one connection. Beyond it the
/// connection is not read: a pipelining client waits instead of filling the memory. Four of the
/// largest default frames fit.
pub const HELD_BYTES_MAX: usize = 512 * 1024;

/// Bytes of output beyond which the connection is not read: a client that asks without reading the
/// answers waits. Answers are small, so this is far above what a client has in flight.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// The frame size before tuning, as RabbitMQ 4.1 and later: credentials and client properties fit,
/// and a stranger cannot make the broker buffer more.
pub const INITIAL_FRAME_MAX: u32 = 8192;

/// The smallest frame size that may be negotiated. RabbitMQ 4.1 raised it to 8192, which shut out
/// clients that work; this is the specification's.
pub const FRAME_MIN: u32 = 4096;

/// The largest message body whatever the configuration says, as RabbitMQ.
pub const BODY_BYTES_CEILING: u64 = 512 * 1024 * 1024;

/// Publishes of one connection that wait for their confirm. Queues confirm within milliseconds;
/// beyond this the connection is not read until they have.
pub const UNCONFIRMED_MAX: u64 = 1_000_000;

/// Bytes of uncommitted publishes of one channel; RabbitMQ has no such limit. Beyond it the channel
/// is closed with 406.
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Uncommitted acks and returns of one channel, in runs of consecutive tags.
pub const TRANSACTION_ACKS_MAX: usize = 1_000_000;

/// Routes a channel remembers. A publisher alternates between few keys or uses thousands; for
/// the latter no small table helps.
pub const ROUTES_CACHED: usize = 32;

/// Bytes of memory that a route keeps for its address; longer ones are routed each time.
pub const ROUTE_ADDRESS_MAX: usize = 128;

/// Milliseconds between an error before the connection is open and the closing of the socket, which
/// slows down guessing of passwords. RabbitMQ's value.
pub const SILENT_CLOSE_MS: u64 = 3_000;

/// The longest time the server waits for close-ok.
pub const CLOSE_WAIT_MS_MAX: u64 = 30_000;

/// How often delivery acknowledgement timeouts are looked at, as RabbitMQ.
pub const CONSUMER_TIMEOUT_TICK_MS: u64 = 60_000;
