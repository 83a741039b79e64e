//! What takes the place of the system's functions. Each notes what it is about to change, if that is watched, and then does
//! it. What the C library calls inside itself does not come by here: RocksDB's own log of events, written with `fwrite`.

use libc::{c_char, c_int, c_long, c_void, iovec, mode_t, off_t, size_t, ssize_t};

use crate::state::{State, state, whole_path};
use crate::system::{call, fail, status, status_at};

/// The state, if it watches the descriptor.
fn watched(fd: c_int) -> Option<&'static State> {
    state().filter(|state| state.watches_descriptor(fd))
}

/// The state and the whole path, if it watches that.
fn watched_path(dir: c_int, path: *const c_char) -> Option<(&'static State, Vec<u8>)> {
    let state = state()?;
    let path = whole_path(dir, path)?;
    state.watches(&path).then_some((state, path))
}

fn write_at(fd: c_int, offset: u64, len: u64, write: impl FnOnce() -> c_long) -> c_long {
    let Some(state) = watched(fd) else { return write() };
    if let Some(error) = state.write_fails() {
        return fail(error);
    }
    let journal = state.journal();
    journal.write(fd, offset, len);
    write()
}

/// Where a write without a place goes.
fn place(fd: c_int) -> u64 {
    let flags = call!(SYS_fcntl, fd, libc::F_GETFL);
    let at = if flags & c_long::from(libc::O_APPEND) != 0 {
        status(fd).map_or(0, |found| found.st_size)
    } else {
        call!(SYS_lseek, fd, 0, libc::SEEK_CUR)
    };
    u64::try_from(at).unwrap_or(0)
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    write_at(fd, place(fd), len as u64, || call!(SYS_write, fd, bytes, len)) as ssize_t
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn pwrite(fd: c_int, bytes: *const c_void, len: size_t, at: off_t) -> ssize_t {
    write_at(fd, at as u64, len as u64, || call!(SYS_pwrite64, fd, bytes, len, at)) as ssize_t
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, len: size_t, at: off_t) -> ssize_t {
    pwrite(fd, bytes, len, at)
}

/// As the system's.
///
/// # Safety
/// `parts` are `count` parts, as the system's function expects it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let n = usize::try_from(count).unwrap_or(0);
    // SAFETY: the caller's promise.
    let all = unsafe { std::slice::from_raw_parts(parts, n) };
    let len: usize = all.iter().map(|part| part.iov_len).sum();
    write_at(fd, place(fd), len as u64, || call!(SYS_writev, fd, parts, count)) as ssize_t
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate(fd: c_int, size: off_t) -> c_int {
    let Some(state) = watched(fd) else { return call!(SYS_ftruncate, fd, size) as c_int };
    let journal = state.journal();
    journal.resize(fd, size as u64);
    call!(SYS_ftruncate, fd, size) as c_int
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn ftruncate64(fd: c_int, size: off_t) -> c_int {
    ftruncate(fd, size)
}

/// As the system's. What is allocated holds zeros; only the size can change.
#[unsafe(no_mangle)]
pub extern "C" fn fallocate(fd: c_int, mode: c_int, at: off_t, len: off_t) -> c_int {
    let allocate = || call!(SYS_fallocate, fd, mode, at, len);
    write_at(fd, u64::MAX, 0, allocate) as c_int
}

/// As the system's, which answers with the error itself.
#[unsafe(no_mangle)]
pub extern "C" fn posix_fallocate(fd: c_int, at: off_t, len: off_t) -> c_int {
    if fallocate(fd, 0, at, len) == 0 {
        return 0;
    }
    // SAFETY: the location of this thread's `errno` is always valid.
    unsafe { *libc::__errno_location() }
}

fn sync(fd: c_int, sync: impl FnOnce() -> c_long) -> c_int {
    let Some(state) = watched(fd) else { return sync() as c_int };
    if let Some(error) = state.sync_fails() {
        return fail(error) as c_int;
    }
    state.journal().synced(fd);
    0
}

/// As the system's, but that what is watched is only noted.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, || call!(SYS_fsync, fd))
}

/// As the system's, but that what is watched is only noted.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, || call!(SYS_fdatasync, fd))
}

