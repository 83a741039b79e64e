//! What clients are answered when they have declared, deleted or otherwise changed something: at once, or later by whoever
//! knows.

use std::sync::Arc;

use leveret_cluster::Proposed;
use leveret_engine::command::Outcome;
use leveret_engine::{
    BrokerError, ChannelKey, Command, QueueKind, QueueMeta, ResourceName, Timestamp,
};
use leveret_protocol::{Answer, Counts, Declared, Event};

use crate::connections::Handle;
use crate::effects::Scope;
use crate::node::Node;
use crate::ports::told_counts;
use crate::queues::QueueCell;
use crate::remote::{Question, Wanted};

impl Node {
    /// Proposes `command` for a client; `shape` makes the answer of what it came to, now or later, unless somebody else
    /// answers.
    pub(crate) fn propose_for(
        &self,
        handle: &Arc<Handle>,
        channel: ChannelKey,
        command: Command,
        now: Timestamp,
        shape: impl Fn(&Self, Proposed, Timestamp) -> Option<Answer> + Clone + Send + Sync + 'static,
    ) -> Option<Answer> {
        if let Some(queue) = self.far_transient(&command) {
            let (command, shape) = (Box::new(command), Arc::new(shape));
            let wanted = Wanted::Applied { channel, command, shape };
            self.question(Question { queue, handle: Some(Arc::clone(handle)), wanted });
            return None;
        }
        let shape_later = shape.clone();
        let (node, handle) = (self.weak(), Arc::clone(handle));
        let later = Box::new(move |proposed: Proposed| {
            if let Some(node) = node.upgrade()
                && let Some(answer) = shape_later(&node, proposed, now)
            {
                handle.mailbox.post(Event::Answer { channel, answer });
            }
        });
        let proposed = self.propose(command, now, later)?;
        shape(self, proposed, now)
    }

    /// Deletes a queue for a client, unless there is more in it than the client allows.
    pub(crate) fn delete_counted(
        &self,
        handle: &Arc<Handle>,
        channel: ChannelKey,
        meta: &QueueMeta,
        (if_unused, if_empty): (bool, bool),
        counts: Counts,
        now: Timestamp,
    ) -> Option<Answer> {
        let name = || ResourceName::queue(&meta.vhost, Arc::clone(&meta.name));
        if if_empty && counts.ready > 0 {
            return Some(Answer::Deleted(Err(BrokerError::NotEmpty(name()))));
        }
        if if_unused && counts.consumers > 0 {
            return Some(Answer::Deleted(Err(BrokerError::InUse(name()))));
        }
        // rabbitmq: who deletes a stream is not told how much was in it
        let n = if meta.kind == QueueKind::Stream { 0 } else { counts.ready };
        self.propose_for(handle, channel, Self::delete_command(meta), now, move |_, proposed, _| {
            Some(Answer::Deleted(proposed.map(|_| n)))
        })
    }

    /// What a `queue.declare` is answered with; `None` if the queue's leader is asked for it.
    pub(crate) fn declared_for(
        &self,
        handle: &Arc<Handle>,
        channel: ChannelKey,
        outcome: Outcome,
        now: Timestamp,
    ) -> Option<Answer> {
        let Outcome::QueueDeclared { queue, created } = outcome else {
            let error = BrokerError::Internal("a declare was applied as something else".into());
            return Some(Answer::Declared(Err(error)));
        };
        self.queues.churn().declared();
        let empty = |queue| Some(Answer::Declared(Ok(Declared { queue, ready: 0, consumers: 0 })));
        if self.leads(queue.id) {
            let Some(cell) = self.queues.get(queue.id) else { return empty(queue) };
            return Some(Answer::Declared(Ok(self.declared(queue, &cell, now))));
        }
        if created {
            return empty(queue);
        }
        if let Some(error) = self.nobody_leads(queue.id) {
            return Some(Answer::Declared(Err(error)));
        }
        let (id, handle) = (queue.id, Some(Arc::clone(handle)));
        self.question(Question { queue: id, handle, wanted: Wanted::Declared { channel, queue } });
        None
    }

    fn declared(&self, queue: Arc<QueueMeta>, cell: &Arc<QueueCell>, now: Timestamp) -> Declared {
        let mut scope = Scope::new(now);
        let counts = self.with_queue(cell, &mut scope, |live, _| {
            live.touch(now);
            told_counts(live)
        });
        Declared { queue, ready: counts.ready, consumers: counts.consumers }
    }
}
