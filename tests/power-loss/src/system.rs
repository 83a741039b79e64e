//! The system's own functions, called by number so that our own do not meet themselves.

use std::ffi::CString;

use libc::{c_int, c_long, off_t, stat};

/// A call by number.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: the arguments are those of the system call, and pointers among them come from the caller of the
        // function that we stand for, or from values that live until it returns.
        unsafe { libc::syscall(libc::$number $(, $argument)*) }
    };
}
pub(crate) use call;

/// Sets `errno` and answers with what failing calls return.
pub(crate) fn fail(error: c_int) -> c_long {
    // SAFETY: the location of this thread's `errno` is always valid.
    unsafe { *libc::__errno_location() = error };
    -1
}

pub(crate) fn status(fd: c_int) -> Option<stat> {
    // SAFETY: `stat` is made of integers, for which zeros are values.
    let mut found: stat = unsafe { std::mem::zeroed() };
    // SAFETY: `found` is valid and as large as the function expects.
    (unsafe { libc::fstat(fd, &raw mut found) } == 0).then_some(found)
}

/// Of the name itself, not of what a link points to.
pub(crate) fn status_at(path: &[u8]) -> Option<stat> {
    let path = CString::new(path).ok()?;
    // SAFETY: `stat` is made of integers, for which zeros are values.
    let mut found: stat = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and `found` is valid.
    (unsafe { libc::lstat(path.as_ptr(), &raw mut found) } == 0).then_some(found)
}

/// What a link of `/proc` says.
pub(crate) fn link_target(path: &str) -> Option<Vec<u8>> {
    let path = CString::new(path).ok()?;
    let mut target = vec![0; 4096];
    let room = target.len();
    let length = call!(SYS_readlinkat, libc::AT_FDCWD, path.as_ptr(), target.as_mut_ptr(), room);
    target.truncate(usize::try_from(length).ok()?);
    Some(target)
}

/// Bytes of a file, fewer where it ends.
pub(crate) fn read_at(fd: c_int, len: usize, offset: off_t) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut have = 0;
    while have < len {
        let room = bytes.get_mut(have..)?;
        let n = call!(SYS_pread64, fd, room.as_mut_ptr(), room.len(), offset + have as off_t);
        match usize::try_from(n).ok()? {
            0 => break,
            n => have += n,
        }
    }
    bytes.truncate(have);
    Some(bytes)
}

/// The content of a file that may be open for writing only: by a descriptor of our own.
pub(crate) fn read_again(fd: c_int, len: usize, offset: off_t) -> Option<Vec<u8>> {
    if len == 0 {
        return Some(Vec::new());
    }
    let path = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let own = call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
    let own = c_int::try_from(own).ok().filter(|own| *own >= 0)?;
    let bytes = read_at(own, len, offset);
    call!(SYS_close, own);
    bytes
}
