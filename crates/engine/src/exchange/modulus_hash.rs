//! The modulus hash exchange: the hash of the keys, modulo the number of destinations, chooses one
//! of them in the order of their names. So the choice does not depend on the order of binding.
// rabbitmq: x-modulus-hash

use super::hash;
use super::targets::Target;
use crate::command::Destination;

/// The destinations, each once, in the order of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModulusHashIndex {
    list: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Exchanges come before queues.
    destination: Destination,
    target: Target,
    /// Bindings that lead there.
    n_bindings: u32,
}

impl ModulusHashIndex {
    pub(crate) fn add(&mut self, destination: &Destination, target: Target) {
        match self.list.binary_search_by(|entry| entry.destination.cmp(destination)) {
            Ok(at) => {
                if let Some(entry) = self.list.get_mut(at) {
                    entry.n_bindings += 1;
                }
            }
            Err(at) => {
                let destination = destination.clone();
                self.list.insert(at, Entry { destination, target, n_bindings: 1 });
            }
        }
    }

    pub(crate) fn remove(&mut self, target: Target) {
        let Some(at) = self.list.iter().position(|entry| entry.target == target) else { return };
        let Some(entry) = self.list.get_mut(at) else { return };
        entry.n_bindings -= 1;
        if entry.n_bindings == 0 {
            self.list.remove(at);
        }
    }

    /// Appends the one destination of these keys.
    pub(crate) fn route(&self, keys: &[&[u8]], out: &mut Vec<Target>) {
        if self.list.is_empty() {
            return;
        }
        let at = hash::of_all(keys.iter().copied()) % self.list.len() as u64;
        out.extend(self.list.get(at as usize).map(|entry| entry.target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(n: u32) -> Destination {
        Destination::Queue(format!("q{n}").into())
    }

    fn choices(index: &ModulusHashIndex) -> Vec<Target> {
        let mut out = Vec::new();
        for key in 0..3000_u32 {
            index.route(&[&key.to_le_bytes()], &mut out);
        }
        out
    }

    #[test]
    fn the_order_of_binding_does_not_matter_and_the_spread_is_even() {
        let (mut up, mut down) = (ModulusHashIndex::default(), ModulusHashIndex::default());
        assert!(choices(&up).is_empty());
        (0..6).for_each(|n| up.add(&queue(n), Target::queue(n)));
        (0..6).rev().for_each(|n| down.add(&queue(n), Target::queue(n)));
        let chosen = choices(&up);
        assert_eq!(chosen, choices(&down));
        for n in 0..6 {
            let count = chosen.iter().filter(|target| **target == Target::queue(n)).count();
            assert!((420..580).contains(&count), "{n}: {count}");
        }
    }

    #[test]
    fn a_destination_counts_once_and_leaves_with_its_last_binding() {
        let mut index = ModulusHashIndex::default();
        for n in [0, 1, 1, 1] {
            index.add(&queue(n), Target::queue(n));
        }
        let ones = choices(&index).iter().filter(|target| **target == Target::queue(1)).count();
        assert!((1350..1650).contains(&ones), "{ones}");
        index.remove(Target::queue(1));
        index.remove(Target::queue(1));
        assert!(choices(&index).contains(&Target::queue(1)));
        index.remove(Target::queue(1));
        index.remove(Target::queue(1));
        assert!(choices(&index).iter().all(|target| *target == Target::queue(0)));
    }
}
