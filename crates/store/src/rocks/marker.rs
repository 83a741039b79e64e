//! The durable marker: a small file that says up to which group commit the log was synced. It tells
//! a log that ends where it may from one that lost what was confirmed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::{Gcn, MARKER_EVERY, StoreError};

const FILE: &str = "durable";
/// Two places, written in turn, each in a sector of its own: one that is torn leaves the other.
const PLACES: [u64; 2] = [0, 2048];
const FILE_BYTES: usize = 4096;
const MAGIC: [u8; 4] = *b"lvdm";
const ENTRY: usize = 16;

/// The open file and what it says.
#[derive(Debug)]
pub(crate) struct Marker {
    file: File,
    said: Gcn,
    turn: usize,
    last: Option<Instant>,
}

impl Marker {
    /// What the marker in `folder` says; none when there is no marker or nothing in it can be read.
    pub(crate) fn read(folder: &Path) -> Result<Option<Gcn>, StoreError> {
        match std::fs::read(folder.join(FILE)) {
            Ok(bytes) => Ok(PLACES.iter().filter_map(|at| parse(&bytes, *at)).max()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::of_io("reading the durable marker", &error)),
        }
    }

    /// Whether there is a marker file at all: it is the last thing that making a store does.
    pub(super) fn exists(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Opens the marker for writing and makes it say `gcn`.
    pub(crate) fn open(folder: &Path, gcn: Gcn) -> Result<Self, StoreError> {
        let doing = "opening the durable marker";
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(folder.join(FILE)).map_err(|e| StoreError::of_io(doing, &e))?;
        let len = file.metadata().map_err(|e| StoreError::of_io(doing, &e))?.len();
        if len != FILE_BYTES as u64 {
            file.write_all_at(&[0; FILE_BYTES], 0).map_err(|e| StoreError::of_io(doing, &e))?;
        }
        let mut marker = Self { file, said: Gcn(0), turn: 0, last: None };
        // Both places, so that nothing older is left to be believed.
        for _ in PLACES {
            marker.write(gcn)?;
        }
        super::folder::sync_folder(folder)?;
        Ok(marker)
    }

    /// Notes that everything up to `gcn` is durable; reaches the disk if the last time is long enough ago.
    pub(super) fn note(&mut self, gcn: Gcn, now: Instant) -> Result<(), StoreError> {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= MARKER_EVERY);
        if gcn > self.said && due {
            self.write(gcn)?;
            self.last = Some(now);
        }
        Ok(())
    }

    /// Notes it and reaches the disk at once if it is news.
    pub(crate) fn settle(&mut self, gcn: Gcn) -> Result<(), StoreError> {
        if gcn > self.said { self.write(gcn) } else { Ok(()) }
    }

    fn write(&mut self, gcn: Gcn) -> Result<(), StoreError> {
        let written = self.file.write_all_at(&entry(gcn), PLACES[self.turn]);
        // The length does not change, so this is one write to disk, as with O_DSYNC.
        let synced = written.and_then(|()| self.file.sync_data());
        synced.map_err(|error| StoreError::of_io("writing the durable marker", &error))?;
        self.turn = (self.turn + 1) % PLACES.len();
        self.said = gcn;
        Ok(())
    }
}

fn entry(gcn: Gcn) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..12].copy_from_slice(&gcn.0.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8], at: u64) -> Option<Gcn> {
    let at = usize::try_from(at).ok()?;
    let found = bytes.get(at..at + ENTRY)?;
    let gcn = Gcn(crate::keys::number(&found[4..12])?);
    (found == entry(gcn)).then_some(gcn)
}
