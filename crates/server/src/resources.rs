//! What the process uses of the machine: memory, descriptors, disk. Read from `/proc`, the
//! control group and the file system; what a system does not tell is `None` or 0.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;

/// Descriptors below which a broker is warned about at the start: RabbitMQ's advice for production.
pub const DESCRIPTORS_WANTED: u64 = 65_536;

/// Descriptors that are kept for files, peers and HTTP when connections are counted against the
/// limit: RocksDB holds some hundred open files.
pub const DESCRIPTORS_RESERVED: u64 = 512;

/// A look at what the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Bytes of memory that the process occupies.
    pub memory_used: u64,
    /// Free bytes on the disk of the data directory, `None` when the system does not say.
    pub disk_free: Option<u64>,
    /// Open descriptors.
    pub descriptors_used: u64,
}

/// Looks at memory, disk and descriptors. Costs some microseconds, and more with many thousand
/// descriptors.
#[must_use]
pub fn read(data_dir: &Path) -> Readings {
    Readings {
        memory_used: resident_bytes().unwrap_or(0),
        disk_free: disk_free(data_dir),
        descriptors_used: descriptors_used().unwrap_or(0),
    }
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn descriptors_used() -> Option<u64> {
    // One of the entries is the directory that is being read.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn disk_free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of memory that the process may use: the machine's, or less where a control group says so.
#[must_use]
pub fn memory_total() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(meminfo_total);
    match (machine, group_limit()) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest limit of the control groups that the process is in.
fn group_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    group_files(&groups)
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        // Version 2 writes `max` for none, version 1 a number near 2^63; neither is less than
        // the machine's memory.
        .filter_map(|text| text.trim().parse::<u64>().ok())
        .min()
}

/// The files that may hold a memory limit: of each group on the way up, in both versions.
fn group_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next(), fields.next(), fields.next());
        let (base, file) = match controllers {
            Some("") => ("/sys/fs/cgroup", "memory.max"),
            Some(list) if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.unwrap_or("/").trim_end_matches('/');
        loop {
            files.push(format!("{base}{path}/{file}"));
            match path.rfind('/') {
                Some(at) => path = &path[..at],
                None => break,
            }
        }
    }
    files
}

/// The descriptors that the process may open; unlimited is `u64::MAX`.
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit of descriptors as far as the system lets an ordinary process, and returns what
/// holds then.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "cannot raise the limit of open files");
        }
    }
    descriptor_limit()
}

/// How many client sockets fit into a limit of descriptors.
#[must_use]
pub fn sockets_max(descriptor_limit: u64) -> u64 {
    descriptor_limit.saturating_sub(DESCRIPTORS_RESERVED).max(descriptor_limit / 2)
}

/// What to tell a person whose limit of descriptors is low; `None` when it is not.
#[must_use]
pub fn descriptor_warning(limit: u64) -> Option<String> {
    (limit < DESCRIPTORS_WANTED).then(|| {
        format!(
            "only {limit} files may be open, which is about {} connections; raise it with \
             `ulimit -n {DESCRIPTORS_WANTED}` in the shell, `LimitNOFILE={DESCRIPTORS_WANTED}` in \
             systemd or `--ulimit nofile={DESCRIPTORS_WANTED}` in Docker",
            sockets_max(limit)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_sees_its_own_memory_descriptors_and_disk() {
        let before = read(Path::new("/"));
        assert!(before.memory_used > 100_000, "{before:?}");
        assert!(before.disk_free.is_some(), "{before:?}");
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests open and close a few at the same time.
        let after = read(Path::new("/")).descriptors_used;
        assert!(after >= before.descriptors_used + 30, "{before:?} {after}");
        drop(files);
        assert!(memory_total().is_some_and(|total| total > before.memory_used));
    }

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        let text = "MemTotal:       24589628 kB\nMemFree:  1 kB\n";
        assert_eq!(meminfo_total(text), Some(24_589_628 * 1024));
        assert_eq!(meminfo_total("nothing"), None);
    }

    #[test]
    fn limits_of_all_groups_on_the_way_up_are_looked_at() {
        assert_eq!(
            group_files("0::/a/b\n"),
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            group_files("3:cpu:/x\n7:memory,hugetlb:/\n"),
            ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
    }

    #[test]
    fn a_low_limit_is_told_with_the_command_that_raises_it() {
        assert_eq!(descriptor_warning(DESCRIPTORS_WANTED), None);
        let text = descriptor_warning(1024).unwrap();
        assert!(text.contains("1024") && text.contains("ulimit -n 65536"), "{text}");
        assert_eq!(sockets_max(1024), 512);
        assert_eq!(sockets_max(100_000), 99_488);
        assert!(raise_descriptor_limit() >= 256);
    }
}
