//! What is watched, and which call is to fail.

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libc::{c_char, c_int};

use crate::journal::Journal;
use crate::system::{self, link_target};

/// The one state of the process; none when it is not watched.
pub(crate) struct State {
    dir: Vec<u8>,
    journal: Mutex<Journal>,
    fails: Option<Fails>,
}

struct Fails {
    error: c_int,
    sync: bool,
    /// Whether all calls after it fail too.
    lasts: bool,
    at: u64,
    passed: AtomicU64,
}

/// The state of this process.
pub(crate) fn state() -> Option<&'static State> {
    static STATE: OnceLock<Option<State>> = OnceLock::new();
    STATE.get_or_init(State::from_environment).as_ref()
}

impl State {
    fn from_environment() -> Option<Self> {
        let variable = |name| std::env::var_os(name).map(OsString::into_vec);
        let dir = variable("LEVERET_POWER_DIR")?;
        let journal = Journal::open(&variable("LEVERET_POWER_LOG")?)?;
        let fails = std::env::var("LEVERET_POWER_FAIL").ok().and_then(|text| Fails::parse(&text));
        Some(Self { dir, journal: Mutex::new(journal), fails })
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a path is that of the folder or below it.
    pub(crate) fn watches(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.dir.as_slice())
            .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }

    /// Whether a descriptor is that of something in the folder.
    pub(crate) fn watches_descriptor(&self, fd: c_int) -> bool {
        link_target(&format!("/proc/self/fd/{fd}")).is_some_and(|path| self.watches(&path))
    }

    /// The error that a write is to fail with.
    pub(crate) fn write_fails(&self) -> Option<c_int> {
        self.fails.as_ref().filter(|fails| !fails.sync)?.pass()
    }

    /// The error that a sync is to fail with.
    pub(crate) fn sync_fails(&self) -> Option<c_int> {
        self.fails.as_ref().filter(|fails| fails.sync)?.pass()
    }
}

impl Fails {
    fn parse(text: &str) -> Option<Self> {
        let (what, at) = text.split_once(':')?;
        let (error, sync, lasts) = match what {
            "ENOSPC" => (libc::ENOSPC, false, true),
            "EIO" => (libc::EIO, false, false),
            "EIO-SYNC" => (libc::EIO, true, false),
            _ => return None,
        };
        Some(Self { error, sync, lasts, at: at.parse().ok()?, passed: AtomicU64::new(0) })
    }

    fn pass(&self) -> Option<c_int> {
        let now = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        let fails = now == self.at || (self.lasts && now > self.at);
        fails.then_some(self.error)
    }
}

/// The whole path of what a call names.
pub(crate) fn whole_path(dir: c_int, path: *const c_char) -> Option<Vec<u8>> {
    if path.is_null() {
        return None;
    }
    // SAFETY: whoever calls the function that we stand for passes a text that ends with a zero.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if path.first() == Some(&b'/') {
        return Some(path.to_vec());
    }
    let mut whole = if dir == libc::AT_FDCWD {
        link_target("/proc/self/cwd")?
    } else {
        link_target(&format!("/proc/self/fd/{dir}"))?
    };
    whole.push(b'/');
    whole.extend_from_slice(path);
    Some(whole)
}

/// The folder that a path is in, by its number, and the name there.
pub(crate) fn parent(path: &[u8]) -> Option<(u64, &[u8])> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    let (folder, name) = (path.get(..at)?, path.get(at + 1..)?);
    Some((system::status_at(folder)?.st_ino, name))
}
