//! The routes a channel took last: address → queues. An entry stands for every check that a publish
//! needs besides those of its own properties, and holds as long as the routing version does.
//! Hot path.

use leveret_engine::QueueId;
use smallvec::SmallVec;

use crate::limits::{ROUTE_ADDRESS_MAX, ROUTES_CACHED};

/// Where the messages of one address go.
#[derive(Debug, Default)]
struct Route {
    address: Vec<u8>,
    targets: SmallVec<[QueueId; 4]>,
}

/// A small table, indexed by a hash of the address.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    version: u64,
    /// Empty until the first route is stored.
    entries: Vec<Option<Route>>,
}

impl Routes {
    /// The place of the route of this address, if it is known and nothing has changed since.
    #[inline]
    pub(crate) fn find(&self, address: &[u8], version: u64) -> Option<usize> {
        if version != self.version {
            return None;
        }
        let at = slot(address);
        let route = self.entries.get(at)?.as_ref()?;
        (route.address == address).then_some(at)
    }

    /// The queues of a route that was found.
    #[inline]
    pub(crate) fn targets(&self, at: usize) -> &[QueueId] {
        self.entries.get(at).and_then(Option::as_ref).map_or(&[], |route| &route.targets)
    }

    /// Remembers a route that was found under `version`.
    pub(crate) fn put(&mut self, address: &[u8], version: u64, targets: &[QueueId]) {
        if address.len() > ROUTE_ADDRESS_MAX {
            return;
        }
        if version != self.version {
            self.entries.iter_mut().for_each(|entry| *entry = None);
            self.version = version;
        }
        if self.entries.is_empty() {
            self.entries.resize_with(ROUTES_CACHED, || None);
        }
        if let Some(entry) = self.entries.get_mut(slot(address)) {
            let route = entry.get_or_insert_default();
            route.address.clear();
            route.address.extend_from_slice(address);
            route.targets.clear();
            route.targets.extend_from_slice(targets);
        }
    }
}

/// The place of an address: its length and its ends, which is where names differ.
#[inline]
fn slot(address: &[u8]) -> usize {
    let head = address.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let tail = match address.last_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => address.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    };
    let mixed =
        (head ^ tail.rotate_left(29) ^ address.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 58) as usize % ROUTES_CACHED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_holds_until_the_version_changes() {
        let mut routes = Routes::default();
        assert!(routes.find(b"\0\x01q", 0).is_none());
        routes.put(b"\0\x01q", 7, &[QueueId(1)]);
        let at = routes.find(b"\0\x01q", 7).unwrap();
        assert_eq!(routes.targets(at), [QueueId(1)]);
        assert!(routes.find(b"\0\x01r", 7).is_none());
        assert!(routes.find(b"\0\x01q", 8).is_none());
        routes.put(b"\0\x01r", 8, &[]);
        assert!(routes.find(b"\0\x01q", 8).is_none());
    }

    #[test]
    fn keys_that_differ_in_one_character_mostly_have_places_of_their_own() {
        let mut places = std::collections::BTreeSet::new();
        for key in b'a'..b'i' {
            let address = [&b"\x06events\x05user."[..], &[key]].concat();
            places.insert(slot(&address));
        }
        assert!(places.len() >= 5, "8 keys share {} places", places.len());
    }
}
