//! Things by name and by slot.

use crate::slab::Slab;
use foldhash::HashMap;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Things that are found by name, given as text or as the bytes of a routing key.
#[derive(Debug)]
pub(in crate::topology) struct Names<T> {
    by_name: HashMap<Name, u32>,
    slots: Slab<T>,
}

/// A name that is hashed as its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name(Arc<str>);

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { by_name: HashMap::default(), slots: Slab::default() }
    }
}

impl<T> Names<T> {
    #[inline]
    pub(in crate::topology) fn slot(&self, name: impl AsRef<[u8]>) -> Option<u32> {
        self.by_name.get(name.as_ref()).copied()
    }

    pub(in crate::topology) fn get(&self, name: &str) -> Option<&T> {
        self.slots.get(self.slot(name)?)
    }

    #[inline]
    pub(in crate::topology) fn at(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot)
    }

    pub(in crate::topology) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot)
    }

    pub(in crate::topology) fn insert(&mut self, name: Arc<str>, value: T) -> u32 {
        let slot = self.slots.insert(value);
        self.by_name.insert(Name(name), slot);
        slot
    }

    pub(in crate::topology) fn remove(&mut self, name: &str) -> Option<T> {
        let slot = self.by_name.remove(name.as_bytes())?;
        self.slots.remove(slot)
    }

    pub(in crate::topology) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(in crate::topology) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter()
    }

    /// Slots in the order of their names, whatever the order of the commands was.
    pub(in crate::topology) fn sorted_slots(&self) -> Vec<u32> {
        let mut named: Vec<_> = self.by_name.iter().collect();
        named.sort_unstable_by(|(a, _), (b, _)| a.0.cmp(&b.0));
        named.into_iter().map(|(_, &slot)| slot).collect()
    }
}
