//! A folder that is put together under another name and gets its own when it is whole, so that what is found under
//! that name is never half of something.

use std::path::{Path, PathBuf};

use super::folder;
use crate::StoreError;

/// A folder in the making. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    draft: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Begins `target`, which must not exist; what an earlier try left of it goes.
    ///
    /// # Errors
    /// `Misuse` when `target` exists or has no name; the disk's.
    pub fn of(target: &Path) -> Result<Self, StoreError> {
        if target.exists() {
            return Err(StoreError::Misuse("the target exists"));
        }
        let Some(name) = target.file_name() else {
            return Err(StoreError::Misuse("the target has no name"));
        };
        let mut name = name.to_owned();
        name.push(".partial");
        let draft = target.with_file_name(name);
        if draft.exists() {
            let gone = std::fs::remove_dir_all(&draft);
            gone.map_err(|e| StoreError::of_io("removing an unfinished copy", &e))?;
        }
        let draft = Self { draft, target: target.to_owned() };
        let made = std::fs::create_dir_all(&draft.draft);
        made.map_err(|e| StoreError::of_io("making a folder", &e))?;
        Ok(draft)
    }

    /// Where it is put together; the folder is there.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.draft
    }

    /// Fills it with the files of another folder (folders in that are not copied), durably.
    ///
    /// # Errors
    /// The disk's.
    pub fn copy_from(&self, folder: &Path) -> Result<(), StoreError> {
        folder::copy(folder, &self.draft)
    }

    /// Gives it its name, durably.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(self) -> Result<(), StoreError> {
        folder::sync_folder(&self.draft)?;
        std::fs::rename(&self.draft, &self.target)
            .map_err(|e| StoreError::of_io("naming the copy", &e))?;
        match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => folder::sync_folder(parent),
            _ => folder::sync_folder(Path::new(".")),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A finished one is not there any more; that an unfinished one could not be removed is less than the error
        // that left it.
        let _ = std::fs::remove_dir_all(&self.draft);
    }
}
