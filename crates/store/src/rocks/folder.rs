//! The folder of a store: what lies in it, who may open it, which format it has. Knows nothing of
//! RocksDB, which has a folder of its own inside.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::{FORMAT, StoreError, StoreId};

const FORMAT_FILE: &str = "FORMAT";
const TITLE: &str = "leveret message store";

/// RocksDB's folder.
pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join("db")
}

/// Held as long as the folder is open; the system lets go when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Takes the folder for this process, and makes it if there is none.
pub(super) fn lock(folder: &Path) -> Result<Lock, StoreError> {
    let doing = "locking the store";
    std::fs::create_dir_all(folder).map_err(|e| StoreError::of_io(doing, &e))?;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(folder.join("lock")).map_err(|e| StoreError::of_io(doing, &e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::Locked { path: folder.into(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::of_io(doing, &error)),
    }
    // The number is for the error message of the next one only.
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    noted.map_err(|e| StoreError::of_io(doing, &e))?;
    Ok(Lock { _file: file })
}

/// The identity in the format file; none for a folder without a store. A store of another format is refused.
pub(super) fn identity(folder: &Path) -> Result<Option<StoreId>, StoreError> {
    let text = match std::fs::read(folder.join(FORMAT_FILE)) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if database(folder).exists() {
                let found = "without a format file".to_owned();
                return Err(StoreError::OtherFormat { path: folder.into(), found });
            }
            return Ok(None);
        }
        Err(error) => return Err(StoreError::of_io("reading the format file", &error)),
    };
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(StoreError::damaged("the format file", "it does not begin as it should"));
    }
    let field = |line: Option<&str>, name: &str| Some(line?.strip_prefix(name)?.trim().to_owned());
    let found = field(lines.next(), "format").unwrap_or_default();
    if found.parse() != Ok(FORMAT) {
        return Err(StoreError::OtherFormat { path: folder.into(), found });
    }
    let id = field(lines.next(), "id").and_then(|id| u128::from_str_radix(&id, 16).ok());
    match id {
        Some(id) => Ok(Some(StoreId(id))),
        None => Err(StoreError::damaged("the format file", "it has no identity")),
    }
}

/// Writes the format file, whole or not at all.
pub(super) fn set_identity(folder: &Path, id: StoreId) -> Result<(), StoreError> {
    let text = format!("{TITLE}\nformat {FORMAT}\nid {id}\n");
    let doing = "writing the format file";
    let draft = folder.join("FORMAT.new");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&draft, folder.join(FORMAT_FILE)))
        .map_err(|e| StoreError::of_io(doing, &e))?;
    sync_folder(folder)
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|e| StoreError::of_io("syncing a folder", &e))
}

/// Copies a folder with the files in it (it has no folders) and makes the copy durable.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let copied = || -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            std::fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
        Ok(())
    };
    copied().map_err(|e| StoreError::of_io("copying the store", &e))?;
    sync_folder(to)
}
