//! What a queue of the simulation holds: messages that are numbers, in the order of the log.

use crate::replication::{Entry, OpBytes, OpLog, Origin, Payload};
use leveret_engine::OpIndex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A message. Never the same twice in a run.
pub(super) type Id = u32;

const PUBLISH: u8 = 0;
const ACK: u8 = 1;

/// The messages of a queue after an op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) applied: OpIndex,
    live: BTreeMap<(OpIndex, u32), Id>,
    places: BTreeMap<Id, (OpIndex, u32)>,
}

/// An op of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Publish(Vec<Id>),
    Ack(Vec<Id>),
}

impl Op {
    pub(super) fn publish(ids: &[Id], origin: Origin, transient: bool) -> OpBytes {
        OpBytes { origin: Some(origin), transient, bytes: encode(PUBLISH, ids.iter().copied()) }
    }

    pub(super) fn ack(ids: &[Id]) -> OpBytes {
        OpBytes { origin: None, transient: false, bytes: encode(ACK, ids.iter().copied()) }
    }

    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let Payload::Op(op) = &entry.payload else { return None };
        let (kind, ids) = op.bytes.split_first()?;
        let ids = decode(ids);
        Some(if *kind == PUBLISH { Self::Publish(ids) } else { Self::Ack(ids) })
    }
}

fn encode(kind: u8, ids: impl Iterator<Item = Id>) -> Arc<[u8]> {
    std::iter::once(kind).chain(ids.flat_map(u32::to_be_bytes)).collect()
}

fn decode(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_be_bytes(four.try_into().unwrap())).collect()
}

impl Content {
    /// Applies the ops of a log up to one of them.
    ///
    /// # Errors
    /// What is wrong with the log.
    pub(super) fn follow(&mut self, log: &OpLog, upto: OpIndex) -> Result<(), String> {
        for index in (self.applied.0 + 1..=upto.0).map(OpIndex) {
            let entry = log.get(index).ok_or_else(|| format!("{index:?} is not in the log"))?;
            self.apply(index, entry)?;
        }
        Ok(())
    }

    /// Applies the next op.
    ///
    /// # Errors
    /// When it is another one.
    pub(super) fn apply(&mut self, index: OpIndex, entry: &Entry) -> Result<(), String> {
        if index.0 != self.applied.0 + 1 {
            return Err(format!("{index:?} is applied after {:?}", self.applied));
        }
        self.applied = index;
        match Op::of(entry) {
            Some(Op::Publish(ids)) => {
                for (n, id) in (0..).zip(ids) {
                    self.live.insert((index, n), id);
                    self.places.insert(id, (index, n));
                }
            }
            Some(Op::Ack(ids)) => {
                for id in ids {
                    if let Some(place) = self.places.remove(&id) {
                        self.live.remove(&place);
                    }
                }
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn has(&self, id: Id) -> bool {
        self.places.contains_key(&id)
    }

    /// The messages in order, with the op that published each.
    pub(super) fn messages(&self) -> impl Iterator<Item = (OpIndex, Id)> + '_ {
        self.live.iter().map(|((index, _), id)| (*index, *id))
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// No message that an op before this one published is there.
    pub(super) fn oldest_live(&self) -> OpIndex {
        self.live.keys().next().map_or(OpIndex(self.applied.0 + 1), |(index, _)| *index)
    }

    /// The bytes of a copy.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let words = self
            .live
            .iter()
            .flat_map(|((index, n), id)| [u32::try_from(index.0).unwrap(), *n, *id]);
        words.flat_map(u32::to_be_bytes).collect()
    }

    pub(super) fn from_bytes(applied: OpIndex, bytes: &[u8]) -> Self {
        let mut content = Self { applied, ..Self::default() };
        for three in decode(bytes).chunks_exact(3) {
            let place = (OpIndex(three[0].into()), three[1]);
            content.live.insert(place, three[2]);
            content.places.insert(three[2], place);
        }
        content
    }
}
