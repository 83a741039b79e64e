//! What the preloaded library wrote down, as `tests/power-loss/src/journal.rs` says, and what of it a cut can take.

use std::collections::BTreeMap;

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Written(u64, Write<'a>),
    Synced(u64),
    Changed(u64, Change),
}

/// What a write or a change of size replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write<'a> {
    offset: u64,
    size: u64,
    old: &'a [u8],
}

/// A change of a folder, by numbers of files and folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Created {
        folder: u64,
        file: u64,
        name: Vec<u8>,
    },
    Removed {
        folder: u64,
        kept: u64,
        name: Vec<u8>,
    },
    Renamed {
        folder: u64,
        file: u64,
        replaced: u64,
        old_folder: u64,
        name: Vec<u8>,
        old_name: Vec<u8>,
    },
}

/// By file, and folder by folder.
pub(super) type Unsynced<'a> = (BTreeMap<u64, Vec<Write<'a>>>, Vec<Vec<Change>>);

/// What no sync made durable.
pub(super) fn unsynced<'a>(entries: &[Entry<'a>]) -> Unsynced<'a> {
    let mut files: BTreeMap<u64, Vec<Write<'a>>> = BTreeMap::new();
    let mut folders: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Written(file, write) => files.entry(*file).or_default().push(write.clone()),
            Entry::Changed(folder, change) => {
                if let Change::Created { file, .. } = change {
                    // The number may have been that of a folder that is gone.
                    folders.remove(file);
                }
                folders.entry(*folder).or_default().push(change.clone());
            }
            Entry::Synced(number) => {
                files.remove(number);
                folders.remove(number);
                // A file's name is made durable with it, and so is what was done in its folder before.
                for changes in folders.values_mut() {
                    let named = changes.iter().rposition(|change| change.names(*number));
                    changes.drain(..named.map_or(0, |at| at + 1));
                }
            }
        }
    }
    (files, folders.into_values().collect())
}

impl Change {
    fn names(&self, number: u64) -> bool {
        match self {
            Self::Created { file, .. } | Self::Renamed { file, .. } => *file == number,
            Self::Removed { .. } => false,
        }
    }
}

impl Write<'_> {
    pub(super) fn undo(&self, content: &mut Vec<u8>) {
        content.resize(self.size as usize, 0);
        if let Some(place) = content.get_mut(self.offset as usize..) {
            place[..self.old.len()].copy_from_slice(self.old);
        }
    }
}

impl<'a> Entry<'a> {
    /// All whole entries.
    ///
    /// # Panics
    /// When one is not as the library writes it.
    pub(super) fn all(mut bytes: &'a [u8]) -> Vec<Self> {
        let mut entries = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let Some((entry, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
            else {
                break;
            };
            let entry = Self::read(entry).unwrap_or_else(|| panic!("an odd entry: {entry:?}"));
            entries.push(entry);
            bytes = rest;
        }
        entries
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, mut rest) = bytes.split_first()?;
        let rest = &mut rest;
        Some(match kind {
            1 => {
                let (file, offset, size) = (number(rest)?, number(rest)?, number(rest)?);
                Self::Written(file, Write { offset, size, old: rest })
            }
            2 => Self::Synced(number(rest)?),
            3 => {
                let (folder, file, name) = (number(rest)?, number(rest)?, name(rest)?);
                Self::Changed(folder, Change::Created { folder, file, name })
            }
            4 => {
                let (folder, file, replaced) = (number(rest)?, number(rest)?, number(rest)?);
                let (old_folder, name, old_name) = (number(rest)?, name(rest)?, name(rest)?);
                let change = Change::Renamed { folder, file, replaced, old_folder, name, old_name };
                Self::Changed(folder, change)
            }
            5 => {
                let (folder, _file, kept) = (number(rest)?, number(rest)?, number(rest)?);
                Self::Changed(folder, Change::Removed { folder, kept, name: name(rest)? })
            }
            _ => return None,
        })
    }
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

fn name(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(number(bytes)?).ok()?;
    let (name, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, size: u64, old: &[u8]) -> Write<'_> {
        Write { offset, size, old }
    }

    #[test]
    fn undone_writes_give_back_what_was_there() {
        let mut content = b"abXXXXgh-more".to_vec();
        write(8, 8, b"").undo(&mut content);
        write(2, 8, b"cdef").undo(&mut content);
        assert_eq!(content, b"abcdefgh");
        // It was cut to four bytes.
        content.truncate(4);
        write(4, 8, b"efgh").undo(&mut content);
        assert_eq!(content, b"abcdefgh");
    }

    #[test]
    fn a_sync_of_a_file_keeps_its_name_and_what_came_before_in_the_folder() {
        let created = |file| Change::Created { folder: 1, file, name: vec![b'f'] };
        let entries = [
            Entry::Changed(1, created(7)),
            Entry::Changed(1, created(8)),
            Entry::Written(8, write(0, 0, b"")),
            Entry::Changed(1, created(9)),
            Entry::Written(9, write(0, 0, b"")),
            Entry::Synced(8),
        ];
        let (files, folders) = unsynced(&entries);
        assert_eq!(files.keys().collect::<Vec<_>>(), [&9]);
        assert_eq!(folders, [vec![created(9)]]);
        let folder = [&entries[..], &[Entry::Synced(1)]].concat();
        assert!(unsynced(&folder).1.is_empty());
    }
}
