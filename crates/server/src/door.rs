//! The door for changes on behalf of a person: gives the node the time, and waits for its answers.

use crate::clock::Clock;
use crate::inside;
use crate::inside::redrive::Redrives;
use leveret_engine::command::Outcome;
use leveret_engine::view::{
    BoxFuture, DeleteOnly, HandGet, HandGot, HandPublish, HandPublished, HandRefused, Propose,
    PutMessage, Redrive, RedriveView, Registry,
};
use leveret_engine::{BrokerError, Command, ConnectionId, Timestamp};
use leveret_node::Node;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A node and the clock of the process.
pub(crate) struct Door {
    pub(crate) node: Arc<Node>,
    pub(crate) clock: Arc<Clock>,
    redrives: Redrives,
}

impl Door {
    pub(crate) fn new(node: Arc<Node>, clock: Arc<Clock>) -> Self {
        let redrives = Redrives::new(Arc::clone(&node), Arc::clone(&clock));
        Self { node, clock, redrives }
    }

    async fn wait_for(&self, command: Command) -> Result<Outcome, BrokerError> {
        let (answer, later) = oneshot::channel();
        let done = Box::new(move |outcome| {
            // Whoever asked may have gone.
            let _unheard = answer.send(outcome);
        });
        match self.node.propose(command, self.clock.now(), done) {
            Some(outcome) => outcome,
            None => later.await.unwrap_or(Err(BrokerError::ShuttingDown)),
        }
    }

    async fn delete(&self, vhost: &str, name: &str, only: DeleteOnly) -> Result<u64, BrokerError> {
        let queue = self.node.find_queue(vhost, name)?;
        let counts = self.node.queue_figures(queue.id).unwrap_or_default().counts;
        if only.if_unused && counts.consumers > 0 {
            return Err(BrokerError::InUse(queue.resource()));
        }
        if only.if_empty && counts.ready > 0 {
            return Err(BrokerError::NotEmpty(queue.resource()));
        }
        let (vhost, name) = (queue.vhost.clone(), queue.name.clone());
        self.wait_for(Command::DeleteQueue { vhost, name, id: Some(queue.id) }).await?;
        Ok(counts.ready)
    }
}

impl Propose for Door {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Outcome, BrokerError>> {
        Box::pin(self.wait_for(command))
    }

    fn delete_queue<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        only: DeleteOnly,
    ) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(self.delete(vhost, name, only))
    }

    fn purge_queue<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move { self.node.purge_queue(vhost, name, self.clock.now()) })
    }

    fn publish(&self, message: HandPublish) -> BoxFuture<'_, Result<HandPublished, HandRefused>> {
        Box::pin(inside::publish(&self.node, &self.clock, message))
    }

    fn get(&self, wanted: HandGet) -> BoxFuture<'_, Result<Vec<HandGot>, HandRefused>> {
        Box::pin(inside::get(&self.node, &self.clock, wanted))
    }

    fn put<'a>(
        &'a self,
        vhost: &'a str,
        queue: &'a str,
        messages: Vec<PutMessage>,
    ) -> BoxFuture<'a, Result<(), HandRefused>> {
        Box::pin(inside::put(&self.node, &self.clock, vhost, queue, messages))
    }

    fn redrive(&self, wanted: Redrive) -> Option<u64> {
        self.redrives.begin(wanted)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn redrives(&self) -> Vec<RedriveView> {
        self.redrives.views()
    }

    fn cancel_redrive(&self, id: u64) -> bool {
        self.redrives.cancel(id)
    }

    fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        self.node.close_connection(id, reason)
    }
}
