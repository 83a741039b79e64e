//! What this node answers to others about agreement.

use std::sync::Arc;

use leveret_engine::Timestamp;
use openraft::Raft;
use openraft::error::{ClientWriteError, RaftError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::messages::{
    self, Answered, Join, Joined, Question, append_request, snapshot_request, vote_request,
};
use super::proposals::Proposals;
use super::shared::Shared;
use super::types::{Config, Trouble, ballot, vote};
use crate::consensus::agreed::Agreed;
use crate::consensus::bytes::{Batch, Origin, Stamped};
use crate::replication::wire::{Frame, Run};
use crate::replication::{ClusterCommand, Controller, NodeId, Reply};
use crate::transport::{BoxFuture, Calls, Clock};

/// Who answers.
#[derive(Clone)]
pub(super) struct Answers {
    pub(super) raft: Raft<Config>,
    pub(super) shared: Arc<Shared>,
    pub(super) proposals: Arc<Proposals>,
    pub(super) controller: Arc<Mutex<Controller>>,
    pub(super) me: u64,
    pub(super) clock: Clock,
}

impl Calls for Answers {
    fn is_forgotten(&self, node: NodeId) -> bool {
        self.shared.with_metadata(|metadata| metadata.is_forgotten(node)).unwrap_or(false)
    }

    fn call(&self, from: NodeId, frame: Frame) -> BoxFuture<Option<Frame>> {
        let this = self.clone();
        Box::pin(async move { this.answer(from, frame).await })
    }
}

impl Answers {
    /// Whether this node leads the agreement, as far as it knows.
    pub(super) fn leads(&self) -> bool {
        !self.proposals.yields() && self.raft.metrics().borrow().current_leader == Some(self.me)
    }

    async fn answer(&self, from: NodeId, frame: Frame) -> Option<Frame> {
        if let Frame::Heartbeat { number, incarnation, durable } = frame {
            if !self.leads() {
                return messages::frame(&Answered::NotLeading).ok();
            }
            self.controller.lock().heartbeat(from, incarnation, durable, (self.clock)());
            // Rule R14: only who leads after it was heard may say so.
            let leads = self.raft.ensure_linearizable().await.is_ok();
            let heard = leads.then_some(Frame::Heard { number });
            return heard.or_else(|| messages::frame(&Answered::NotLeading).ok());
        }
        let question = messages::read(&frame).ok().flatten()?;
        let stranger = from == NodeId::default();
        let answered = match question {
            Question::Join(join) => self.join(join).await,
            _ if stranger => Answered::Refused("a node that is not in the cluster".into()),
            question => self
                .ask(question)
                .await
                .unwrap_or_else(|error| Answered::Refused(error.to_string())),
        };
        messages::frame(&answered).ok()
    }

    async fn ask(&self, question: Question) -> Result<Answered, Trouble> {
        let refused = |error: &dyn std::fmt::Display| Answered::Refused(error.to_string());
        Ok(match question {
            Question::Append { ballot, prev, entries, commit } => {
                let request = append_request(ballot, prev, &entries, commit)?;
                match self.raft.append_entries(request).await {
                    Ok(response) => response.into(),
                    Err(error) => refused(&error),
                }
            }
            Question::Vote { ballot, last } => {
                match self.raft.vote(vote_request(ballot, last)).await {
                    Ok(response) => response.into(),
                    Err(error) => refused(&error),
                }
            }
            Question::Snapshot { ballot: of, header, data } => {
                let snapshot = snapshot_request(&header, &data)?;
                match self.raft.install_full_snapshot(vote(of), snapshot).await {
                    Ok(response) => Answered::Installed(ballot(&response.vote)),
                    Err(error) => refused(&error),
                }
            }
            Question::Propose(batch) => self.propose(&batch).await?,
            Question::Lead => {
                self.proposals.lead();
                Answered::Noted
            }
            Question::Transfer(to) => {
                self.proposals.transfer(NodeId(to));
                Answered::Noted
            }
            Question::Join(join) => self.join(join).await,
        })
    }

    async fn propose(&self, bytes: &Run) -> Result<Answered, Trouble> {
        if !self.leads() {
            return Ok(Answered::NotLeading);
        }
        let batch = Batch::decode(bytes)?;
        if let Some(note) = self.losses(&batch) {
            // What becomes of it is seen in the record.
            let _ = self.raft.client_write(note?).await;
        }
        Ok(match self.raft.client_write(batch).await {
            Ok(_) => Answered::Agreed,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Answered::NotLeading,
            Err(error) => Answered::Refused(error.to_string()),
        })
    }

    /// Rule R3: a node that starts with less on its disk than it last told of has lost some of it. What it told of is agreed
    /// on first, so that everybody sees that.
    fn losses(&self, batch: &Batch) -> Option<Result<Batch, Trouble>> {
        let notes: Vec<_> = batch
            .changes()
            .iter()
            .filter_map(|stamped| {
                let Agreed::Cluster(ClusterCommand::Register { node, durable: found, .. }) =
                    stamped.change
                else {
                    return None;
                };
                let durable = self.controller.lock().last_durable(node)?;
                let incarnation = self
                    .shared
                    .with_metadata(|metadata| metadata.node(node).map(|node| node.incarnation))??;
                let note = ClusterCommand::NoteDurable { node, incarnation, durable };
                let change = Agreed::Cluster(note);
                (found < durable).then_some(Stamped { at: stamped.at, change })
            })
            .collect();
        if notes.is_empty() {
            return None;
        }
        let mut notes = notes.into_iter();
        let batch = Batch::gather(Origin::default(), &mut notes, usize::MAX, usize::MAX);
        Some(batch.map_err(Trouble::from))
    }

    async fn join(&self, join: Join) -> Answered {
        let Join { name, address, role } = join;
        // It may have asked before, and not have heard the answer.
        let known = self.shared.with_metadata(|metadata| {
            let (id, node) = metadata.node_named(&name)?;
            let same = node.addresses == [Arc::clone(&address)] && node.role == role;
            (same && node.store.is_none()).then_some(id)
        });
        let node = match known.flatten() {
            Some(node) => node,
            None => {
                let addresses = vec![address];
                let add = ClusterCommand::AddNode { name, addresses, role };
                match self.decide(add).await {
                    Ok(Reply::Added(node)) => node,
                    Ok(other) => return Answered::Refused(format!("{other:?}")),
                    Err(error) => return Answered::Refused(error),
                }
            }
        };
        let others = self.shared.with_metadata(|metadata| {
            let others = metadata.nodes().filter(|(id, _)| *id != node);
            let address = |(id, node): (_, &crate::replication::NodeRecord)| {
                Some((id, Arc::clone(node.addresses.first()?)))
            };
            others.filter_map(address).collect()
        });
        Answered::Joined(Joined { node, others: others.unwrap_or_default() })
    }

    async fn decide(&self, command: ClusterCommand) -> Result<Reply, String> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |decided| {
            // Whoever asked may have gone.
            let _ = tell.send(decided);
        });
        let now: Timestamp = (self.clock)();
        self.proposals.decide(command, now, done);
        match told.await {
            Ok(decided) => decided.map_err(|error| error.to_string()),
            Err(_) => Err("the node ends".into()),
        }
    }
}
