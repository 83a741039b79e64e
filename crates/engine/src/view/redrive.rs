//! Moving messages from one queue to others by hand: dead letters back to where they died, or a whole queue elsewhere.
//! Plain values; who does it reads and writes them.

use crate::auth::User;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Failures that are kept of one redrive; what is beyond is counted.
pub const REDRIVE_FAILURES_KEPT: usize = 100;

/// Which messages go where.
#[derive(Clone, Debug)]
pub struct Redrive {
    /// Who asks; reads the queue with the rights of this user.
    pub user: Arc<User>,
    /// The vhost.
    pub vhost: Arc<str>,
    /// The queue that messages are taken from.
    pub queue: Arc<str>,
    /// Where they go; `None`: each to the queue that it died in first.
    pub to: Option<Arc<str>>,
    /// Only what died in this queue first.
    pub died_in: Option<Arc<str>>,
    /// Only what died for this reason first.
    pub reason: Option<Arc<str>>,
    /// Only what died before this moment.
    pub before: Option<Timestamp>,
    /// Messages in a second, at most; `None`: as fast as it goes.
    pub rate: Option<u32>,
    /// Messages in all, at most; `None`: as many as are ready when it begins.
    pub limit: Option<u64>,
    /// Whether nothing is moved, only counted.
    pub dry_run: bool,
}

/// How far a redrive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedriveState {
    /// Under way.
    Running,
    /// At its end.
    Done,
    /// Ended by a person. What was moved stays moved.
    Cancelled,
    /// Ended by an error. What was moved stays moved.
    Failed(String),
}

/// A message that stayed where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveFailure {
    /// Its place in the queue when the redrive looked at it, counted from 1.
    pub position: u64,
    /// Its message id, if it has one.
    pub message_id: Option<String>,
    /// The queue it was for, as far as known.
    pub queue: Option<Arc<str>>,
    /// Why it stayed.
    pub reason: String,
}

/// What a redrive has done.
#[derive(Clone, Debug)]
pub struct RedriveView {
    /// Its number.
    pub id: u64,
    /// What was asked for.
    pub wanted: Redrive,
    /// How far it is.
    pub state: RedriveState,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Messages that it is going to look at.
    pub total: u64,
    /// Messages it has looked at.
    pub looked: u64,
    /// Messages that do not fit what was asked for.
    pub passed: u64,
    /// Messages that were moved, or would be by a dry run; by the queue they went to.
    pub moved: BTreeMap<Arc<str>, u64>,
    /// Messages that could not be moved.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<RedriveFailure>,
}

impl RedriveView {
    /// One that has just begun.
    #[must_use]
    pub fn begun(id: u64, wanted: Redrive, started: Timestamp) -> Self {
        Self {
            id,
            wanted,
            state: RedriveState::Running,
            started,
            ended: None,
            total: 0,
            looked: 0,
            passed: 0,
            moved: BTreeMap::new(),
            failed: 0,
            failures: Vec::new(),
        }
    }
}

/// A message that goes into a queue as it is, past every exchange.
#[derive(Clone, Debug)]
pub struct PutMessage {
    /// The exchange that it is to have come through, at most 255 bytes.
    pub exchange: Vec<u8>,
    /// The routing key that it is to have come with, at most 255 bytes.
    pub routing_key: Vec<u8>,
    /// Property flags and values.
    pub properties: Vec<u8>,
    /// The payload.
    pub body: Vec<u8>,
}
