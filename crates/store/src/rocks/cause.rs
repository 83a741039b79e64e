//! The cause of a failure. When RocksDB's own threads meet it first, whoever writes next hears only that there was one;
//! RocksDB's notes have the system's words.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::folder::database;
use crate::StoreError;

/// How RocksDB says that something failed before.
const REPEATED: &str = "previous error";

/// How every failure of the disk begins in its notes.
const CAUSE: &str = "IO error: ";

/// Bytes of the notes that are looked at, from their end.
const NOTES: u64 = 64 * 1024;

/// The error with its cause, where RocksDB did not say it and its notes do.
pub(super) fn told(error: StoreError, folder: &Path) -> StoreError {
    let tell = |detail: String| match detail.contains(REPEATED).then(|| noted(folder)) {
        Some(Some(cause)) => format!("{detail} The first was: {cause}"),
        _ => detail,
    };
    match error {
        StoreError::Io { doing, detail } => StoreError::Io { doing, detail: tell(detail) },
        other => other,
    }
}

/// The newest failure of the disk in RocksDB's notes. That they cannot be read changes nothing.
fn noted(folder: &Path) -> Option<String> {
    let mut file = File::open(database(folder).join("LOG")).ok()?;
    let from = file.metadata().ok()?.len().saturating_sub(NOTES);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut notes = Vec::new();
    file.read_to_end(&mut notes).ok()?;
    newest(&String::from_utf8_lossy(&notes))
}

fn newest(notes: &str) -> Option<String> {
    let causes = notes.lines().rev().filter(|line| !line.contains(REPEATED));
    causes.filter_map(|line| line.find(CAUSE).and_then(|at| line.get(at..))).next().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_failure_that_is_no_repetition_is_the_cause() {
        let notes = "2026 [db/x] fine\n\
             2026 [ERROR] Background IO error IO error: While fdatasync: 000008.log: Input/output error, reason 2\n\
             2026 [ERROR] IO error: Writer has previous error.\n";
        let cause = newest(notes).expect("there is one");
        assert!(cause.starts_with("IO error: While fdatasync: 000008.log: Input/output error"));
        assert_eq!(newest("nothing of the kind"), None);
    }

    #[test]
    fn without_notes_the_error_is_as_it_was() {
        let error =
            StoreError::Io { doing: "syncing", detail: "Writer has previous error.".into() };
        assert_eq!(told(error.clone(), Path::new("/nowhere")), error);
    }
}
