//! The plainest durable log: append and fdatasync, no checksum, no index, nothing to read it back.
//! It says what the disk can do at best, so that the store's figures mean something.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::StoreError;

/// What is appended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// Bytes of one append.
    pub append_bytes: usize,
    /// Appends, each followed by a sync.
    pub appends: u32,
}

/// What it took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// From before the first append to after the last sync.
    pub took: Duration,
    /// Each append with its sync, shortest first.
    pub each: Vec<Duration>,
}

/// Appends to a new file at `path`, which is removed afterwards.
///
/// # Errors
/// `Misuse` when there is a file already; `DiskFull` and `Io` as the system says.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
pub fn run(path: &Path, load: Load) -> Result<Outcome, StoreError> {
    let doing = "appending to a raw log";
    if path.exists() {
        return Err(StoreError::Misuse("the raw log is a file that exists"));
    }
    let mut file = File::create(path).map_err(|e| StoreError::of_io(doing, &e))?;
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(load.append_bytes).collect();
    let mut each = Vec::with_capacity(load.appends as usize);
    let start = Instant::now();
    let mut appended = Ok(());
    for _ in 0..load.appends {
        let before = Instant::now();
        appended = file.write_all(&bytes).and_then(|()| file.sync_data());
        if appended.is_err() {
            break;
        }
        each.push(before.elapsed());
    }
    let took = start.elapsed();
    let removed = std::fs::remove_file(path);
    appended.and(removed).map_err(|e| StoreError::of_io(doing, &e))?;
    each.sort_unstable();
    Ok(Outcome { took, each })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_append_is_timed_and_the_file_is_gone() {
        let path = std::env::temp_dir().join(format!("leveret-raw-log-{}", std::process::id()));
        let outcome = run(&path, Load { append_bytes: 100, appends: 7 }).expect("a temporary file");
        assert_eq!(outcome.each.len(), 7);
        assert!(outcome.took >= outcome.each.iter().sum());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        let path = std::env::temp_dir().join(format!("leveret-raw-kept-{}", std::process::id()));
        std::fs::write(&path, "keep").expect("a temporary file");
        let outcome = run(&path, Load { append_bytes: 1, appends: 1 });
        assert!(matches!(outcome, Err(StoreError::Misuse(_))));
        assert_eq!(std::fs::read(&path).expect("it is there"), b"keep");
        std::fs::remove_file(&path).expect("it is there");
    }
}
