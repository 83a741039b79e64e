//! The routes a channel took last: address → queues. An entry stands for every check that a publish
//! needs besides those of its own properties, and holds as long as the routing version does.
//! Hot path.

use leveret_engine::QueueId;
use smallvec::SmallVec;

use crate::limits::{ROUTE_ADDRESS_MAX, ROUTES_CACHED};

/// Routes that share a hash, so that a few keys of a publisher do not drive each other out.
const WAYS: usize = 4;
const SETS: usize = ROUTES_CACHED / WAYS;

/// Where the messages of one address go.
#[derive(Debug, Default)]
struct Route {
    hash: u64,
    address: Vec<u8>,
    targets: SmallVec<[QueueId; 4]>,
}

/// The place of a route in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    set: usize,
    way: usize,
}

#[derive(Debug, Default)]
struct Set {
    routes: SmallVec<[Route; 1]>,
    /// The way that is overwritten next.
    next: usize,
}

/// A small table, indexed by a hash of the address; empty until the first route is stored.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    version: u64,
    sets: Vec<Set>,
    /// The exchange that was checked last: it exists and the user may publish to it.
    exchange: Option<Vec<u8>>,
}

impl Routes {
    /// Forgets everything that was found under another version.
    #[inline]
    pub(crate) fn at_version(&mut self, version: u64) {
        if version != self.version {
            self.sets.clear();
            self.exchange = None;
            self.version = version;
        }
    }

    /// The place of the route of this address, if it is known.
    #[inline]
    pub(crate) fn find(&self, address: &[u8]) -> Option<Place> {
        if self.sets.is_empty() {
            return None;
        }
        let hash = hash(address);
        let set = set_of(hash);
        let routes = &self.sets.get(set)?.routes;
        let way = routes.iter().position(|route| route.hash == hash && route.address == address)?;
        Some(Place { set, way })
    }

    /// The queues of a route that was found.
    #[inline]
    pub(crate) fn targets(&self, place: Place) -> &[QueueId] {
        let route = self.sets.get(place.set).and_then(|set| set.routes.get(place.way));
        route.map_or(&[], |route| &route.targets)
    }

    /// Remembers a route.
    pub(crate) fn put(&mut self, address: &[u8], targets: &[QueueId]) {
        if address.len() > ROUTE_ADDRESS_MAX {
            return;
        }
        if self.sets.is_empty() {
            self.sets.resize_with(SETS, Set::default);
        }
        let hash = hash(address);
        let Some(set) = self.sets.get_mut(set_of(hash)) else { return };
        if set.routes.len() < WAYS {
            set.next = set.routes.len();
            set.routes.push(Route::default());
        }
        if let Some(route) = set.routes.get_mut(set.next) {
            route.hash = hash;
            route.address.clear();
            route.address.extend_from_slice(address);
            route.targets.clear();
            route.targets.extend_from_slice(targets);
        }
        set.next = (set.next + 1) % WAYS;
    }

    /// Whether this exchange was the last that was checked.
    pub(crate) fn is_checked(&self, exchange: &[u8]) -> bool {
        self.exchange.as_deref() == Some(exchange)
    }

    /// Remembers that the exchange was checked.
    pub(crate) fn checked(&mut self, exchange: &[u8]) {
        let last = self.exchange.get_or_insert_default();
        last.clear();
        last.extend_from_slice(exchange);
    }
}

fn set_of(hash: u64) -> usize {
    hash as usize % SETS
}

/// A hash of the length and both ends of the address, which is where names differ.
#[inline]
fn hash(address: &[u8]) -> u64 {
    const ODD: u64 = 0xD6E8_FEB8_6659_FD93;
    let head = address.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let tail = match address.last_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => address.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    };
    let mixed = (head.wrapping_mul(ODD) ^ tail ^ (address.len() as u64) << 56).wrapping_mul(ODD);
    (mixed ^ (mixed >> 32)).wrapping_mul(ODD) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_holds_until_the_version_changes() {
        let mut routes = Routes::default();
        assert!(routes.find(b"\0\x01q").is_none());
        routes.at_version(7);
        routes.put(b"\0\x01q", &[QueueId(1)]);
        let place = routes.find(b"\0\x01q").unwrap();
        assert_eq!(routes.targets(place), [QueueId(1)]);
        assert!(routes.find(b"\0\x01r").is_none());
        routes.checked(b"x");
        routes.at_version(7);
        assert!(routes.find(b"\0\x01q").is_some() && routes.is_checked(b"x"));
        routes.at_version(8);
        assert!(routes.find(b"\0\x01q").is_none() && !routes.is_checked(b"x"));
    }

    #[test]
    fn the_table_stays_small_and_holds_the_routes_of_a_usual_publisher() {
        let mut routes = Routes::default();
        let address = |key: u32| format!("\u{6}events\u{9}user.{key:04}").into_bytes();
        for key in 0..12 {
            routes.put(&address(key), &[QueueId(key.into())]);
        }
        let known = (0..12).filter(|key| routes.find(&address(*key)).is_some()).count();
        assert!(known >= 11, "{known} of 12 routes are known");
        for key in 0..1000 {
            routes.put(&address(key), &[]);
            assert!(routes.find(&address(key)).is_some());
        }
        assert!(routes.sets.iter().map(|set| set.routes.len()).sum::<usize>() <= ROUTES_CACHED);
        routes.put(&[b'x'; ROUTE_ADDRESS_MAX + 1], &[]);
        assert!(routes.find(&[b'x'; ROUTE_ADDRESS_MAX + 1]).is_none());
    }
}
