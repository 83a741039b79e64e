//! The journal on disk: entries of a length in 4 bytes, a kind and numbers in 8 bytes each, little endian, names with a
//! length of 8 bytes, and old content at the end. What loses its last name is kept in the journal's folder under a number.

use std::ffi::CString;

use libc::c_int;

use crate::state::parent;
use crate::system::{call, read_again, status, status_at};

pub(crate) struct Journal {
    fd: c_int,
    folder: Vec<u8>,
    kept: u64,
}

/// The kinds of entries.
mod kind {
    pub(super) const WRITE: u8 = 1;
    pub(super) const SYNCED: u8 = 2;
    pub(super) const CREATED: u8 = 3;
    pub(super) const RENAMED: u8 = 4;
    pub(super) const REMOVED: u8 = 5;
}

/// One entry in the making.
struct Entry(Vec<u8>);

impl Entry {
    fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn name(self, name: &[u8]) -> Self {
        self.number(name.len() as u64).bytes(name)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

impl Journal {
    /// The journal in a folder that exists; it is continued.
    pub(crate) fn open(folder: &[u8]) -> Option<Self> {
        let path = CString::new([folder, b"/journal"].concat()).ok()?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        let fd = call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600);
        let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // Names of different processes must not meet.
        let kept = u64::from(std::process::id()) << 32;
        Some(Self { fd, folder: folder.to_vec(), kept })
    }

    /// Appends with one write, so that a process that is killed leaves whole entries. Ends the process where that fails: a
    /// journal with a hole would prove nothing.
    fn append(&self, Entry(mut bytes): Entry) {
        let length = (bytes.len() - 4) as u32;
        if let Some(head) = bytes.get_mut(..4) {
            head.copy_from_slice(&length.to_le_bytes());
        }
        let written = call!(SYS_write, self.fd, bytes.as_ptr(), bytes.len());
        if usize::try_from(written) != Ok(bytes.len()) {
            std::process::abort();
        }
    }

    /// `len` bytes at `offset` are about to be written, or cut off.
    pub(crate) fn write(&self, fd: c_int, offset: u64, len: u64) {
        let Some(found) = status(fd) else { return };
        let size = u64::try_from(found.st_size).unwrap_or(0);
        let old = offset.saturating_add(len).min(size).saturating_sub(offset);
        let Some(old) = read_again(fd, old as usize, offset as i64) else { std::process::abort() };
        let entry = Entry::new(kind::WRITE).number(found.st_ino).number(offset).number(size);
        self.append(entry.bytes(&old));
    }

    /// The file gets another size.
    pub(crate) fn resize(&self, fd: c_int, size: u64) {
        self.write(fd, size, u64::MAX - size);
    }

    /// A file or a folder was synced.
    pub(crate) fn synced(&self, fd: c_int) {
        let Some(found) = status(fd) else { return };
        self.append(Entry::new(kind::SYNCED).number(found.st_ino));
    }

    /// A file, a folder or a further name was made.
    pub(crate) fn created(&self, path: &[u8]) {
        let (Some((folder, name)), Some(found)) = (parent(path), status_at(path)) else { return };
        self.append(Entry::new(kind::CREATED).number(folder).number(found.st_ino).name(name));
    }

    /// A file is about to lose a name.
    pub(crate) fn removing(&mut self, path: &[u8]) {
        let (Some((folder, name)), Some(found)) = (parent(path), status_at(path)) else { return };
        let kept = self.keep(path);
        let entry = Entry::new(kind::REMOVED).number(folder).number(found.st_ino).number(kept);
        self.append(entry.name(name));
    }

    /// A file or folder is about to get another name, which may be that of another file.
    pub(crate) fn renaming(&mut self, from: &[u8], to: &[u8]) {
        let (Some((old_folder, old_name)), Some((folder, name)), Some(found)) =
            (parent(from), parent(to), status_at(from))
        else {
            return;
        };
        // Zero where there is none, or it is a folder.
        let replaced = if status_at(to).is_some() { self.keep(to) } else { 0 };
        let entry = Entry::new(kind::RENAMED).number(folder).number(found.st_ino).number(replaced);
        self.append(entry.number(old_folder).name(name).name(old_name));
    }

    /// Gives a file a name among the kept ones, so that its content and number stay.
    fn keep(&mut self, path: &[u8]) -> u64 {
        self.kept += 1;
        let kept = format!("/{}", self.kept);
        let (Ok(from), Ok(to)) =
            (CString::new(path), CString::new([self.folder.as_slice(), kept.as_bytes()].concat()))
        else {
            return 0;
        };
        let (here, flags) = (libc::AT_FDCWD, 0);
        let linked = call!(SYS_linkat, here, from.as_ptr(), here, to.as_ptr(), flags);
        if linked == 0 { self.kept } else { 0 }
    }
}
