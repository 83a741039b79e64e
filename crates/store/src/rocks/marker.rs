//! The durable marker: a small file that says up to which group commit the log was synced. It tells
//! a log that ends where it may from one that lost what was confirmed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::{Gcn, MARKER_EVERY, StoreError, failpoint};

const FILE: &str = "durable";
const DRAFT: &str = "durable.new";
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
        let path = folder.join(FILE);
        if !path.metadata().is_ok_and(|found| found.len() == FILE_BYTES as u64) {
            make(folder, gcn)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| StoreError::of_io("opening the durable marker", &e))?;
        let mut marker = Self { file, said: Gcn(0), turn: 0, last: None };
        // Both places, so that nothing older is left to be believed.
        for _ in PLACES {
            marker.write(gcn)?;
        }
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

/// Whole or not at all: a start that finds no marker knows that making the store was cut short, one that finds an empty
/// marker does not know what is lost.
fn make(folder: &Path, gcn: Gcn) -> Result<(), StoreError> {
    let draft = folder.join(DRAFT);
    let made = || -> std::io::Result<()> {
        let file = File::create(&draft)?;
        file.set_len(FILE_BYTES as u64)?;
        for at in PLACES {
            file.write_all_at(&entry(gcn), at)?;
        }
        file.sync_all()?;
        failpoint::pass("marker-drafted");
        std::fs::rename(&draft, folder.join(FILE))
    };
    made().map_err(|e| StoreError::of_io("making the durable marker", &e))?;
    super::folder::sync_folder(folder)
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
