//! What can end a run early, in words that say what to do about it.

use std::io;
use std::path::PathBuf;

use leveret_store::StoreError;
use thiserror::Error;

/// Why a run failed.
#[derive(Debug, Error)]
pub(crate) enum PerfError {
    /// An option makes no sense.
    #[error("{0}")]
    Options(String),
    /// There is no broker.
    #[error(
        "nothing listens at {address}; start a broker there (`leveret serve`) or give another --uri"
    )]
    NothingListens {
        /// `host:port`.
        address: String,
    },
    /// The connection could not be opened for another reason.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The null relay's address is taken or not ours.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// `host:port`.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The raw log cannot be written.
    #[error("cannot measure the disk in {}: {error}", dir.display())]
    RawLog {
        /// The directory.
        dir: PathBuf,
        /// What the store said.
        error: StoreError,
    },
    /// This process may not open that many sockets or threads.
    #[error("{what}: {source}; raise the limit with `ulimit -n` or ask for fewer connections")]
    Resources {
        /// What could not be made.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The broker refused the login.
    #[error("the broker refused the login of user '{user}': {text}")]
    Login {
        /// The user of --uri.
        user: String,
        /// The broker's words, or ours when it just closed the socket.
        text: String,
    },
    /// The broker sent connection.close.
    #[error("the broker closed the connection: {code} {text}")]
    ConnectionClosed {
        /// Reply code.
        code: u16,
        /// Reply text.
        text: String,
    },
    /// The broker sent channel.close.
    #[error("the broker closed the channel: {code} {text}")]
    ChannelClosed {
        /// Reply code.
        code: u16,
        /// Reply text.
        text: String,
    },
    /// The broker cancelled a consumer, for example since its queue was deleted.
    #[error("the broker cancelled the consumer of {queue}: was the queue deleted?")]
    Cancelled {
        /// The queue, or the consumer's tag.
        queue: String,
    },
    /// The socket broke.
    #[error("the connection to the broker broke: {0}")]
    Socket(#[from] io::Error),
    /// The broker closed the socket without connection.close.
    #[error("the broker closed the socket without a word")]
    Eof,
    /// The broker does not answer.
    #[error("the broker did not answer {what} within {seconds} s")]
    NoAnswer {
        /// The method we wait for.
        what: &'static str,
        /// How long we waited.
        seconds: u64,
    },
    /// The broker sent something that is not AMQP.
    #[error("the broker sent what is not AMQP 0-9-1: {0}")]
    Protocol(String),
    /// Ctrl-C before the run began.
    #[error("interrupted before the run began")]
    Interrupted,
    /// One of our threads panicked.
    #[error("a thread of the load generator failed; this is a defect of leveret perf")]
    Thread,
}

impl PerfError {
    /// The broker said nothing, as opposed to something that is wrong: expected from one that is
    /// blocked or overloaded when a run ends.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }
}
