//! The data directory: made when it is not there, and held by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// The file whose lock says that the directory is in use.
const LOCK_FILE: &str = "leveret.lock";

/// A directory that no other process uses as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The system releases the lock with the file, also after a crash.
    _lock: File,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error(
        "the data directory {} is in use by another leveret{}; stop it, or choose another \
         directory with --data-dir",
        path.display(),
        holder(pid.as_deref())
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, if it wrote its number.
        pid: Option<String>,
    },
    /// The system refuses.
    #[error("cannot use the data directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn holder(pid: Option<&str>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl DataDir {
    /// Makes the directory if it is not there, and takes it.
    ///
    /// # Errors
    /// When another process holds it or the system refuses.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(io)?;
        let path = path.canonicalize().map_err(io)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The number is a help for the reader, not needed.
                let read = lock.read_to_string(&mut pid).is_ok();
                let pid = pid.trim().to_owned();
                return Err(DataDirError::InUse {
                    path,
                    pid: (read && !pid.is_empty()).then_some(pid),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(io)?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_and_free_again_afterwards() {
        let dir = std::env::temp_dir().join(format!("leveret-dir-{}", std::process::id()));
        let inner = dir.join("made/at/once");
        let held = DataDir::take(&inner).unwrap();
        assert!(held.path().is_absolute());
        let refused = DataDir::take(&inner).unwrap_err().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        drop(held);
        drop(DataDir::take(&inner).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_an_error_that_names_it() {
        let file = std::env::temp_dir().join(format!("leveret-file-{}", std::process::id()));
        std::fs::write(&file, "x").unwrap();
        let error = DataDir::take(&file).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
        std::fs::remove_file(&file).unwrap();
    }
}
