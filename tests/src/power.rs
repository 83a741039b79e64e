//! A power cut after the fact: a broker runs with the library of `tests/power-loss` preloaded, which remembers what was
//! written and not synced; when the broker is gone, [`Power::cut`] makes its folder what a cut at that moment would have
//! left.
//!
//! What is modelled: of the writes to a file since its last sync, those up to some point survive, or any of their sectors,
//! or none; so does its size. Of the changes of a folder since its last sync, those up to some point survive; a name also
//! with a sync of the file. What is not: a folder that is removed stays removed, and RocksDB's log of events is not watched.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rand::Rng;

mod journal;

use journal::{Change, Entry, Write};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// The memory of a data folder whose power can be cut.
pub struct Power {
    folder: PathBuf,
    journal: PathBuf,
}

/// What a cut took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Writes that were not synced.
    pub writes: usize,
    /// Changes of folders that were undone.
    pub names: usize,
}

/// The library to preload.
///
/// # Panics
/// When there is none, naming the command that builds it.
#[must_use]
pub fn library() -> PathBuf {
    let mut library = crate::leveret();
    library.set_file_name("libleveret_power_loss.so");
    assert!(
        library.is_file(),
        "there is no {}: build it with `cargo build -p leveret-power-loss`",
        library.display()
    );
    library
}

impl Power {
    /// Watches a data folder that no broker has yet.
    ///
    /// # Panics
    /// When there is no room beside it.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let journal = folder.with_extension("journal");
        let _ = fs::remove_dir_all(&journal);
        fs::create_dir_all(&journal).unwrap_or_else(|e| panic!("{}: {e}", journal.display()));
        Self { folder: folder.into(), journal }
    }

    /// The environment of a broker whose power can be cut.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", library().into()),
            ("LEVERET_POWER_DIR", self.folder.clone().into()),
            ("LEVERET_POWER_LOG", self.journal.clone().into()),
        ]
    }

    /// Cuts the power: what is in the folder afterwards is on disk.
    ///
    /// # Panics
    /// When the folder cannot be read or written.
    pub fn cut(&self, rng: &mut impl Rng) -> Taken {
        self.try_cut(rng).unwrap_or_else(|error| panic!("cutting the power: {error}"))
    }

    fn try_cut(&self, rng: &mut impl Rng) -> io::Result<Taken> {
        let path = self.journal.join("journal");
        let bytes = if path.exists() { fs::read(&path)? } else { Vec::new() };
        let (files, folders) = journal::unsynced(&Entry::all(&bytes));
        let mut taken = Taken::default();
        let places = self.places()?;
        for (file, writes) in &files {
            taken.writes += writes.len();
            if let Some(path) = places.get(file) {
                tear(path, writes, rng)?;
            }
        }
        for changes in folders {
            let kept = rng.random_range(0..=changes.len());
            for change in changes.iter().skip(kept).rev() {
                taken.names += 1;
                self.undo(change)?;
            }
        }
        fs::remove_dir_all(&self.journal)?;
        fs::create_dir(&self.journal)?;
        Ok(taken)
    }

    /// Everything by its number.
    fn places(&self) -> io::Result<HashMap<u64, PathBuf>> {
        let mut places = HashMap::new();
        walk(&self.journal, &mut places)?;
        // What still has a name is found by that.
        if self.folder.exists() {
            walk(&self.folder, &mut places)?;
        }
        Ok(places)
    }

    fn undo(&self, change: &Change) -> io::Result<()> {
        let places = self.places()?;
        let at = |folder: u64, name: &[u8]| {
            let folder = places.get(&folder).filter(|folder| folder.is_dir())?;
            Some(folder.join(OsString::from_vec(name.to_vec())))
        };
        let back = |kept: u64, to: &Path| {
            let from = self.journal.join(kept.to_string());
            if kept != 0 && !to.exists() && from.exists() {
                fs::hard_link(from, to)?;
            }
            Ok(())
        };
        match change {
            Change::Created { folder, file, name } => match at(*folder, name) {
                Some(path) if is(&path, *file) && path.is_dir() => fs::remove_dir_all(path),
                Some(path) if is(&path, *file) => fs::remove_file(path),
                _ => Ok(()),
            },
            Change::Removed { folder, kept, name } => {
                at(*folder, name).map_or(Ok(()), |path| back(*kept, &path))
            }
            Change::Renamed { folder, file, replaced, old_folder, name, old_name } => {
                let (Some(new), Some(old)) = (at(*folder, name), at(*old_folder, old_name)) else {
                    return Ok(());
                };
                if is(&new, *file) && !old.exists() {
                    fs::rename(&new, old)?;
                }
                back(*replaced, &new)
            }
        }
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.journal);
    }
}

fn is(path: &Path, number: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.ino() == number)
}

fn walk(folder: &Path, places: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    places.insert(fs::metadata(folder)?.ino(), folder.into());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), places)?;
        } else {
            places.insert(entry.metadata()?.ino(), entry.path());
        }
    }
    Ok(())
}

/// Makes the file what is left of its last writes.
fn tear(path: &Path, writes: &[Write<'_>], rng: &mut impl Rng) -> io::Result<()> {
    let mut content = fs::read(path)?;
    // The last ones are gone in any case.
    let gone = rng.random_range(0..=writes.len());
    let (older, newer) = writes.split_at(writes.len() - gone);
    newer.iter().rev().for_each(|write| write.undo(&mut content));
    let mut base = content.clone();
    older.iter().rev().for_each(|write| write.undo(&mut base));
    let left = match rng.random_range(0..3) {
        0 => base,
        1 => content,
        _ => torn(&base, content, rng),
    };
    let file = File::options().write(true).open(path)?;
    file.set_len(left.len() as u64)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &left, 0)
}

/// Sectors of one and of the other; what was allocated and not written is zero.
fn torn(base: &[u8], mut content: Vec<u8>, rng: &mut impl Rng) -> Vec<u8> {
    if base.len() > content.len() {
        // It was cut, and that did not get through.
        content.extend_from_slice(&base[content.len()..]);
    }
    for (number, sector) in content.chunks_mut(SECTOR).enumerate() {
        if rng.random_bool(0.5) {
            let old = base.get(number * SECTOR..).unwrap_or_default();
            let old = &old[..old.len().min(sector.len())];
            let (same, beyond) = sector.split_at_mut(old.len());
            same.copy_from_slice(old);
            beyond.fill(0);
        }
    }
    content
}
