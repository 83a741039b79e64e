//! The way to whoever leads the agreement: this node, or another one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::Raft;
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::messages::{Answered, Question};
use super::network::Ways;
use super::types::Config;
use crate::consensus::agreed::Answer;
use crate::consensus::bytes::Batch;

/// How long a leader may take to agree on a batch before it is sent again.
const AGREED_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait before the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a person is told that there is still no majority, when something waits for as long as it takes.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// How often a node that is to lead is asked to, and for how long.
const HAND_OVER_EVERY: Duration = Duration::from_millis(300);
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(6);

/// Why nothing is known to have come of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsettled {
    /// Agreement is over on this node.
    #[error("{0}")]
    Fatal(String),
    /// It was given to somebody, and may be done, now or later.
    #[error(
        "the cluster does not answer whether the change is made: look before you make it again"
    )]
    Unknown,
    /// It was given to nobody.
    #[error(
        "no majority of the cluster's nodes is connected: nothing is changed; see `leveret cluster status`"
    )]
    NoLeader,
}

/// The way to who leads.
pub(super) struct Leader {
    pub(super) raft: Raft<Config>,
    pub(super) ways: Ways,
    pub(super) me: u64,
}

impl Leader {
    /// Has a batch agreed on and waits until it is applied here. It may be proposed several times, and is applied once.
    pub(super) async fn write(
        &self,
        batch: &Batch,
        mut told: oneshot::Receiver<Vec<Answer>>,
        within: Option<Duration>,
    ) -> Result<Vec<Answer>, Unsettled> {
        let mut given = false;
        let deadline = async {
            match within {
                Some(within) => sleep(within).await,
                None => std::future::pending().await,
            }
        };
        let mut deadline = std::pin::pin!(deadline);
        let mut remind = tokio::time::interval(TOLD_EVERY);
        // The first one comes at once.
        remind.reset();
        loop {
            let turn = async {
                if !self.give(batch, &mut given).await? {
                    sleep(PAUSE).await;
                    return Ok(());
                }
                // It is applied here as soon as this node hears of it.
                sleep(AGREED_WITHIN).await;
                Ok(())
            };
            tokio::select! {
                biased;
                answers = &mut told => return answers.map_err(|_| Unsettled::Unknown),
                turn = turn => turn.map_err(Unsettled::Fatal)?,
                () = &mut deadline => {
                    return Err(if given { Unsettled::Unknown } else { Unsettled::NoLeader });
                }
                _ = remind.tick() => {
                    if self.ways.0.is_some() {
                        tracing::warn!("waiting for a majority of the cluster's nodes");
                    }
                }
            }
        }
    }

    /// Gives a batch to who leads; whether that was somebody who has agreed on it. `given`: somebody may have it.
    async fn give(&self, batch: &Batch, given: &mut bool) -> Result<bool, String> {
        let leader = self.raft.metrics().borrow().current_leader;
        match leader {
            None => Ok(false),
            Some(leader) if leader == self.me => {
                *given = true;
                match self.raft.client_write(batch.clone()).await {
                    Ok(_) => Ok(true),
                    Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Ok(false),
                    Err(error) => Err(error.to_string()),
                }
            }
            Some(leader) => {
                let before = std::mem::replace(given, true);
                let question = Question::Propose(batch.bytes().into());
                match self.ways.ask(leader, &question, AGREED_WITHIN).await {
                    Ok(Answered::Agreed) => Ok(true),
                    Ok(Answered::NotLeading) => {
                        *given = before;
                        Ok(false)
                    }
                    _ => Ok(false),
                }
            }
        }
    }

    /// Lets another node lead. openraft has no way to say so: whoever leads is silent for as long as the others wait for
    /// it, and the other one asks for their votes meanwhile.
    pub(super) async fn hand_over(&self, to: u64, yields: &AtomicBool) {
        let leader = self.raft.metrics().borrow().current_leader;
        if leader != Some(self.me) {
            if let Some(leader) = leader {
                // It is seen in the status whether it is done.
                let _ = self.ways.ask(leader, &Question::Transfer(to), AGREED_WITHIN).await;
            }
            return;
        }
        if to == self.me {
            return;
        }
        let silent = |silent: bool| {
            yields.store(silent, Ordering::Release);
            self.raft.runtime_config().heartbeat(!silent);
            self.raft.runtime_config().elect(!silent);
        };
        silent(true);
        let mut metrics = self.raft.metrics();
        let led = async {
            while metrics.borrow_and_update().current_leader != Some(to) {
                let asked = self.ways.ask(to, &Question::Lead, HAND_OVER_EVERY).await;
                if asked.is_err() {
                    return;
                }
                sleep(HAND_OVER_EVERY).await;
            }
        };
        // Whoever leads then, this node takes part again.
        let _ = tokio::time::timeout(HANDED_OVER_WITHIN, led).await;
        silent(false);
    }
}
