//! The same contract without a disk, for tests and simulations: what was kept lasts as long as the value.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{MetaError, MetaKey, MetaSnapshot, MetaStore};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryMeta {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    log: BTreeMap<u64, Vec<u8>>,
    values: BTreeMap<MetaKey, Vec<u8>>,
    snapshot: Option<MetaSnapshot>,
}

impl MemoryMeta {
    fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> Result<R, MetaError> {
        // A panic in between leaves every map as it was before or after one call.
        Ok(work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl MetaStore for MemoryMeta {
    fn append(&self, first: u64, entries: &[&[u8]]) -> Result<(), MetaError> {
        self.with(|inner| inner.log.extend((first..).zip(entries.iter().map(|e| e.to_vec()))))
    }

    fn truncate(&self, from: u64) -> Result<(), MetaError> {
        self.with(|inner| drop(inner.log.split_off(&from)))
    }

    fn purge(&self, upto: u64, mark: &[u8]) -> Result<(), MetaError> {
        self.with(|inner| {
            inner.log = inner.log.split_off(&upto.saturating_add(1));
            inner.values.insert(MetaKey::Purged, mark.to_vec());
        })
    }

    fn read(&self, from: u64, until: u64) -> Result<Vec<(u64, Vec<u8>)>, MetaError> {
        if from >= until {
            return Ok(Vec::new());
        }
        self.with(|inner| inner.log.range(from..until).map(|(i, e)| (*i, e.clone())).collect())
    }

    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, MetaError> {
        self.with(|inner| inner.log.last_key_value().map(|(i, e)| (*i, e.clone())))
    }

    fn put(&self, key: MetaKey, value: &[u8]) -> Result<(), MetaError> {
        self.with(|inner| drop(inner.values.insert(key, value.to_vec())))
    }

    fn get(&self, key: MetaKey) -> Result<Option<Vec<u8>>, MetaError> {
        self.with(|inner| inner.values.get(&key).cloned())
    }

    fn put_snapshot(&self, snapshot: &MetaSnapshot) -> Result<(), MetaError> {
        self.with(|inner| inner.snapshot = Some(snapshot.clone()))
    }

    fn snapshot(&self) -> Result<Option<MetaSnapshot>, MetaError> {
        self.with(|inner| inner.snapshot.clone())
    }

    fn starts(&self) -> u64 {
        1
    }
}
