//! The open channels of a connection, by number. Hot path: the channel of the last frame is found
//! without a search.

use std::collections::BTreeMap;

use crate::channel::Channel;

#[derive(Debug, Default)]
pub(crate) struct Channels {
    slots: Vec<Channel>,
    by_number: BTreeMap<u16, usize>,
    last: usize,
}

impl Channels {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Channel> {
        self.slots.get(*self.by_number.get(&number)?)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        if self.slots.get(self.last).is_none_or(|channel| channel.key.number != number) {
            self.last = *self.by_number.get(&number)?;
        }
        self.slots.get_mut(self.last)
    }

    pub(crate) fn insert(&mut self, channel: Channel) {
        self.last = self.slots.len();
        self.by_number.insert(channel.key.number, self.last);
        self.slots.push(channel);
    }

    pub(crate) fn remove(&mut self, number: u16) {
        let Some(at) = self.by_number.remove(&number) else { return };
        self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.by_number.insert(moved.key.number, at);
        }
        self.last = 0;
    }

    /// All channels by number.
    pub(crate) fn numbers(&self) -> Vec<u16> {
        self.by_number.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.by_number.values().filter_map(|at| self.slots.get(*at))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.slots.iter_mut()
    }
}