/// Makes nothing durable, as its manual says.
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(_: c_int, _: off_t, _: off_t, _: u32) -> c_int {
    0
}

fn open_at(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let open = || call!(SYS_openat, dir, path, flags, mode) as c_int;
    let writes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    let watched = if writes { watched_path(dir, path) } else { None };
    let Some((state, whole)) = watched else { return open() };
    let journal = state.journal();
    let was_there = status_at(&whole).is_some();
    if was_there && flags & libc::O_TRUNC != 0 {
        let read = call!(SYS_openat, dir, path, libc::O_RDONLY | libc::O_CLOEXEC) as c_int;
        if read >= 0 {
            journal.resize(read, 0);
            call!(SYS_close, read);
        }
    }
    let fd = open();
    if fd >= 0 && !was_there {
        journal.created(&whole);
    }
    fd
}

/// As the system's. It takes a mode with `O_CREAT` only; what is in its place otherwise is not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

/// As [`open`].
#[unsafe(no_mangle)]
pub extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

/// As [`open`].
#[unsafe(no_mangle)]
pub extern "C" fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(dir, path, flags, mode)
}

/// As [`open`].
#[unsafe(no_mangle)]
pub extern "C" fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    open_at(dir, path, flags, mode)
}

/// Does what makes a name, and notes it.
fn making(dir: c_int, path: *const c_char, make: impl FnOnce() -> c_long) -> c_int {
    let Some((state, whole)) = watched_path(dir, path) else { return make() as c_int };
    let journal = state.journal();
    let made = make();
    if made == 0 {
        journal.created(&whole);
    }
    made as c_int
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    making(libc::AT_FDCWD, path, || call!(SYS_mkdirat, libc::AT_FDCWD, path, mode))
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    linkat(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0)
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn linkat(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    making(to_dir, to, || call!(SYS_linkat, from_dir, from, to_dir, to, flags))
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let here = libc::AT_FDCWD;
    let rename = || call!(SYS_renameat2, here, from, here, to, 0) as c_int;
    let (Some((state, old)), Some(new)) = (watched_path(here, from), whole_path(here, to)) else {
        return rename();
    };
    let mut journal = state.journal();
    journal.renaming(&old, &new);
    rename()
}

/// As the system's.
#[unsafe(no_mangle)]
pub extern "C" fn unlink(path: *const c_char) -> c_int {
    unlinkat(libc::AT_FDCWD, path, 0)
}

/// As the system's. A folder that is removed stays removed.
#[unsafe(no_mangle)]
pub extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    let remove = || call!(SYS_unlinkat, dir, path, flags) as c_int;
    match watched_path(dir, path) {
        Some((state, whole)) if flags & libc::AT_REMOVEDIR == 0 => {
            let mut journal = state.journal();
            journal.removing(&whole);
            remove()
        }
        _ => remove(),
    }
}

/// Not there for what is watched, so that copies are written as everything else.
#[unsafe(no_mangle)]
pub extern "C" fn sendfile64(to: c_int, from: c_int, at: *mut off_t, len: size_t) -> ssize_t {
    if watched(to).is_some() {
        return fail(libc::ENOSYS) as ssize_t;
    }
    call!(SYS_sendfile, to, from, at, len) as ssize_t
}

/// As [`sendfile64`].
#[unsafe(no_mangle)]
pub extern "C" fn copy_file_range(
    from: c_int,
    from_at: *mut off_t,
    to: c_int,
    to_at: *mut off_t,
    len: size_t,
    flags: u32,
) -> ssize_t {
    if watched(to).is_some() {
        return fail(libc::ENOSYS) as ssize_t;
    }
    call!(SYS_copy_file_range, from, from_at, to, to_at, len, flags) as ssize_t
}
